"""The restoring thread's work with a consumer that brings what the test tells it to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from streamer.changelog.format import Positions
from streamer.clock import ManualClock
from streamer.errors import (
    KafkaUnavailableError,
    StreamerError,
    TaskCorruptedError,
    TopicMissingError,
)
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import Bounds, Fetched, Records
from streamer.restore.loop import RETRY_MS, RestoreLoop
from streamer.restore.task import RestoreState, TaskRestore
from streamer.store.keys import row
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store

MIB = 1 << 20


class ScriptedConsumer:
    def __init__(self) -> None:
        self.ends: dict[TopicPartition, Bounds | StreamerError] = {}
        self.script: list[Fetched] = []
        self.reading: dict[TopicPartition, int] = {}

    def bounds(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, Bounds]:
        found = {}
        for place in places:
            answer = self.ends[place]
            if isinstance(answer, StreamerError):
                raise answer
            found[place] = answer
        return found

    def add(self, positions: Mapping[TopicPartition, int]) -> None:
        assert not set(positions) & set(self.reading)
        self.reading.update(positions)

    def remove(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            del self.reading[place]

    def fetch(self, records_max: int, timeout_ms: int) -> Fetched:
        return self.script.pop(0) if self.script else Fetched()

    def close(self) -> None:
        assert not self.reading


class Bench:
    """A loop with its consumer, clock and ended restores."""

    def __init__(self, directory: Path) -> None:
        self.consumer = ScriptedConsumer()
        self.clock = ManualClock(1_700_000_000_000)
        self.ended: list[TaskRestore] = []
        consumer: Any = self.consumer
        self.loop = RestoreLoop(
            consumer, self.ended.append, clock=self.clock, delete_retention_ms=1_000_000
        )
        self._directory = directory
        self._pool = MemoryPool(8 * MIB, 8 * MIB)
        self.databases: list[TaskDatabase] = []

    def start(self, partition: int, end: Bounds | StreamerError) -> TaskRestore:
        task = TaskId(0, partition)
        database = TaskDatabase.open(
            self._directory / str(task),
            [Store("plain", str, int).spec()],
            pool=self._pool,
            options={},
        )
        self.databases.append(database)
        self.consumer.ends[place(partition)] = end
        restore = TaskRestore(task, database, {"plain": place(partition)})
        self.loop.add(restore)
        return restore

    def turn(self, *fetched: Fetched, memory_bytes: int = MIB) -> None:
        self.consumer.script.extend(fetched or [Fetched()])
        while self.consumer.script:
            self.loop.apply(self.loop.fetch(), memory_bytes)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for database in made.databases:
        database.close()


def place(partition: int) -> TopicPartition:
    return TopicPartition("app-plain-changelog", partition)


def records(partition: int, offsets: range, size_bytes: int = 10) -> Records:
    keys = [b"%08d" % offset for offset in offsets]
    return Records(place(partition), keys, [row(1, bytes(size_bytes))] * len(keys), list(offsets))


def position(restore: TaskRestore) -> int:
    return Positions.decode(restore.database.metadata()).changelogs.get("plain", 0)


def test_tasks_end_each_at_its_own_end(bench: Bench) -> None:
    one, two = bench.start(1, Bounds(0, 10)), bench.start(2, Bounds(0, 20))
    bench.turn(Fetched(records=[records(1, range(10)), records(2, range(10))]))
    assert bench.ended == [one]
    assert bench.consumer.reading == {place(2): 0}
    assert (position(one), position(two)) == (10, 10)
    bench.turn(Fetched(records=[records(2, range(10, 19))], at_end={place(2): 20}))
    assert bench.ended == [one, two]
    assert position(two) == 20
    assert bench.loop.is_idle
    bench.loop.close()


def test_a_task_with_nothing_to_restore_ends_at_once(bench: Bench) -> None:
    one = bench.start(1, Bounds(0, 0))
    bench.turn()
    assert (bench.ended, one.error, one.state) == ([one], None, RestoreState.DONE)
    assert bench.consumer.reading == {}


def test_a_failure_is_that_tasks_alone(bench: Bench) -> None:
    missing = bench.start(1, TopicMissingError("no such topic"))
    wrong = bench.start(2, Bounds(3, 9))
    torn = bench.start(3, Bounds(0, 9))
    good = bench.start(4, Bounds(0, 9))
    bench.turn(
        Fetched(
            records=[records(4, range(5)), records(3, range(2))],
            failures={place(3): TaskCorruptedError("bad record")},
        )
    )
    assert bench.ended == [missing, wrong, torn]
    assert [type(one.error) for one in bench.ended] == [
        TopicMissingError,
        TaskCorruptedError,
        TaskCorruptedError,
    ]
    assert bench.consumer.reading == {place(4): 0}
    # What comes late for one that has ended is passed over.
    bench.turn(Fetched(records=[records(4, range(5, 9)), records(3, range(2, 9))]))
    assert bench.ended[-1] is good
    assert good.error is None
    assert position(torn) == 2


def test_a_closed_database_fails_its_restore_alone(bench: Bench) -> None:
    closed, good = bench.start(1, Bounds(0, 4)), bench.start(2, Bounds(0, 4))
    bench.turn()
    closed.database.close()
    bench.turn(Fetched(records=[records(1, range(4)), records(2, range(4))]))
    assert bench.ended == [closed, good]
    assert closed.error is not None
    assert good.error is None


def test_brokers_that_are_away_are_waited_for(bench: Bench) -> None:
    one = bench.start(1, KafkaUnavailableError("no broker"))
    bench.turn()
    bench.consumer.ends[place(1)] = Bounds(0, 0)
    bench.turn()
    assert one.state is RestoreState.WAITING
    bench.clock.advance(RETRY_MS)
    bench.turn()
    assert bench.ended == [one]


def test_a_cancelled_restore_is_saved_and_not_reported(bench: Bench) -> None:
    one = bench.start(1, Bounds(0, 100_000))
    bench.turn(Fetched(records=[records(1, range(500))]))
    assert position(one) == 0, "rows of a bulk restore are gathered first"
    bench.loop.cancel(one)
    bench.loop.cancel(one)
    assert (position(one), one.state) == (500, RestoreState.CANCELLED)
    assert len(list(one.database.scan("plain", b"", None))) == 500
    assert (bench.ended, bench.consumer.reading) == ([], {})


def test_gathered_rows_stay_within_their_memory_and_the_largest_go_first(bench: Bench) -> None:
    small, large = bench.start(1, Bounds(0, 100_000)), bench.start(2, Bounds(0, 100_000))
    bench.turn(Fetched(records=[records(1, range(100)), records(2, range(500), 1_000)]))
    assert (position(small), position(large)) == (0, 0)
    bench.turn(Fetched(records=[records(2, range(500, 1_000), 1_000)]))
    assert (position(small), position(large)) == (0, 1_000)


def test_rows_that_replace_each_other_are_gathered_on(bench: Bench) -> None:
    one = bench.start(1, Bounds(0, 100_000))
    for turn in range(20):
        again = records(1, range(200), 1_000)
        shifted = again._replace(offsets=list(range(turn * 200, turn * 200 + 200)))
        bench.turn(Fetched(records=[shifted]))
    assert position(one) == 0
    assert len(one.stores[place(1)].rows) == 200
    bench.loop.cancel(one)
    assert position(one) == 4_000


def out_of_range(bench: Bench, then: Bounds | StreamerError) -> TaskRestore:
    one = bench.start(1, Bounds(0, 100))
    bench.turn(Fetched(records=[records(1, range(10))]))
    bench.consumer.ends[place(1)] = then
    bench.turn(Fetched(out_of_range={place(1)}))
    return one


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (Bounds(50, 100), "position 10, but changelog .* begins at 50"),
        (Bounds(0, 5), "position 10 of changelog .* ends at 5"),
    ],
)
def test_a_position_that_got_lost_while_reading_is_refused_with_both(
    bench: Bench, then: Bounds, message: str
) -> None:
    one = out_of_range(bench, then)
    assert bench.ended == [one]
    with pytest.raises(TaskCorruptedError, match=message):
        raise one.error or AssertionError
    assert position(one) == 10
    assert bench.consumer.reading == {}


@pytest.mark.parametrize("then", [Bounds(0, 100), KafkaUnavailableError("no broker")])
def test_a_broker_that_was_behind_is_asked_again(bench: Bench, then: Any) -> None:
    one = out_of_range(bench, then)
    assert bench.ended == []
    assert bench.consumer.reading == {place(1): 10}
    bench.turn(Fetched(records=[records(1, range(10, 100))]))
    assert bench.ended == [one]


def test_a_broken_consumer_fails_all(bench: Bench) -> None:
    restores = [bench.start(1, Bounds(0, 9)), bench.start(2, Bounds(0, 9))]
    bench.turn()
    error = StreamerError("the client is broken")
    bench.loop.fail_all(error)
    assert bench.ended == restores
    assert all(one.error is error for one in restores)
    assert bench.loop.is_idle
