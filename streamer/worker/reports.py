"""What a worker says of its tasks to the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable

from streamer import metrics
from streamer.control.messages import TaskReport
from streamer.ids import TaskId
from streamer.kafka.api import InputReader
from streamer.restore import Restorer
from streamer.task.active import ActiveTask
from streamer.task.lifecycle import TaskState

__all__ = ["Rates", "report"]

_LOOK_S = 1.0


class Rates:
    """Records that tasks process per second, over the time between two looks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked: dict[TaskId, tuple[float, int, int]] = {}

    def look(self, active: ActiveTask) -> int:
        """Between looks of less than a second the last figure stands."""
        now_s, count = self._clock(), active.records_processed
        since_s, before, rate = self._looked.get(active.task, (now_s, count, 0))
        if count < before:  # Opened anew.
            since_s, before, rate = now_s, count, 0
        elif now_s - since_s >= _LOOK_S:
            rate, since_s, before = round((count - before) / (now_s - since_s)), now_s, count
        self._looked[active.task] = (since_s, before, rate)
        return rate


def report(active: ActiveTask, reader: InputReader, restorer: Restorer, *, rate: int) -> TaskReport:
    """The status of one task."""
    is_restoring = active.state is TaskState.RESTORING
    restore_left = restorer.progress(active.task).remaining_offsets if is_restoring else 0
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
        bytes=active.database.size_bytes(),
        rate=rate,
        # Of a task that has yet to run, what its restore has saved.
        durable=dict(active.durable or restorer.durable(active.task)),
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
