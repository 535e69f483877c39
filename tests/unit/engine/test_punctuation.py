"""Punctuation of process steps, by stream time and by the wall clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from streamer import App, ConfigError, ProcessingError, Record
from streamer.kafka.api import AbortableError
from streamer.testing import TopologyTestDriver
from tests.unit.engine.rig import Rig
from tests.unit.engine.test_process import app_of, ms, values


class Clock:
    """Forwards the time whenever it is punctuated."""

    by: Any = "stream"

    def open(self, context: Any) -> None:
        self.context = context
        context.schedule(ms(10), self.tick, by=self.by)

    def process(self, record: Record, context: Any) -> None:
        context.forward(value=f"record {record.value}")

    def tick(self, now_ms: int) -> None:
        self.context.forward(key="tick", value=f"{now_ms}")


class WallClock(Clock):
    by = "wall"


STAMPS = [3, 9, 10, 12, 11, 35, 36, 40]
TICKS = [
    "record 3",
    "record 9",
    "record 10",
    "10",
    "record 12",
    "record 11",
    "record 35",
    "35",
    "record 36",
    "record 40",
    "40",
]


@pytest.mark.parametrize("size", [1, 3, 8])
def test_stream_time_punctuates_behind_the_record_that_moved_it(size: int) -> None:
    with TopologyTestDriver(app_of(Clock)) as driver:
        for start in range(0, len(STAMPS), size):
            driver.send_many("in", [("k", at, at) for at in STAMPS[start : start + size]])
        assert values(driver) == TICKS


@pytest.mark.parametrize("seed", range(5))
def test_stream_time_punctuates_at_the_same_points_whatever_happens(seed: int) -> None:
    with TopologyTestDriver(app_of(Clock), seed=seed) as driver:
        driver.send_many("in", [("k", at, at) for at in STAMPS])
        assert values(driver) == TICKS


def test_records_that_do_not_reach_the_step_move_its_time_too() -> None:
    app = App("process")
    stream = app.stream("in", key=str, value=int).filter(lambda _key, value: value < 20)
    stream.process(Clock, value=str).to("out")
    with TopologyTestDriver(app) as driver:
        driver.send_many("in", [("k", at, at) for at in (1, 30, 2)])
        assert values(driver) == ["record 1", "30", "record 2"]


def test_wall_time_punctuates_once_although_its_transaction_is_aborted() -> None:
    with TopologyTestDriver(app_of(WallClock), start=5) as driver:
        driver.send("in", "k", 1)
        driver.broker.fail_next("commit", AbortableError("no"))
        driver.advance(milliseconds=7)
        assert values(driver) == ["record 1", "12"]
        driver.broker.fail_next("commit", AbortableError("no"))
        driver.send("in", "k", 2)
        assert values(driver) == ["record 1", "12", "record 2"]


@pytest.mark.parametrize("is_replay", [False, True])
def test_the_wall_clock_does_not_punctuate_a_replay(is_replay: bool) -> None:
    seen: list[bool] = []

    class Both(Clock):
        def open(self, context: Any) -> None:
            seen.append(context.is_replay)
            super().open(context)
            context.schedule(ms(10), self.tick, by="wall")

    rig = Rig(app_of(Both))
    rig.is_replay = is_replay
    rig.restart()
    assert seen == [False, is_replay]
    for wall_ms in (3, 23):
        rig.run("in", [("k", wall_ms, wall_ms)])
        rig.pipeline.punctuate(wall_ms)
    rig.commit()
    ticks = [value for key, value, *_ in rig.sent("out") if key == "tick"]
    assert ticks == (["23"] if is_replay else ["23", "23"])


def test_a_schedule_can_be_cancelled() -> None:
    class Twice(Clock):
        def open(self, context: Any) -> None:
            self.context = context
            self.count = 0
            self.entry = context.schedule(ms(10), self.tick)

        def tick(self, now_ms: int) -> None:
            super().tick(now_ms)
            self.count += 1
            if self.count == 2:
                self.entry.cancel()

    with TopologyTestDriver(app_of(Twice)) as driver:
        driver.send_many("in", [("k", at, at) for at in (1, 11, 21, 31, 41)])
        assert [value for value in values(driver) if value.isdigit()] == ["11", "21"]


def test_schedules_belong_into_open() -> None:
    def late(record: Record, context: Any) -> None:
        context.schedule(ms(10), print)

    with (
        TopologyTestDriver(app_of(late)) as driver,
        pytest.raises(ProcessingError, match="outside open") as caught,
    ):
        driver.send("in", "k", 1)
    assert "class with open" in caught.value.hint


@pytest.mark.parametrize("every", [5, None, ms(0), ms(-1), timedelta(microseconds=1)])
def test_an_interval_that_is_none_is_refused_by_what_was_given(every: Any) -> None:
    class Hasty:
        def open(self, context: Any) -> None:
            context.schedule(every, print)

        def process(self, record: Record, context: Any) -> None:
            """Nothing."""

    with pytest.raises(ConfigError, match=r"schedule\(every=.*\) is not possible") as caught:
        TopologyTestDriver(app_of(Hasty))
    assert repr(every) in str(caught.value)
    assert "timedelta" in caught.value.hint
