"""The ordinary consumer group of the application stands at the ends, whatever lies before them."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Producer

from tests.broker.expected import check
from tests.broker.workers import Application

OUTPUTS = ("totals", "closed", "every")
START_MS = 1_700_000_000_000


class Upstream:
    """A transactional producer of the input."""

    def __init__(self, application: Application) -> None:
        settings = {
            **application.kafka.settings,
            "transactional.id": f"{application.name}-upstream",
        }
        self._topic = application.topic("in")
        self._producer = Producer(settings)
        self._producer.init_transactions(30)

    def write(self, partition: int, count: int, *, at_ms: int) -> None:
        for row in range(count):
            self._producer.produce(
                self._topic,
                str(row),
                f"p{partition}-{row % 7}",
                partition=partition,
                timestamp=at_ms + row,
            )

    def begin(self) -> None:
        self._producer.begin_transaction()

    def commit(self) -> None:
        self._producer.commit_transaction(30)

    def abort(self) -> None:
        self._producer.flush(30)
        self._producer.abort_transaction(30)


def test_lag_is_zero_behind_markers_and_aborted_records(application: Any, wait_until: Any) -> None:
    made: Application = application("counts", outputs=OUTPUTS, partitions=4)
    upstream = Upstream(made)
    for round_ in range(3):
        upstream.begin()
        for partition in (0, 1):
            upstream.write(partition, 50, at_ms=START_MS + 200 * round_)
        upstream.commit()
    # Partition 1 ends with aborted records, partition 2 has nothing else, partition 3 is empty.
    upstream.begin()
    upstream.write(1, 40, at_ms=START_MS + 700)
    upstream.write(2, 40, at_ms=START_MS + 700)
    upstream.abort()
    place = made.topic("in")
    ends = {f"{place}/0": 153, f"{place}/1": 194, f"{place}/2": 41, f"{place}/3": 0}
    # Markers reach the partitions after the client was told.
    wait_until(lambda: made.ends() == ends, what="the marker of each partition")

    worker = made.worker()
    wait_until(lambda: made.committed() == ends, what="no lag in the group")
    assert worker.processed() == 300
    wait_until(lambda: worker.metric("streamer_lag_records") == 0, what="no lag in the metric")
    wait_until(
        lambda: {task["lag_records"] for task in worker.tasks().values()} == {0},
        what="no lag of any task",
    )
    check(made)

    # An open transaction holds its partition; what it commits is then processed.
    upstream.begin()
    upstream.write(0, 50, at_ms=START_MS + 900)
    upstream.write(2, 50, at_ms=START_MS + 900)
    made.kafka.produce(place, [("p1-1", "1")], partition=1, timestamp_ms=START_MS + 900)
    wait_until(lambda: worker.processed() == 301, what="the record of the other partition")
    assert made.committed()[f"{place}/0"] == 153
    upstream.commit()
    made.wait_until_done(watch=[worker])
    assert worker.processed() == 401
    assert worker.stop() == 0

    # Nor does a restart read anything again.
    again = made.worker()
    started = again.wait_started(4)
    positions = {where: at for task in started.values() for where, at in task.positions.items()}
    assert positions == made.ends()
    assert {task.restored for task in started.values()} == {0}
    assert again.processed() == 0
    check(made)
