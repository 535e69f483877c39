"""Windows and sessions with Kafka Streams' meaning of time, at their edges."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer import App, HoppingWindows, SessionWindows, TumblingWindows, Windowed
from streamer.engine import closing
from tests.unit.engine.rig import Rig


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


def counting(windows: Any, emit: Any = "every", **options: Any) -> Rig:
    app = App("windows")
    app.stream("in", key=str, value=int).group_by_key().windowed_by(windows).count(
        store="w", emit=emit, **options
    ).to("out")
    return Rig(app)


def run(rig: Rig, *stamps: int) -> list[tuple[int, int, Any]]:
    """Send one record per time, commit, and return (start, end, count) of what came out."""
    before = len(rig.sent("out"))
    rig.run("in", [("k", 1, stamp) for stamp in stamps])
    rig.commit()
    return [(key.start_ms, key.end_ms, value) for key, value, *_ in rig.sent("out")[before:]]


def test_a_window_begins_at_its_start_and_ends_before_its_end() -> None:
    rig = counting(TumblingWindows(ms(10)))
    assert run(rig, 0, 9, 10, 19) == [(0, 10, 1), (0, 10, 2), (10, 20, 1), (10, 20, 2)]


def test_a_record_is_late_when_the_end_and_the_grace_have_come() -> None:
    rig = counting(TumblingWindows(ms(10), grace=ms(5)))
    assert run(rig, 9, 14, 8) == [(0, 10, 1), (10, 20, 1), (0, 10, 2)]
    assert run(rig, 15, 8) == [(10, 20, 2)]
    assert rig.dropped()["late"] == 1


def test_stream_time_counts_the_record_itself() -> None:
    rig = counting(HoppingWindows(ms(10), ms(5)))
    # At 12 the windows 5..15 and 10..20 are open; 0..10 never holds it.
    assert run(rig, 12) == [(5, 15, 1), (10, 20, 1)]
    assert run(rig, 15) == [(10, 20, 2), (15, 25, 1)]
    assert run(rig, 14) == [(10, 20, 3)]
    assert rig.dropped()["late"] == 1


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 60))
def test_a_record_belongs_to_every_window_that_holds_it(size: int, advance: int, at: int) -> None:
    if advance > size:
        size, advance = advance, size
    rig = counting(HoppingWindows(ms(size), ms(advance)))
    wanted = [(s, s + size, 1) for s in range(0, at + 1, advance) if s <= at < s + size]
    assert run(rig, at) == wanted


def test_final_results_come_once_and_when_the_window_closed() -> None:
    rig = counting(TumblingWindows(ms(10), grace=ms(5)), emit="final")
    assert run(rig, 1, 2, 14) == []
    assert run(rig, 15) == [(0, 10, 2)]
    assert run(rig, 15, 16) == []
    assert run(rig, 100) == [(10, 20, 4)]


def test_final_results_come_once_whatever_is_done_again() -> None:
    rig = counting(TumblingWindows(ms(10)), emit="final")
    run(rig, 1)
    rig.run("in", [("k", 1, 10)])
    rig.pipeline.flush()
    rig.abort()
    assert run(rig, 10) == [(0, 10, 1)]
    rig.restart()
    assert run(rig, 11) == []
    assert run(rig, 20) == [(10, 20, 2)]


def test_a_window_that_opens_and_closes_in_one_transaction_has_a_final_result() -> None:
    rig = counting(TumblingWindows(ms(10)), emit="final", retention=ms(0))
    assert run(rig, 1, 50) == [(0, 10, 1)]
    assert list(rig.rows("w")) == [(50).to_bytes(8, "big") + b"k"]


def test_windows_are_kept_for_their_retention_behind_their_end() -> None:
    rig = counting(TumblingWindows(ms(10)), retention=ms(25))
    run(rig, 0)
    run(rig, 34)
    assert len(rig.rows("w")) == 2
    run(rig, 35)
    assert [key[:8] for key in rig.rows("w")] == [(30).to_bytes(8, "big")]


def test_a_gap_is_inclusive() -> None:
    rig = counting(SessionWindows(ms(5)))
    assert run(rig, 10, 15) == [(10, 10, 1), (10, 10, None), (10, 15, 2)]
    assert run(rig, 21) == [(21, 21, 1)]


def test_a_record_joins_the_sessions_on_both_sides() -> None:
    rig = counting(SessionWindows(ms(5), grace=ms(20)))
    run(rig, 10, 20)
    assert run(rig, 15) == [(10, 10, None), (20, 20, None), (10, 20, 3)]
    assert [key for key in rig.rows("w")] == [b"k" + (20).to_bytes(8, "big") + bytes(7) + b"\x0a"]


def test_a_record_inside_a_session_changes_nothing_but_its_value() -> None:
    rig = counting(SessionWindows(ms(5)))
    run(rig, 10, 14)
    assert run(rig, 12) == [(10, 14, 3)]


def test_a_session_may_grow_until_the_last_moment() -> None:
    rig = counting(SessionWindows(ms(5), grace=ms(3)))
    run(rig, 10)
    # Stream time 18 is end + gap + grace: not closed yet.
    assert run(rig, 18, 15) == [(18, 18, 1), (10, 10, None), (18, 18, None), (10, 18, 3)]
    rig = counting(SessionWindows(ms(5), grace=ms(3)))
    run(rig, 10)
    assert run(rig, 19, 10) == [(19, 19, 1)]
    assert rig.dropped()["late"] == 1


def test_a_closed_session_can_be_joined_as_long_as_a_record_that_touches_it_may_come() -> None:
    rig = counting(SessionWindows(ms(5), grace=ms(3)))
    run(rig, 10)
    assert run(rig, 23) == [(23, 23, 1)]
    # 15 is not late at 23, and lies within the gap behind 10.
    assert run(rig, 15) == [(10, 10, None), (10, 15, 2)]
    assert run(rig, 24) == [(23, 23, None), (23, 24, 2)]
    assert run(rig, 15) == []


def test_a_late_record_that_touches_an_open_session_is_taken() -> None:
    rig = counting(SessionWindows(ms(5)))
    run(rig, 10, 14, 18)
    assert run(rig, 6) == [(10, 18, None), (6, 18, 4)]


def test_final_sessions_come_when_they_closed_and_are_never_joined_again() -> None:
    rig = counting(SessionWindows(ms(5)), emit="final")
    assert run(rig, 10, 15) == []
    assert run(rig, 16) == []
    assert run(rig, 22) == [(10, 16, 3)]
    rig = counting(SessionWindows(ms(5)), emit="final")
    run(rig, 10, 16)
    # 10..10 closed at 16; 14 would have joined it to 16..16.
    assert run(rig, 14, 30) == [(14, 16, 2)]


def test_results_per_commit_are_the_newest_of_each_window() -> None:
    rig = counting(TumblingWindows(ms(10)), emit="commit")
    assert run(rig, 1, 2, 11, 3) == [(0, 10, 2), (10, 20, 1)]
    rig = counting(SessionWindows(ms(5)), emit="commit")
    assert run(rig, 1, 2, 3) == [(1, 3, 3)]
    assert run(rig, 5) == [(1, 3, None), (1, 5, 4)]


def test_each_key_has_windows_of_its_own() -> None:
    rig = counting(TumblingWindows(ms(10)))
    rig.run("in", [("a", 1, 1), ("b", 1, 2), ("a", 1, 3)])
    rig.commit()
    assert [(key, value) for key, value, *_ in rig.sent("out")] == [
        (Windowed("a", 0, 10), 1),
        (Windowed("b", 0, 10), 1),
        (Windowed("a", 0, 10), 2),
    ]


@pytest.mark.parametrize(
    "windows", [TumblingWindows(ms(10)), SessionWindows(ms(10))], ids=["windows", "sessions"]
)
def test_windows_that_close_together_leave_in_pages(
    windows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "PAGE_ROWS", 3)
    rig = counting(windows, emit="final")
    sizes: list[int] = []
    send = rig.output.send

    def sending(topic: str, keys: Any, *rest: Any, **more: Any) -> None:
        sizes.append(len(keys))
        send(topic, keys, *rest, **more)

    monkeypatch.setattr(rig.output, "send", sending)
    for transaction in ("abcd", "cefg"):
        rig.run("in", [(key, 1, 5) for key in transaction])
        rig.commit()
    # Stored ones, one of the same transaction, and one that changes again in it.
    rig.run("in", [("a", 1, 6), ("h", 1, 7), ("z", 1, 100)])
    rig.commit()
    assert sizes == [3, 3, 2]
    found = [(key.key, value, stamp) for key, value, stamp, _headers in rig.sent("out")]
    counts = {"a": (2, 6), "c": (2, 5), "h": (1, 7)}
    assert sorted(found) == [(key, *counts.get(key, (1, 5))) for key in "abcdefgh"]
    # What is at rest is read as it is needed, and not kept for the transaction.
    assert rig.pipeline.touched == 0
