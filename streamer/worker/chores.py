"""A worker's reports, with what became of the orders that it was given: chores of its tasks, and
copies for the layout that is to follow, and with what is left of those before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from streamer.cluster.member import Desired
from streamer.cluster.seat import NO_SHADOWS, Shadowed
from streamer.control.messages import ChoreReport, StandbyReport, TaskReport
from streamer.control.orders import Order
from streamer.errors import StreamerError
from streamer.ids import TaskId
from streamer.worker.loop import Membership

__all__ = ["Chores"]


class _Said(NamedTuple):
    seen: int
    tasks: dict[TaskId, TaskReport]
    standbys: dict[TaskId, StandbyReport]
    pause: tuple[str, str]


class Speaker(Membership, Protocol):
    """A membership that tells of other layouts, too."""

    def report(
        self,
        seen: int,
        tasks: dict[TaskId, TaskReport],
        standbys: dict[TaskId, StandbyReport],
        *,
        pause: tuple[str, str],
        shadows: Shadowed = NO_SHADOWS,
        former: Mapping[str, int] | None = None,
    ) -> None: ...


class Chores:
    """A membership that adds the chores of tasks to each report. Used by the loop's thread."""

    def __init__(
        self,
        member: Speaker,
        chores: Callable[[], Mapping[TaskId, ChoreReport]],
        shadows: Callable[[], Shadowed] = Shadowed,
        *,
        former: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._member = member
        self._chores = chores
        self._shadows = shadows
        self._former = former
        self._last: _Said | None = None

    def desired(self) -> Desired | None:
        return self._member.desired()

    def report(
        self,
        seen: int,
        tasks: dict[TaskId, TaskReport],
        standbys: dict[TaskId, StandbyReport],
        *,
        pause: tuple[str, str] = ("", ""),
    ) -> None:
        self._last = _Said(seen, tasks, standbys, pause)
        chores = self._chores()
        told = {
            task: replace(report, chore=chores[task]) if task in chores else report
            for task, report in tasks.items()
        }
        self._member.report(
            seen, told, standbys, pause=pause, shadows=self._shadows(), former=self._former()
        )

    def again(self) -> None:
        """Say what was said last, with the chores as they are now."""
        if self._last is not None:
            last = self._last
            self.report(last.seen, last.tasks, last.standbys, pause=last.pause)

    def orders(self) -> tuple[Order, ...]:
        return self._member.orders()

    def rejoin(self) -> None:
        self._last = None
        self._member.rejoin()

    def failure(self) -> StreamerError | None:
        return self._member.failure()
