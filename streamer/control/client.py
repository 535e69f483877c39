"""`Control`: ask a running application who its workers are and how far they have come.

    with Control(config) as control:
        for task in control.tasks():
            print(task.task, task.worker, task.state, task.lag_records)

It only reads. Each question reads what was written since the last one.
"""

from __future__ import annotations

import logging

from streamer.clock import Clock, SystemClock
from streamer.closable import Closable
from streamer.config import Config
from streamer.control.current import current_layout
from streamer.control.messages import (
    AssignmentRecord,
    StatusRecord,
    TaskReport,
    decode_assignment,
)
from streamer.control.reading import StatusReader
from streamer.control.roster import Roster
from streamer.control.topics import ControlTopics
from streamer.control.view import ShadowInfo, TaskInfo, WorkerInfo, lags_of, shadows_of, tasks_of
from streamer.errors import InternalTopicError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.table import TableReader, newest

__all__ = ["Control", "ShadowInfo", "TaskInfo", "WorkerInfo"]

_log = logging.getLogger(__name__)

_READ_S = 30.0


class Control(Closable):
    """Reads the control topics of one application. Used by one thread.

    Raises TopicMissingError where no worker of the application has ever run, KafkaUnavailableError
    when the brokers do not answer. A status or an assignment that cannot be read is logged and
    passed over.

    `reads_assignments=False` is for who asks often and needs no more than what workers say of
    themselves: a large fleet has as many partitions of assignments as workers, and whoever reads
    them names each of them to its broker ten times a second. Nothing is `assigned` then, and tasks
    that nobody has opened are missing.
    """

    def __init__(
        self, config: Config, *, clock: Clock | None = None, reads_assignments: bool = True
    ) -> None:
        self._config = config
        self._admin = Admin(config)
        self._topics = ControlTopics.find(config, self._admin)
        self._places = self._topics.statuses()
        if reads_assignments:
            self._places += self._topics.assignments()
        self._assignments: dict[str, AssignmentRecord] = {}
        self._statuses: dict[str, StatusRecord] = {}
        self._reading = StatusReader()
        self._roster = Roster(config, self._admin, self._topics, clock=clock or SystemClock())
        self._reader = TableReader(config, self._places)

    def workers(self) -> list[WorkerInfo]:
        """Every worker that is remembered, those that are gone too, by name."""
        self._read()
        return self._workers()

    def tasks(self) -> list[TaskInfo]:
        """Every task with its owner and state, in the order of the tasks."""
        self._read()
        return tasks_of(self._assignments, self._statuses, self._workers())

    def reports(self) -> dict[str, tuple[str, TaskReport]]:
        """What workers that live say of the tasks that they own: worker and report, by task."""
        self._read()
        alive = {each.worker for each in self._workers() if each.is_alive}
        return {
            task: (worker, report)
            for worker, status in self._statuses.items()
            if worker in alive
            for task, report in status.tasks.items()
        }

    def shadows(self) -> list[ShadowInfo]:
        """The copies that workers which live keep of tasks of the layout that is to follow."""
        self._read()
        alive = {each.worker for each in self._workers() if each.is_alive}
        return shadows_of({one: self._statuses[one] for one in alive & self._statuses.keys()})

    def statuses(self) -> dict[str, StatusRecord]:
        """What every worker said last, by worker; whether it still lives is not in it."""
        self._read()
        return dict(self._statuses)

    def lag(self) -> dict[str, int | None]:
        """Records that each task has yet to read: as its owner said last, else from its group's
        positions and the ends of the topics; None where neither tells."""
        tasks = self.tasks()
        if all(each.lag_records is not None for each in tasks):
            return lags_of(tasks, (), {})
        layout = current_layout(self._config, self._admin)
        return lags_of(tasks, self._statuses.values(), self._behind(), layout=layout)

    def unread(self) -> int | None:
        """Records that nobody has processed, in all partitions for which the application's group
        has committed a position, whether or not it runs; None where it never committed any."""
        behind = self._behind()
        return sum(behind.values()) if behind else None

    def _behind(self) -> dict[TopicPartition, int]:
        group = self._config.application_id
        places = [
            TopicPartition(topic, number)
            for topic, count in self._admin.topics().items()
            for number in range(count)
        ]
        positions = self._admin.committed(group, places)
        ends = self._admin.ends(positions)
        return {place: max(ends[place] - at, 0) for place, at in positions.items()}

    def close(self) -> None:
        self._reader.close()

    def _workers(self) -> list[WorkerInfo]:
        return self._roster.workers(self._assignments, self._statuses)

    def _read(self) -> None:
        ends = self._admin.ends(self._places)
        for row in newest(self._reader.read_to(ends, timeout_s=_READ_S)):
            topic, key = row.place.topic, row.key
            if row.place in self._topics.statuses():
                self._statuses.update({one.worker: one for one in self._reading.read([row])})
                if row.value is None:
                    self._statuses.pop(key, None)
            elif row.value is None:
                self._assignments.pop(key, None)
            else:
                self._take(topic, key, row.value)

    def _take(self, topic: str, key: str, value: bytes) -> None:
        try:
            self._assignments[key] = decode_assignment(topic, key, value)
        except InternalTopicError as error:
            # Who only looks decides nothing by it: the next controller takes it out.
            _log.error("an assignment is passed over: %s", error.describe())
            self._assignments.pop(key, None)
