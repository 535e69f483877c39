"""Which partitions a worker pauses at its client, and when they are read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import Fetched
from streamer.record import RawBatch
from streamer.task.input import TaskInput
from streamer.worker.intake import Intake

FULL_TURN_MS = 4_000


class Reader:
    """Knows what is paused."""

    def __init__(self) -> None:
        self.paused: set[TopicPartition] = set()

    def add(self, positions: Mapping[TopicPartition, int]) -> None: ...

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        self.paused.difference_update(partitions)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        self.paused.difference_update(positions)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self.paused.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self.paused.difference_update(partitions)


def task(number: int, *topics: str) -> Any:
    places = tuple(TopicPartition(topic, number) for topic in topics)
    records = TaskInput(places, records_max=1_000, idle_ms=0)

    def process(batch: RawBatch) -> None:
        """All at once."""

    return SimpleNamespace(
        task=TaskId(0, number),
        partitions=places,
        positions=dict.fromkeys(places, 0),
        committed=dict.fromkeys(places, 0),
        input=records,
        add=process,
        abort=records.clear,
        crosses=True,
    )


def batch(place: TopicPartition) -> RawBatch:
    return RawBatch(
        topic=place.topic,
        partition=place.partition,
        keys=[b"k"],
        values=[b"v"],
        timestamps=[0],
        offsets=[0],
    )


class Worker:
    """An intake with tasks, of which it reads those that are named until a turn is over."""

    def __init__(self, *tasks: Any) -> None:
        self.reader = Reader()
        self.intake = Intake(self.reader)  # type: ignore[arg-type]
        self.tasks = tasks
        self.now_ms = 0
        for one in tasks:
            self.intake.add(one)

    def fetch(self, *places: TopicPartition) -> None:
        fetched = Fetched(batches=[batch(place) for place in places], is_full=True)
        self.intake.take(fetched, self.now_ms)
        self.intake.balance(self.tasks, 1 << 30)

    def turn(self, *places: TopicPartition) -> set[TopicPartition]:
        """What is paused after it."""
        self.fetch(*places)
        self.now_ms += FULL_TURN_MS
        self.fetch(*places)
        return self.reader.paused


FIRST, SECOND = TopicPartition("in", 0), TopicPartition("in", 1)


def test_a_task_that_was_read_rests_with_all_its_partitions_until_the_other_was_read() -> None:
    both = TopicPartition("table", 0)
    worker = Worker(task(0, "in", "table"), task(1, "in"))
    assert worker.turn(FIRST) == {FIRST, both}
    # Nobody waits long for what need not come.
    assert worker.intake.poll_ms(60_000) == 100
    assert worker.turn(SECOND) == set()
    assert worker.intake.poll_ms(60_000) == 60_000


def test_who_goes_back_to_the_last_commit_reads_everything() -> None:
    worker = Worker(task(0, "in"), task(1, "in"))
    assert worker.turn(FIRST) == {FIRST}
    worker.intake.rewind(worker.tasks)
    assert worker.reader.paused == set()
    worker.fetch(FIRST)
    assert worker.reader.paused == set()


def test_while_other_topics_are_held_nobody_rests() -> None:
    """They are paused until that is over, and are no task's that waits."""
    worker = Worker(task(0, "in", "own"), task(1, "in", "own"))
    worker.intake.hold(worker.tasks, {"own"})
    held = {FIRST, SECOND}
    assert worker.reader.paused == held
    for _ in range(3):
        assert worker.turn(TopicPartition("own", 0)) == held
    worker.intake.release(worker.tasks)
    assert worker.reader.paused == set()


def test_where_it_ends_is_forgotten_by_a_task_that_rests() -> None:
    """More may come meanwhile, of which none may be passed over for another of its topics."""
    busy, both = task(0, "in"), task(1, "in", "table")
    worker = Worker(busy, both)
    table = TopicPartition("table", 1)
    ends = Fetched(batches=[batch(FIRST)], ends={SECOND: 7, table: 5}, is_full=True)
    worker.intake.take(ends, 0)
    worker.intake.balance(worker.tasks, 1 << 30)
    assert both.input.ends() == {SECOND: 7, table: 5}
    worker.now_ms = FULL_TURN_MS * 2
    worker.fetch(FIRST)
    assert worker.reader.paused == set()
    assert worker.turn(SECOND) == {SECOND, table}
    assert both.input.ends() == {}


def test_a_task_that_is_given_up_while_others_rest_leaves_nothing_paused() -> None:
    worker = Worker(task(0, "in"), task(1, "in"))
    assert worker.turn(FIRST) == {FIRST}
    worker.intake.remove(worker.tasks[0])
    worker.tasks = worker.tasks[1:]
    worker.fetch(SECOND)
    assert worker.reader.paused == set()
