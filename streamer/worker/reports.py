"""What a worker says of its tasks to the cluster."""

from __future__ import annotations

from streamer import metrics
from streamer.control.messages import TaskReport
from streamer.kafka.api import InputReader
from streamer.task.active import ActiveTask
from streamer.task.lifecycle import TaskState

__all__ = ["report"]


def report(active: ActiveTask, reader: InputReader, restore_left: int) -> TaskReport:
    """The status of one task. `restore_left` is -1 while that is not known."""
    if active.state in (TaskState.CREATED, TaskState.RESTORING):
        state = "restoring"
    else:
        state = "failed" if active.state is TaskState.FAILED else "running"
    active.lag_records = _lag_records(active, reader)
    return TaskReport(
        state=state,  # type: ignore[arg-type]
        lag_records=active.lag_records,
        restore_left_records=max(restore_left, 0),
        positions={str(place): at for place, at in active.committed.items()},
    )


def _lag_records(active: ActiveTask, reader: InputReader) -> int:
    """Records between the committed positions and the ends, as far as the ends are known."""
    lag = 0
    task = str(active.task)
    for place, position in active.committed.items():
        behind = max(reader.known_end(place) - position, 0)
        metrics.lag_records.labels(task, place.topic, str(place.partition)).set(behind)
        lag += behind
    return lag
