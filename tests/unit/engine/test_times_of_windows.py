"""Windows go by the records that reach them, as in Kafka Streams, wherever commits fall."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, HoppingWindows, SessionWindows, TumblingWindows, WindowStore
from streamer.engine import closing
from streamer.kafka.api import AbortableError
from tests.unit.engine.rig import Rig


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


def joined(windows: Any, *, emit: Any = "every", grace: int = 0) -> Rig:
    """Readings are counted for devices that are on; a table of devices beside them."""
    app = App("readings")
    devices = app.table("devices", key=str, value=str, store="devices")
    app.stream("in", key=str, value=int).join(
        devices, lambda value, state: (value, state), value=Any
    ).filter(lambda _key, pair: pair[1] == "on").group_by_key().windowed_by(windows).count(
        store="w", emit=emit, retention=ms(1_000_000)
    ).to("out")
    return Rig(app)


def counted(rig: Rig) -> list[tuple[str, int, int, Any]]:
    return [(key.key, key.start_ms, key.end_ms, value) for key, value, *_ in rig.sent("out")]


# -- records that do not reach a window ------------------------------------------------------------


def test_a_newer_table_makes_no_record_late() -> None:
    rig = joined(TumblingWindows(ms(10)))
    rig.run("devices", [("a", "on", 0), ("b", "on", 5_000)])
    rig.run("in", [("a", 1, 1), ("a", 1, 9), ("a", 1, 12), ("a", 1, 8)])
    rig.commit()
    assert counted(rig) == [("a", 0, 10, 1), ("a", 0, 10, 2), ("a", 10, 20, 1)]
    assert rig.dropped()["late"] == 1
    assert rig.pipeline.stream_time_ms == 5_000
    assert rig.pipeline.times == {"w": 12}


def test_what_was_filtered_out_closes_nothing() -> None:
    rig = joined(TumblingWindows(ms(10)), emit="final")
    rig.run("devices", [("a", "on", 0), ("off", "off", 0)])
    rig.run("in", [("a", 1, 1), ("off", 1, 500), ("nobody", 1, 500), ("a", 1, 2)])
    rig.commit()
    assert counted(rig) == []
    rig.run("in", [("a", 1, 10)])
    rig.commit()
    assert counted(rig) == [("a", 0, 10, 2)]


@pytest.mark.parametrize("windows", [TumblingWindows(ms(10)), SessionWindows(ms(5))])
def test_a_record_without_a_value_moves_the_time_and_one_without_a_key_does_not(
    windows: Any,
) -> None:
    app = App("nulls")
    app.stream("in", key=str, value=int).group_by_key().windowed_by(windows).count(
        store="w", retention=ms(10_000)
    )
    rig = Rig(app)
    rig.run("in", [("a", 1, 1), (None, 1, 700), ("a", 1, 2), ("a", None, 300), ("a", 1, 3)])
    rig.run("in", [(None, 1, 900)])
    rig.commit()
    assert [value for value, _stamp in rig.rows("w").values()] == [2]
    assert rig.pipeline.times == {"w": 300}
    assert rig.dropped() == {"null_key": 2, "null_value": 1, "late": 1, "skip": 0}


def test_a_record_that_fails_has_come_nevertheless() -> None:
    app = App("fails", processing_error="skip")
    app.stream("in", key=str, value=int).group_by_key().windowed_by(
        TumblingWindows(ms(10))
    ).aggregate(
        int,
        lambda _key, value, total: total + 1 // value,
        store="w",
        value=int,
        retention=ms(10_000),
    )
    rig = Rig(app)
    records = [("a", 1, 1), ("a", 0, 50), ("a", 1, 2)]
    with pytest.raises(AbortableError, match="again with care"):
        rig.run("in", records)
    rig.abort()
    rig.run("in", records)
    rig.commit()
    assert [value for value, _stamp in rig.rows("w").values()] == [1]
    assert rig.pipeline.times == {"w": 50}


# -- restarts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [Rig.abort, Rig.restart])
def test_the_time_goes_back_to_the_last_commit_and_not_further(
    again: Callable[[Rig], None],
) -> None:
    rig = joined(TumblingWindows(ms(10)), emit="final")
    rig.run("devices", [("a", "on", 9_000)])
    rig.run("in", [("a", 1, 5), ("a", 1, 15)])
    rig.commit()
    assert counted(rig) == [("a", 0, 10, 1)]
    rig.run("in", [("a", 1, 40)])
    rig.pipeline.flush()
    again(rig)
    rig.run("in", [("a", 1, 5), ("a", 1, 16)])
    rig.commit()
    assert rig.dropped()["late"] == 1
    assert counted(rig) == [("a", 0, 10, 1)]
    rig.run("in", [("a", 1, 40)])
    rig.commit()
    assert counted(rig) == [("a", 0, 10, 1), ("a", 10, 20, 2)]


# -- results as input ------------------------------------------------------------------------------


def again_counted(first: Any = None, *, emit: Any = "commit", then: int = 60) -> Rig:
    """A count per key, or key and window, whose results are counted by windows of their own."""
    app = App("twice")
    grouped: Any = app.stream("in", key=str, value=int).group_by_key()
    if first is not None:
        grouped = grouped.windowed_by(first)
    changes = grouped.count(store="n", emit=emit).stream()
    changes.group_by_key().windowed_by(TumblingWindows(ms(then))).count(
        store="w", retention=ms(1_000_000)
    )
    return Rig(app)


Found = tuple[dict[tuple[bytes, int], int], int]


def by_commits(rig: Rig, records: Sequence[tuple[str, int, int]], *ends: int) -> Found:
    """What the second windows hold where a commit comes after so many records; what was late."""
    start = 0
    for end in (*ends, len(records)):
        rig.run("in", records[start:end])
        rig.commit()
        start = end
    found = {
        (key[8:], int.from_bytes(key[:8], "big")): value
        for key, (value, _stamp) in rig.rows("w").items()
    }
    return found, rig.dropped()["late"]


def test_results_of_one_commit_make_each_other_no_later_than_those_of_two() -> None:
    records = [("a", 1, 10), ("b", 1, 70)]
    wanted = {(b"a", 0): 1, (b"b", 60): 1}, 0
    assert by_commits(again_counted(), records) == wanted
    assert by_commits(again_counted(), records, 1) == wanted


def test_the_order_within_a_commit_does_not_count_and_that_of_commits_does() -> None:
    records = [("b", 1, 70), ("a", 1, 10)]
    assert by_commits(again_counted(), records) == ({(b"a", 0): 1, (b"b", 60): 1}, 0)
    # Here a record is out of order, and so are results.
    assert by_commits(again_counted(), records, 1) == ({(b"b", 60): 1}, 1)


@pytest.mark.parametrize("seed", range(40))
def test_no_result_of_records_in_order_is_late_wherever_commits_fall(seed: int) -> None:
    chance = random.Random(seed)
    now, records = 0, []
    for _ in range(60):
        now += chance.choice([0, 1, 7, 30, 90])
        records.append((chance.choice("abcdef"), 1, now))
    for _ in range(4):
        ends = sorted(chance.sample(range(61), chance.randrange(5)))
        found, late = by_commits(again_counted(then=chance.choice([1, 20, 60])), records, *ends)
        assert late == 0
        assert sum(found.values()) >= len({key for key, *_ in records})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("first", [TumblingWindows(ms(20)), SessionWindows(ms(10))])
def test_final_results_are_counted_the_same_wherever_commits_fall(
    seed: int, first: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they leave in several pages."""
    monkeypatch.setattr(closing, "PAGE_ROWS", 3)
    chance = random.Random(seed)
    now, records = 0, []
    for _ in range(80):
        now += chance.choice([0, 0, 1, 6, 25])
        records.append((chance.choice("abcdef"), 1, max(now - chance.choice([0, 0, 9]), 0)))
    records.append(("z", 1, now + 1_000))
    then = chance.choice([1, 5, 20, 60])
    wanted = None
    for _ in range(4):
        ends = sorted(chance.sample(range(82), chance.randrange(6)))
        found, _late = by_commits(again_counted(first, emit="final", then=then), records, *ends)
        wanted = wanted or found
        assert found == wanted
        assert sum(found.values()) > 5


