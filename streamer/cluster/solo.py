"""`Solo`: the place of a worker that is alone, with the methods of `Member`."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from streamer.clock import Clock
from streamer.cluster.candidate import Candidate
from streamer.cluster.seat import NO_SHADOWS, Desired, Shadowed
from streamer.cluster.work import Work
from streamer.config import Config
from streamer.control.identity import Incarnation, fresh_session
from streamer.control.messages import StandbyReport, TaskReport
from streamer.control.orders import Order
from streamer.errors import StreamerError
from streamer.ids import TaskId

__all__ = ["Solo"]


class Solo:
    """All tasks at once and for ever, without any cluster: tests, benchmarks, single runs."""

    def __init__(
        self,
        config: Config,
        *,
        work: Work,
        clock: Clock,
        address: str = "",
        stopping: threading.Event | None = None,
        candidate: Candidate | None = None,
    ) -> None:
        del clock, address, stopping, candidate
        self.worker_id = config.worker_id or "solo"
        self._incarnation = Incarnation(fresh_session())
        self._desired = Desired(1, work.tasks)
        self.is_controller = True
        self.lease = None
        """Nobody can take its tasks over."""
        self.tasks: Mapping[TaskId, TaskReport] = {}
        """What was reported last."""

    @property
    def incarnation(self) -> str:
        return str(self._incarnation)

    def start(self) -> None:
        """There is nothing to join."""

    def desired(self) -> Desired | None:
        return self._desired

    def report(
        self,
        seen: int,
        tasks: Mapping[TaskId, TaskReport],
        standbys: Mapping[TaskId, StandbyReport],
        *,
        pause: tuple[str, str] = ("", ""),
        shadows: Shadowed = NO_SHADOWS,
        former: Mapping[str, int] | None = None,
    ) -> None:
        del seen, standbys, pause, shadows, former
        self.tasks = tasks

    def orders(self) -> tuple[Order, ...]:
        """Nobody asks."""
        return ()

    def rejoin(self) -> None:
        """Take everything on again, as after a new assignment."""
        self._incarnation = self._incarnation.next()
        self._desired = Desired(self._desired.version + 1, self._desired.tasks)

    def leave(self, timeout_s: float, *, begins_anew: bool = False) -> None:
        """There is nobody to tell."""

    def failure(self) -> StreamerError | None:
        return None
