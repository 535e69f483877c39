"""Tasks that wait for the ends of their changelogs, asked for together.

What somebody waits for goes first, and apart from the standbys: a changelog without a leader keeps
its own kind waiting alone. Two hundred standbys cost as many requests as one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from streamer.clock import Clock
from streamer.errors import KafkaUnavailableError, StreamerError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import Bounds, ChangelogConsumer
from streamer.restore.task import RestoreState, TaskRestore

__all__ = ["Answer", "Asking"]

_log = logging.getLogger(__name__)

RETRY_MS = 500
# Asking brokers that are away holds up everything else for seconds.
STANDBY_RETRY_MS = 10_000

Answer = Mapping[TopicPartition, Bounds] | StreamerError


class _Group:
    def __init__(self, what: str, pause_ms: int) -> None:
        self.what = what
        self.pause_ms = pause_ms
        self.retry_ms = 0
        self.is_apart = False
        self.waiting: dict[TaskId, TaskRestore] = {}


class Asking:
    """Who waits, and the answers of the brokers."""

    def __init__(self, consumer: ChangelogConsumer, clock: Clock) -> None:
        self._bounds = consumer.bounds
        self._clock = clock
        self._urgent = _Group("restores wait", RETRY_MS)
        self._standby = _Group("standbys wait", STANDBY_RETRY_MS)

    def add(self, restore: TaskRestore) -> None:
        group = self._standby if restore.is_standby else self._urgent
        group.waiting[restore.task] = restore

    def discard(self, task: TaskId) -> None:
        self._urgent.waiting.pop(task, None)
        self._standby.waiting.pop(task, None)

    def answers(self) -> Iterator[tuple[TaskRestore, Answer]]:
        """Those who were answered; whoever could not be asks again after a while."""
        for group in (self._urgent, self._standby):
            if group.waiting and self._clock.monotonic_ms() >= group.retry_ms:
                yield from self._answers(group)

    def _answers(self, group: _Group) -> Iterator[tuple[TaskRestore, Answer]]:
        restores = list(group.waiting.values())
        together = None if group.is_apart or len(restores) == 1 else self._ask(restores)
        if isinstance(together, KafkaUnavailableError):
            # It may be for one of them alone: the next time each is asked for by itself.
            group.is_apart = True
            self._wait(group, together)
            return
        for restore in restores:
            answer = self._ask([restore]) if not isinstance(together, Mapping) else together
            del group.waiting[restore.task]
            if isinstance(answer, KafkaUnavailableError):
                self._wait(group, answer)
                # One that follows is asked for again in a minute, else the others come first.
                if restore.state is not RestoreState.FOLLOWING:
                    group.waiting[restore.task] = restore
                return
            yield restore, answer
        group.is_apart = False

    def _ask(self, restores: Sequence[TaskRestore]) -> Answer:
        places = [place for one in restores for place in one.changelogs.values()]
        try:
            return self._bounds(places)
        except StreamerError as error:
            return error

    def _wait(self, group: _Group, error: StreamerError) -> None:
        _log.warning("%s for the brokers: %s", group.what, error)
        group.retry_ms = self._clock.monotonic_ms() + group.pause_ms