def test_results_of_a_commit_that_is_done_again_are_no_later() -> None:
    rig = again_counted()
    rig.run("in", [("a", 1, 10), ("b", 1, 70)])
    rig.pipeline.flush()
    rig.abort()
    assert by_commits(rig, [("a", 1, 10), ("b", 1, 70)]) == ({(b"a", 0): 1, (b"b", 60): 1}, 0)
    rig.run("in", [("a", 1, 200)])
    rig.pipeline.flush()
    rig.restart()
    rig.run("in", [("c", 1, 65)])
    rig.commit()
    assert rig.dropped()["late"] == 0
    assert rig.pipeline.times == {"w": 70}


# -- `process` beside windows ----------------------------------------------------------------------


def test_process_sees_windows_by_their_time_and_not_by_that_of_the_task() -> None:
    app = App("seen")
    devices = app.table("devices", key=str, value=str, store="devices")
    readings = app.stream("in", key=str, value=int)
    readings.left_join(devices, lambda value, _device: value, value=int).group_by_key().windowed_by(
        TumblingWindows(ms(10))
    ).count(store="w", retention=ms(20))
    store = WindowStore("own", key=str, value=int, size=ms(10), retention=ms(20))

    def look(record: Any, context: Any) -> None:
        counts, own = context.store("w"), context.store("own")
        own.put(record.key, 1, 0)
        seen = counts.get("a", 0), own.get("a", 0), len(list(counts.between(0, 100)))
        context.forward(value=seen)

    app.stream("ask", key=str, value=int).process(
        look, stores=[WindowStore("w", size=ms(10), retention=ms(20)), store], value=Any
    ).to("out")
    rig = Rig(app)
    rig.run("devices", [("a", "x", 29)])
    rig.run("in", [("a", 1, 1), ("a", 1, 2)])
    rig.run("ask", [("a", 1, 1)])
    rig.run("devices", [("a", "x", 30)])
    rig.run("ask", [("a", 1, 1)])
    rig.run("in", [("a", 1, 30)])
    rig.run("ask", [("a", 1, 1)])
    rig.commit()
    assert [value for _key, value, *_ in rig.sent("out")] == [
        [2, 1, 1],
        [2, None, 1],
        [None, None, 1],
    ]


