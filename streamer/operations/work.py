"""What a step is given beside its world: whose work it does, and whom it tells how far it is.

A step calls `check` before each thing that it changes and at least every few seconds: it raises
where the operation was cancelled, is to be paused, or was taken over by another process. `progress`
calls it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamer.clock import Clock
from streamer.control.operations import ProgressRecord
from streamer.errors import StreamerError
from streamer.operations.meter import Meter
from streamer.operations.ports import Effect

__all__ = ["CancelAskedError", "NoWayBackError", "Work"]


class CancelAskedError(StreamerError):
    """Somebody wants the operation to be cancelled. A step lets it pass: what it did is undone."""


class NoWayBackError(StreamerError):
    """Raised by an undo that finds done what cannot be undone, as by a process that was given up
    and made it a moment before. The operation is finished instead."""


class Work:
    """Given to `run` and `undo`. Used by one thread."""

    def __init__(
        self,
        operation: str,
        epoch: int,
        clock: Clock,
        *,
        checks: Callable[[], None],
        tells: Callable[[ProgressRecord], None],
        writes: Callable[[Sequence[Effect]], None],
        before: ProgressRecord | None = None,
    ) -> None:
        self.operation = operation
        """Its id: part of the name of whatever is made, so that it can be found and taken away."""
        self.epoch = epoch
        """Grows with each process that takes the operation up; late effects of a lower one must be
        told from those of this one."""
        self._meter = Meter(clock, before)
        self._checks = checks
        self._tells = tells
        self._writes = writes

    def check(self) -> None:
        """Raises CancelAskedError, StoppedError where this process is to leave it, or FencedError
        where another one does this now."""
        self._checks()

    def progress(
        self,
        *,
        phase: str = "",
        number: int = 0,
        of: int = 0,
        bytes_done: int = 0,
        bytes_total: int = 0,
        records_done: int = 0,
        records_total: int = 0,
        held_by: str = "",
    ) -> None:
        """Tell how far it is; cheap enough for every record batch or file. `held_by` says who or
        what makes it wait. Raises as `check`."""
        told = ProgressRecord(
            phase=phase,
            number=number,
            of=of,
            bytes_done=bytes_done,
            bytes_total=bytes_total,
            records_done=records_done,
            records_total=records_total,
            held_by=held_by,
        )
        self._tells(self._meter.read(told))
        self._checks()

    def write(self, effects: Sequence[Effect]) -> None:
        """Write rows to other control topics, in one transaction that only the holder of the lock
        can commit: a late one of an earlier epoch has no effect. Raises as `check`."""
        self._checks()
        self._writes(effects)

    def ensure_held(self) -> None:
        """Raise FencedError unless it is this process that carries the operation out, as a write
        under its lock tells; `check` goes by the last one of late. May be called by any thread."""
        self._writes(())
