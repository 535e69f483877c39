"""One process's way through an operation: take the lock, look at the world, run, let go.

Whatever comes to an end before a step was begun leaves the operation planned, as if nobody had
started it. After that it keeps the lock until it is done or cancelled, whoever carries it out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import msgspec

from streamer.clock import Clock
from streamer.config import Config
from streamer.control.operations import (
    FORMAT,
    LockRecord,
    OperationRecord,
    encode,
    operation_key,
    plan_key,
)
from streamer.control.plans import Plan, differences
from streamer.errors import OperationRefusedError
from streamer.operations.books import PLANNED_MS_MAX, Books, read_books
from streamer.operations.kinds import Kinds
from streamer.operations.lock import Hold, acquire
from streamer.operations.loop import Run
from streamer.operations.ports import Rows, Table
from streamer.operations.pulse import Pulse

__all__ = ["Process"]


@dataclass(frozen=True, slots=True)
class Process:
    """What a process brings along; `owner` is its name in locks, which no other one has, and
    `conductor` for whom it works."""

    config: Config
    table: Table
    kinds: Kinds
    clock: Clock
    owner: str
    conductor: str
    lease_ms: int
    pulses: bool
    notice: Callable[[OperationRecord], None]
    stopping: threading.Event | None

    def books(self, *, to_end: bool = False) -> Books:
        """What is known at once; where that decides, it is looked at again under the lock."""
        return read_books(self.table.application, self.table.read(to_end=to_end))

    def books_with(self, operation: str) -> Books:
        """Books in which it is found if it exists, and as begun if it has: what was committed is
        not always readable at once, also not by who wrote it."""
        books = self.books()
        found = books.operations.get(operation)
        if found is None or found.state == "planned":
            books = self.books(to_end=True)
        return books

    def turn(
        self,
        record: OperationRecord,
        *,
        takes_over: bool,
        cancels: bool = False,
        until: str = "",
    ) -> OperationRecord:
        """Go on until it is finished or fails, or the step `until` is done. One that `cancels` does
        no step forward."""
        if record.is_finished:
            return record
        kind = self.kinds.named(record.kind)
        steps = self.kinds.steps(record.plan)
        hold, record = self.acquire(record, takes_over=takes_over)
        if hold is None:
            return record
        run = Run(
            record,
            steps,
            hold,
            clock=self.clock,
            wish=lambda: self.books().cancel(record.id),
            outdated=lambda: self.books().outdated(self.clock.now_ms()),
            notice=self.notice,
            stopping=self.stopping,
            cancels=cancels,
            until=until,
        )
        with ExitStack() as stack:
            stack.enter_context(hold)
            if self.pulses:
                stack.enter_context(Pulse(hold))
            try:
                world = stack.enter_context(kind.open(self.config, record.request))
                if not (cancels or record.has_begun or record.state == "cancelling"):
                    _check_world(record, kind.plan(world, record.request))
            except (Exception, KeyboardInterrupt) as error:
                if hold.is_lost:
                    raise
                if not record.has_begun:
                    _put_back(hold, record)
                    raise
                if not isinstance(error, Exception):
                    raise
                run.fail(error)
                return run.record
            return run.run(world)

    def acquire(
        self, record: OperationRecord, *, takes_over: bool
    ) -> tuple[Hold | None, OperationRecord]:
        """The lock, and the record as it was written with it; no lock where that turns out to be
        finished."""
        taken = record

        def opening(books: Books, lock: LockRecord) -> Rows:
            nonlocal taken
            taken = books.operation(record.id)
            taken = _taken(taken, lock, self.conductor)
            return [(operation_key(record.id), encode(taken)), (plan_key(record.id), None)]

        wanted = LockRecord(
            format=FORMAT,
            application=self.table.application,
            scope=record.plan.scope,
            epoch=0,
            operation=record.id,
            kind=record.kind,
            owner=self.owner,
            lease_ms=self.lease_ms,
        )
        try:
            hold = acquire(self.table, wanted, self.clock, opening=opening, takes_over=takes_over)
        except OperationRefusedError:
            if not taken.is_finished:
                raise
            return None, taken
        self.notice(taken)
        return hold, taken


def _taken(found: OperationRecord, lock: LockRecord, conductor: str) -> OperationRecord:
    """The record as the new holder writes it first, with the lock."""
    now = lock.at_ms
    if found.is_finished:
        raise OperationRefusedError(
            f"operation {found.id} is {found.state} already",
            hint=f"streamer operations show {found.id} tells how it went",
        )
    if found.state == "planned" and now - found.planned_ms > PLANNED_MS_MAX:
        raise OperationRefusedError(
            f"operation {found.id} was planned more than {PLANNED_MS_MAX // 86_400_000} days ago",
            hint="plan it anew: the world is another one by now",
        )
    return msgspec.structs.replace(
        found,
        state="cancelling" if found.state == "cancelling" else "running",
        epoch=lock.epoch,
        executor=lock.owner,
        conductor=conductor,
        trouble=None,
        started_ms=found.started_ms or now,
        at_ms=now,
    )


def _check_world(record: OperationRecord, now: Plan) -> None:
    if now.id != record.plan_id:
        changed = "; ".join(differences(record.plan, now))
        raise OperationRefusedError(
            f"the world is not as it was when operation {record.id} was planned: {changed}",
            hint="nothing was changed: plan it anew, and look at what is different",
        )


def _put_back(hold: Hold, record: OperationRecord) -> None:
    """As if it had not been started."""
    planned = msgspec.structs.replace(
        record, state="planned", epoch=0, executor="", conductor="", started_ms=0
    )
    hold.release([(operation_key(record.id), None), (plan_key(record.id), encode(planned))])
