"""One process's turn at an operation: forward through its steps, or back through those it began.

    running -- a step fails --> failed     asked to stop --> paused      resume goes on from either
       |  \\-- cancel --> cancelling -- all is undone --> cancelled
       v
     done

A step is noted as begun before it is run, and as done after the world says so. Whoever comes after
a kill asks the world from the first step on, and undoes what was begun, whether or not it happened.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from streamer import failpoints
from streamer.clock import Clock
from streamer.control.operations import (
    CancelRecord,
    OperationRecord,
    ProgressRecord,
    StepRecord,
    TroubleRecord,
    cancel_key,
    encode,
    operation_key,
)
from streamer.errors import (
    InvariantError,
    OperationRefusedError,
    StoppedError,
    StreamerError,
)
from streamer.operations.kinds import Step
from streamer.operations.lock import Hold
from streamer.operations.ports import Rows
from streamer.operations.work import CancelAskedError, NoWayBackError, Work

__all__ = ["Run", "no_return_reason"]

_log = logging.getLogger(__name__)

_ACTIVE = ("running", "undoing")

# Each is a transaction and some kilobytes, and people look no more often.
_SAVE_MS = 2_000
_LOOK_MS = 1_000
# What is told in sentences: a record must fit into its topic whatever an error has to say.
_SAID_MAX = 500
_TROUBLE_MAX = 4_000


def no_return_reason(record: OperationRecord) -> str:
    """Why an operation cannot be cancelled any more, as its record tells; "" while it can."""
    plan = record.plan
    names = [step.id for step in record.steps]
    if plan.no_return not in names:
        return ""
    at = names.index(plan.no_return)
    step = record.steps[at]
    is_past = step.state == "done" or any(later.begun for later in record.steps[at + 1 :])
    if plan.no_return_when == "begun":
        is_past = is_past or step.begun > 0
    if not is_past:
        return ""
    what = "; ".join(plan.lost) or "it can only be finished"
    return f"there is no way back after step {plan.no_return}: {what}"


class Run:
    """Carries out one operation under a lock that is held. Used by one thread.

    `wish` looks for a wish to cancel it, `outdated` gives rows to take out when it ends, `notice`
    is told each change. Once `stopping` is set it pauses. One that only `cancels` does no step
    forward, but where an undo finds that there is no way back. After the step `until` it is left
    paused, for whoever goes on.
    """

    def __init__(
        self,
        record: OperationRecord,
        steps: Sequence[Step[Any]],
        hold: Hold,
        *,
        clock: Clock,
        wish: Callable[[], CancelRecord | None],
        outdated: Callable[[], Rows],
        notice: Callable[[OperationRecord], None],
        stopping: threading.Event | None = None,
        cancels: bool = False,
        until: str = "",
    ) -> None:
        self.record = record
        self._steps = steps
        self._hold = hold
        self._clock = clock
        self._wish = wish
        self._outdated = outdated
        self._notice = notice
        self._stopping = stopping
        self._cancels = cancels
        self._until = until
        self._world: Any = None
        self._answered = False
        self._looked_ms = self._saved_ms = clock.monotonic_ms() - _LOOK_MS

    def run(self, world: Any) -> OperationRecord:
        """Go on until it is finished or fails; the record as it was written last.

        Raises FencedError where another process has taken it over, KafkaUnavailableError where
        nothing could be written, OperationRefusedError where it is to be cancelled and there is no
        way back, and KeyboardInterrupt or StoppedError after noting the pause.
        """
        self._world = world
        if self._cancels and self.record.state == "running":
            if reason := self._is_past():
                self._refuse(reason)
            self._change(state="cancelling")
        try:
            if self.record.state == "running":
                try:
                    self._forward()
                except CancelAskedError:
                    self._change(state="cancelling")
            if self.record.state == "cancelling":
                try:
                    self._back()
                except NoWayBackError:
                    self._change(state="running")
                    self._forward()
        except (KeyboardInterrupt, StoppedError):
            state = "cancelling" if self.record.state == "cancelling" else "paused"
            self.leave(state, TroubleRecord(message="it was asked to stop", hint=self._resume()))
            raise
        except Exception as error:
            if self._hold.is_lost:
                raise
            self.fail(error)
        return self.record

    def fail(self, error: Exception) -> None:
        """Note why it does not go on; the operation keeps its lock."""
        # What was not raised on purpose is somebody's mistake: the log has where.
        is_ours = isinstance(error, StreamerError)
        trace = None if is_ours else error
        _log.error("operation %s has failed: %s", self.record.id, error, exc_info=trace)
        hint = error.hint if isinstance(error, StreamerError) else ""
        kind = "" if is_ours else f"{type(error).__name__}: "
        at = self._current()
        self.leave(
            "cancelling" if self.record.state == "cancelling" else "failed",
            TroubleRecord(
                message=f"{kind}{error}"[:_TROUBLE_MAX],
                hint=f"{hint + '; then ' if hint else 'mend the cause, then '}{self._resume()}",
                step=at.id if at is not None else "",
                at_ms=self._clock.now_ms(),
            ),
        )

    def leave(
        self, state: Any, trouble: TroubleRecord | None, *more: tuple[str, bytes | None]
    ) -> None:
        """Let another process go on."""
        self._change(state=state, trouble=trouble, executor="", at_ms=self._clock.now_ms())
        self._hold.suspend([*self._rows(), *more])
        self._notice(self.record)

    def _refuse(self, reason: str) -> None:
        self.leave("paused", None, (cancel_key(self.record.id), None))
        raise OperationRefusedError(
            f"operation {self.record.id} cannot be cancelled: {reason}",
            hint=f"finish it: {self._resume()}",
        )

    # -- forward ---------------------------------------------------------------------------------

    def _forward(self) -> None:
        for at, step in enumerate(self._steps):
            # A wish is looked for before each step, also where steps are short: the next one may be
            # the one after which it cannot be granted.
            self._looked_ms = self._clock.monotonic_ms() - _LOOK_MS
            self._check()
            if step.is_done(self._world):
                self._found_done(at)
            else:
                self._do(at, step)
            if step.id == self._until and step is not self._steps[-1]:
                self.leave("paused", None)
                return
        self._finish("done")

    def _do(self, at: int, step: Step[Any]) -> None:
        before = self.record.steps[at]
        self._set(at, state="running", begun=before.begun + 1, progress=None)
        self._set(at, started_ms=self.record.steps[at].started_ms or self._clock.now_ms())
        # Before its first effect: whoever cleans up after a kill must know that there may be
        # some. A wish to cancel that came meanwhile is seen by the step's own checks.
        self._save()
        failpoints.hit("operations.before_step")
        said = step.run(self._world, self._work(at, before.progress))
        failpoints.hit("operations.after_step")
        if not step.is_done(self._world):
            raise InvariantError(
                f"step {step.id} has run, and is not done all the same",
                hint="look at what it said and at the log of whoever carried it out",
            )
        self._end_step(at, "done", said)
        self._save()
        _log.info("operation %s, step %s: %s", self.record.id, step.id, said)

    def _found_done(self, at: int) -> None:
        if self.record.steps[at].state != "done":
            self._end_step(at, "done", self.record.steps[at].said or "found done")

    # -- back ------------------------------------------------------------------------------------

    def _back(self) -> None:
        self._save()
        for at, step in reversed(list(enumerate(self._steps))):
            known = self.record.steps[at]
            # What was found done without having been begun is not this operation's to take back.
            if not known.begun or known.state == "undone":
                continue
            self._set(at, state="undoing", progress=None)
            self._save()
            failpoints.hit("operations.before_undo")
            said = step.undo(self._world, self._work(at))
            failpoints.hit("operations.after_undo")
            self._end_step(at, "undone", said)
            self._save()
            _log.info("operation %s, step %s is undone: %s", self.record.id, step.id, said)
        if wish := self._wish():
            why = f": {wish.why}" if wish.why else ""
            self._change(note=f"wanted by {wish.by or 'somebody'}{why}"[:_SAID_MAX])
        self._finish("cancelled")

    def _finish(self, state: Any) -> None:
        now = self._clock.now_ms()
        self._change(state=state, trouble=None, executor="", ended_ms=now, at_ms=now)
        outdated = [row for row in self._outdated() if row[0] != operation_key(self.record.id)]
        self._hold.release([*self._rows(), (cancel_key(self.record.id), None), *outdated])
        self._notice(self.record)

    # -- what a step may ask and tell ------------------------------------------------------------

    def _work(self, at: int, before: ProgressRecord | None = None) -> Work:
        def tells(progress: ProgressRecord) -> None:
            self._set(at, progress=progress)
            if self._clock.monotonic_ms() - self._saved_ms >= _SAVE_MS:
                self._save()
            else:
                self._notice(self.record)

        return Work(
            self.record.id,
            self.record.epoch,
            self._clock,
            checks=self._check,
            tells=tells,
            writes=lambda effects: self._hold.write(effects=effects),
            before=before,
        )

    def _check(self) -> None:
        self._hold.ensure()
        if self._stopping is not None and self._stopping.is_set():
            raise StoppedError(f"operation {self.record.id} is to stop")
        now = self._clock.monotonic_ms()
        is_early = now - self._looked_ms < _LOOK_MS
        if self.record.state != "running" or self._answered or is_early:
            return
        self._looked_ms = now
        wish = self._wish()
        if wish is None:
            return
        if reason := self._is_past():
            self._answered = True
            self._change(note=f"{wish.by or 'somebody'} wanted to cancel it, but {reason}")
            self._save((cancel_key(self.record.id), None))
            return
        raise CancelAskedError(f"operation {self.record.id} is cancelled by {wish.by}: {wish.why}")

    def _is_past(self) -> str:
        plan = self.record.plan
        if plan.no_return and plan.no_return_when == "done":
            at = [step.id for step in self._steps].index(plan.no_return)
            if self._steps[at].is_done(self._world):
                # Its effect is there, though its end may not have been noted.
                self._found_done(at)
        return no_return_reason(self.record)

    # -- the record ------------------------------------------------------------------------------

    def _current(self) -> StepRecord | None:
        return next((one for one in self.record.steps if one.state in _ACTIVE), None)

    def _end_step(self, at: int, state: str, said: str) -> None:
        self._set(at, state=state, said=said[:_SAID_MAX], ended_ms=self._clock.now_ms())

    def _set(self, at: int, **fields: Any) -> None:
        steps = list(self.record.steps)
        steps[at] = msgspec.structs.replace(steps[at], **fields)
        self._change(steps=tuple(steps))

    def _change(self, **fields: Any) -> None:
        self.record = msgspec.structs.replace(self.record, **fields)

    def _save(self, *more: tuple[str, bytes | None]) -> None:
        self._change(at_ms=self._clock.now_ms())
        self._hold.write([*self._rows(), *more])
        self._saved_ms = self._clock.monotonic_ms()
        self._notice(self.record)

    def _rows(self) -> list[tuple[str, bytes | None]]:
        return [(operation_key(self.record.id), encode(self.record))]

    def _resume(self) -> str:
        verb = "cancel" if self.record.state == "cancelling" else "resume"
        return f"streamer operations {verb} {self.record.id}"
