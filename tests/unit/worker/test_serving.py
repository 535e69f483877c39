"""What is shown of a task is of the moment it is asked for, not of its last report."""

from __future__ import annotations

from typing import Any

from streamer.config import Config
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.fake import FakeBroker
from streamer.task.lifecycle import TaskState
from streamer.worker.reports import report
from streamer.worker.serving import WorkerServing

FIRST, SECOND = (TopicPartition("in", number) for number in (0, 1))
ANY: Any = None


class Task:
    """Committed at the beginning of two partitions."""

    task = TaskId(0, 0)
    state = TaskState.RUNNING
    failure = None
    database = None
    records_processed = 0
    committed_time_ms = -1

    def __init__(self) -> None:
        self.committed = {FIRST: 0, SECOND: 0}
        self.committed_times: dict[str, int] = {}
        self.positions: dict[TopicPartition, int] = {}


class Tasks:
    def __init__(self, *active: Any) -> None:
        self.all = list(active)
        self.failures: dict[TaskId, Exception] = {}


def test_the_lag_follows_commits_and_ends_that_no_report_has_seen() -> None:
    broker = FakeBroker(partition_of=lambda _key, _count: 0, now_ms=lambda: 0)
    broker.create("in", 2)
    producer = broker.producer(None)
    task: Any = Task()
    tasks: Any = Tasks(task)
    config = Config(application_id="app")
    reader = broker.reader("app")
    serving = WorkerServing(ANY, ANY, tasks=tasks, reader=reader, config=config)

    def write(count: int) -> None:
        producer.send(
            "in", [None] * count, [b"1"] * count, timestamps=[0] * count, partitions=[0] * count
        )

    def shown() -> tuple[int, int]:
        (served,) = serving.tasks()
        return served.lag_records, serving.health().details["tasks"]["0_0"]["lag_records"]

    write(10)
    assert report(task, reader, -1).lag_records == 10
    assert shown() == (10, 10)
    task.committed = {FIRST: 10, SECOND: 0}
    assert shown() == (0, 0)
    write(3)
    assert shown() == (3, 3)