# -- the rule, against a model that knows nothing but records --------------------------------------


class Kafka:
    """What KStreamWindowAggregate does with each record: `observedStreamTime`, late by window."""

    def __init__(self, size: int, advance: int, grace: int) -> None:
        self.size, self.advance, self.grace = size, advance, grace
        self.observed_ms = -1
        self.devices: dict[str, str] = {}
        self.counts: dict[tuple[str, int], int] = {}
        self.results: list[tuple[str, int, int, int]] = []
        self.emitted: set[tuple[str, int]] = set()
        self.final: set[tuple[str, int, int, int]] = set()
        self.late = 0

    def run(self, topic: str, key: str, value: Any, stamp: int) -> None:
        if topic == "devices":
            self.devices[key] = value
            return
        if self.devices.get(key) != "on":
            return
        self.observed_ms = max(self.observed_ms, stamp)
        for start in range(0, stamp + 1, self.advance):
            if not start <= stamp < start + self.size:
                continue
            if start + self.size + self.grace <= self.observed_ms:
                self.late += 1
                continue
            count = self.counts[key, start] = self.counts.get((key, start), 0) + 1
            self.results.append((key, start, start + self.size, count))

    def commit(self) -> None:
        for (key, start), count in self.counts.items():
            end = start + self.size
            if end + self.grace <= self.observed_ms and (key, start) not in self.emitted:
                self.emitted.add((key, start))
                self.final.add((key, start, end, count))


def happened(chance: random.Random, is_in_order: bool) -> list[tuple[str, tuple[str, Any, int]]]:
    """Readings, and devices that are dated in days, in hours, or in the past."""
    now, records = 100, []
    for _ in range(chance.randrange(20, 80)):
        key = chance.choice("abc")
        if chance.random() < 0.25:
            state = chance.choice(["on", "on", "on", "off"])
            records.append(("devices", (key, state, chance.choice([0, now, 5_000, 90_000]))))
            continue
        now += chance.choice([0, 1, 5, 20])
        back = 0 if is_in_order else chance.choice([0, 0, 3, 15, 60])
        records.append(("in", (key, 1, now - back)))
    return records


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("emit", ["every", "final"])
def test_what_is_counted_is_what_kafka_streams_counts(seed: int, emit: str) -> None:
    chance = random.Random(seed)
    size = chance.choice([1, 7, 10, 30])
    advance, grace = chance.randint(1, size), chance.choice([0, 0, 5, 40])
    is_in_order = seed % 3 == 0
    rig = joined(HoppingWindows(ms(size), ms(advance), grace=ms(grace)), emit=emit)
    model = Kafka(size, advance, grace)
    records = happened(chance, is_in_order)
    late_twice = 0
    while records:
        some, records = records[: (count := chance.randrange(1, 12))], records[count:]
        parts: list[tuple[str, list[tuple[str, Any, int]]]] = []
        for topic, record in some:
            if parts and parts[-1][0] == topic and chance.random() < 0.8:
                parts[-1][1].append(record)
            else:
                parts.append((topic, [record]))
        trouble = chance.choice([None, None, None, Rig.abort, Rig.restart])
        if trouble is not None:
            before = rig.dropped()["late"]
            for topic, batch_of in parts:
                rig.run(topic, batch_of)
            rig.pipeline.flush()
            late_twice += rig.dropped()["late"] - before
            trouble(rig)
        for topic, batch_of in parts:
            rig.run(topic, batch_of)
        for topic, record in some:
            model.run(topic, *record)
        rig.commit()
        model.commit()
    if emit == "every":
        assert counted(rig) == model.results
    else:
        assert len(counted(rig)) == len(model.final)
        assert set(counted(rig)) == model.final
    assert rig.dropped()["late"] - late_twice == model.late
    assert rig.pipeline.times == {"w": model.observed_ms}
    assert model.late == 0 or not is_in_order
