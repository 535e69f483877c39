"""What a worker says of its tasks to the cluster."""

from __future__ import annotations

from streamer import metrics
from streamer.control.messages import TaskReport
from streamer.ids import TopicPartition
from streamer.kafka.api import InputReader
from streamer.task.active import ActiveTask
from streamer.task.lifecycle import TaskState

__all__ = ["lag_records", "report"]


def report(active: ActiveTask, reader: InputReader, restore_left: int) -> TaskReport:
    """The status of one task. `restore_left` is -1 while that is not known."""
    if active.state in (TaskState.CREATED, TaskState.RESTORING):
        state = "restoring"
    else:
        state = "failed" if active.state is TaskState.FAILED else "running"
    lags = _lags(active, reader)
    for place, behind in lags.items():
        task = str(active.task)
        metrics.lag_records.labels(task, place.topic, str(place.partition)).set(behind)
    return TaskReport(
        state=state,  # type: ignore[arg-type]
        lag_records=sum(lags.values()),
        restore_left_records=max(restore_left, 0),
        positions={str(place): at for place, at in active.committed.items()},
    )


def lag_records(active: ActiveTask, reader: InputReader) -> int:
    """Records between the committed positions and the ends, as far as the ends are known. May be
    asked by any thread."""
    return sum(_lags(active, reader).values())


def _lags(active: ActiveTask, reader: InputReader) -> dict[TopicPartition, int]:
    positions = active.committed.copy().items()
    return {place: max(reader.known_end(place) - at, 0) for place, at in positions}
