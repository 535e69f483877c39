"""What the controller keeps of a worker's words: their order is the log's, whatever clocks say."""

from __future__ import annotations

from msgspec.structs import replace

from streamer.cluster.view import WorkerView
from streamer.control.identity import Incarnation
from streamer.control.messages import AssignmentRecord, StatusRecord


def word(incarnation: str, number: int = 1, *, at_ms: int = 1_000, zone: str = "") -> StatusRecord:
    return StatusRecord(
        format=1, number=number, worker="w1", incarnation=incarnation, zone=zone, at_ms=at_ms
    )


def granted(incarnation: str) -> AssignmentRecord:
    return AssignmentRecord(
        format=1, version=1, worker="w1", incarnation=incarnation, tasks=("0_0",)
    )


def zone_of(view: WorkerView) -> str:
    assert view.heard is not None
    return view.heard.zone


def test_a_worker_that_moved_is_seen_where_it_is_though_its_clock_was_set_back() -> None:
    view = WorkerView()
    view.hear(word("s1.0", 1, at_ms=9_000_000, zone="az=a"))
    view.hear(word("s1.0", 2, at_ms=1_000, zone="az=b"))
    assert zone_of(view) == "az=b"
    view.hear(word("s2.0", 1, at_ms=10, zone="az=c"))  # Another host, further behind.
    assert zone_of(view) == "az=c"


def test_a_word_that_is_read_again_does_not_put_a_worker_back() -> None:
    view = WorkerView()
    view.hear(word("s1.0", 2, at_ms=1_000, zone="az=b"))
    view.hear(word("s1.0", 1, at_ms=9_000_000, zone="az=a"))
    assert zone_of(view) == "az=b"


def test_what_a_fenced_process_still_says_does_not_tell_where_its_successor_is() -> None:
    view = WorkerView()
    view.hear(word("s1.0", 1, zone="az=a"))
    view.fence([Incarnation("s1")])
    view.hear(word("s2.0", 1, zone="az=b"))
    view.hear(word("s1.0", 2, at_ms=9_000_000, zone="az=a"))
    assert zone_of(view) == "az=b"


def test_a_session_is_over_once_its_process_has_another_one() -> None:
    """Its good-bye is not read: the first word of the next session has the same key."""
    view = WorkerView()
    view.take(granted("s1.0"))
    assert view.owners() == {Incarnation("s1")}
    first = replace(word("s2.0"), follows="s1")
    assert view.hear(first)
    assert (view.holder, view.owners(), view.left) == (None, set(), {"s1"})
    assert view.known() == {Incarnation("s2")}
    assert not view.hear(replace(first, number=2)), "that is no news any more"
    # What it said before counts for nothing, whenever it is read.
    assert not view.hear(word("s1.0", 5))
    assert view.known() == {Incarnation("s2")}


def test_a_session_that_follows_none_ends_none() -> None:
    view = WorkerView()
    view.take(granted("s1.0"))
    view.hear(word("s2.0"))
    assert view.owners() == {Incarnation("s1")}
