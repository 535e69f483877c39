"""`Executor`: plan operations, carry them out, resume them and take them back.

    with Executor(config, KafkaTable(config), kinds) as executor:
        planned = executor.propose("trim", {"stores": ["totals"]}, why="the disk of broker 3")
        done = executor.start(planned.id, plan_id=approved)

The command line, tasks of Airflow and workers all use it in this way, and none of them remembers
anything: what was begun is in the record, and `start` or `resume` called once more goes on with it.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from streamer.clock import Clock, SystemClock
from streamer.closable import Closable
from streamer.config import Config
from streamer.control.identity import somebody
from streamer.control.operations import (
    FORMAT,
    CancelRecord,
    OperationRecord,
    StepRecord,
    cancel_key,
    encode,
    operation_key,
    plan_key,
)
from streamer.control.plans import Plan, check_plan
from streamer.errors import ConfigError, InvariantError, OperationRefusedError, StoppedError
from streamer.operations.asking import check_way_back, wish
from streamer.operations.books import Books
from streamer.operations.kinds import Kinds, Request
from streamer.operations.lock import LEASE_MS
from streamer.operations.ports import Table
from streamer.operations.process import Process

__all__ = ["Executor"]

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")

# Brokers take a MiB by default, and steps have yet to say what they did.
RECORD_BYTES_MAX = 640 * 1024

_LOOK_S = 1.0

Notice = Callable[[OperationRecord], None]


class Executor(Closable):
    """One process that carries out operations of an application. Used by one thread.

    `conductor` says for whom, in the records of what it carries out; "" is whoever is logged in.
    `notice` is told the record whenever it changes. Once `stopping` is set, an operation is paused
    at its step's next check, and StoppedError raised. `pulses` renews leases by a thread; a test
    that has a clock of its own does without.
    """

    def __init__(
        self,
        config: Config,
        table: Table,
        kinds: Kinds,
        *,
        clock: Clock | None = None,
        lease_ms: int = LEASE_MS,
        pulses: bool = True,
        conductor: str = "",
        notice: Notice = lambda _record: None,
        stopping: threading.Event | None = None,
    ) -> None:
        self.owner = f"{somebody()}:{os.getpid()}#{secrets.token_hex(3)}"
        self._config = config
        self._table = table
        self._kinds = kinds
        self._clock = clock or SystemClock()
        self._notice = notice
        self._stopping = stopping
        self._process = Process(
            config,
            table,
            kinds,
            clock=self._clock,
            owner=self.owner,
            conductor=conductor or somebody(),
            lease_ms=lease_ms,
            pulses=pulses,
            notice=notice,
            stopping=stopping,
        )

    def books(self) -> Books:
        """All operations, with everything that was written before this call. It may wait for the
        end of a transaction that a dead process left open, some seconds."""
        return self._process.books(to_end=True)

    def plan(self, kind: str, request: Request) -> Plan:
        """What would be done. Nothing is written, nothing is changed."""
        known = self._kinds.named(kind)
        with known.open(self._config, request) as world:
            plan = known.plan(world, request)
        check_plan(plan)
        if plan.kind != kind:
            raise InvariantError(f"kind {kind!r} has made a plan of kind {plan.kind!r}")
        return plan

    def propose(
        self, kind: str, request: Request, *, why: str = "", operation: str = ""
    ) -> OperationRecord:
        """Make a plan and write it down, to be looked at and started by its id.

        `operation` is an id of the caller's own, such as one made of a run's: asked again with the
        same one, nothing new is planned. Raises OperationRefusedError where it is another's.
        """
        asked: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(request)))
        if operation:
            if not _ID.fullmatch(operation):
                raise ConfigError(
                    f"{operation!r} is not an operation's id",
                    hint="use a-z, 0-9, '.', '_' and '-', at most 80, a letter or digit first",
                )
            books = self.books()
            if books.knows(operation):
                return _same(books.operation(operation), kind, asked)
        plan = self.plan(kind, asked)
        record = OperationRecord(
            format=FORMAT,
            application=self._table.application,
            id=operation or f"{kind}-{secrets.token_hex(6)}",
            kind=kind,
            plan=plan,
            plan_id=plan.id,
            state="planned",
            steps=tuple(StepRecord(id=step.id) for step in plan.steps),
            request=asked,
            by=somebody(),
            why=why,
            planned_ms=self._clock.now_ms(),
            at_ms=self._clock.now_ms(),
        )
        encoded = encode(record)
        if len(encoded) > RECORD_BYTES_MAX:
            raise OperationRefusedError(
                f"the record of operation {record.id} would have {len(encoded):,} bytes, and"
                f" {RECORD_BYTES_MAX:,} fit",
                hint="ask for less at a time",
            )
        self._table.put(plan_key(record.id), encoded)
        return record

    def start(
        self,
        operation: str,
        *,
        plan_id: str = "",
        takes_over: bool = False,
        waits: bool = False,
        until: str = "",
    ) -> OperationRecord:
        """Carry out what was planned, to its end; where it has begun, go on with it. One that
        `waits` does so while another process carries it out, and goes on if that one dies. After
        the step `until` it is left paused, with its lock: somebody else goes on with it.

        `plan_id` is what was approved. Raises OperationRefusedError, and nothing was changed, where
        that is another plan, the world is not as it was planned for, or the scope is held.
        """
        record = self._process.books_with(operation).operation(operation)
        if plan_id and plan_id != record.plan_id:
            raise OperationRefusedError(
                f"operation {operation} has the plan {record.plan_id[:12]},"
                f" and {plan_id[:12]} was approved",
                hint=f"look at it and approve it: streamer operations show {operation}",
            )
        if until and until not in [step.id for step in record.steps]:
            raise InvariantError(f"operation {operation} has no step {until!r}")
        return self._turn(record, takes_over=takes_over, waits=waits, until=until)

    def resume(
        self, operation: str, *, takes_over: bool = False, waits: bool = False
    ) -> OperationRecord:
        """Go on with what has begun. `takes_over` also takes it from a process that has not been
        silent for as long as its lease; `waits` as in `start`."""
        record = self._process.books_with(operation).operation(operation)
        if record.state == "planned":
            raise OperationRefusedError(
                f"operation {operation} is planned, and has not begun",
                hint=f"look at its plan: streamer operations show {operation}; it is applied with"
                " the command that planned it",
            )
        return self._turn(record, takes_over=takes_over, waits=waits)

    def cancel(self, operation: str, *, why: str = "", takes_over: bool = False) -> OperationRecord:
        """Stop it and take back what it did. Where another process carries it out, that one is
        asked, and the record returned is as it was found.

        Raises OperationRefusedError where there is no way back, with what to do instead.
        """
        books = self._process.books_with(operation)
        record = books.operation(operation)
        if record.state == "cancelled":
            return record
        check_way_back(record)
        is_live = books.is_live(operation, self._clock.now_ms()) and not takes_over
        if record.state != "planned" and not is_live:
            self._kinds.named(record.kind)
        self._table.put(cancel_key(operation), encode(self._wish(operation, why)))
        if record.state == "planned" or is_live:
            return self._process.books_with(operation).operation(operation)
        return self._process.turn(record, takes_over=takes_over, cancels=True)

    def withdraw(self, operation: str) -> bool:
        """Take a plan out of the books as if it had never been made, and say whether there was one;
        one that has begun stays as it is. A process that starts it at this moment is not disturbed:
        from then on its record has another key, and no wish is left that could stop it."""
        books = self._process.books_with(operation)
        found = books.operations.get(operation)
        if found is None or found.has_begun or found.state not in ("planned", "cancelled"):
            return False
        self._table.put(plan_key(operation), None)
        if books.cancel(operation) is not None:
            self._table.put(cancel_key(operation), None)
        return True

    def abandon(
        self, operation: str, *, why: str = "", takes_over: bool = False
    ) -> OperationRecord:
        """Give it up without taking anything back, so that the application is free for others. The
        record says which steps' effects were left."""
        record = self._process.books_with(operation).operation(operation)
        if record.is_finished:
            return record
        if record.state == "planned":
            return self.cancel(operation, why=why)
        hold, record = self._process.acquire(record, takes_over=takes_over)
        if hold is None:
            return record
        now = self._clock.now_ms()
        left = tuple(step.id for step in record.steps if step.begun and step.state != "undone")
        record = msgspec.structs.replace(
            record,
            state="cancelled",
            left=left,
            note=f"abandoned by {somebody()}" + (f": {why}" if why else ""),
            executor="",
            ended_ms=now,
            at_ms=now,
        )
        with hold:
            hold.release(
                [(operation_key(operation), encode(record)), (cancel_key(operation), None)]
            )
        self._notice(record)
        return record

    def is_done(self, record: OperationRecord, step: str) -> bool:
        """Whether the world says so of a step: who was killed right behind it has not noted it."""
        [asked] = [one for one in self._kinds.steps(record.plan) if one.id == step]
        with self._kinds.named(record.kind).open(self._config, record.request) as world:
            return asked.is_done(world)

    def _turn(
        self, record: OperationRecord, *, takes_over: bool, waits: bool, until: str = ""
    ) -> OperationRecord:
        if waits and not takes_over:
            record = self._unattended(record)
        while True:
            try:
                return self._process.turn(record, takes_over=takes_over, until=until)
            except OperationRefusedError:
                # Another one that waited was faster.
                if not (waits and self._is_live(self.books(), record)):
                    raise
                record = self._unattended(record)

    def _unattended(self, record: OperationRecord) -> OperationRecord:
        """When it is finished, or nobody carries it out any more."""
        while True:
            books = self._process.books_with(record.id)
            record = books.operation(record.id)
            if record.is_finished or not self._is_live(books, record):
                return record
            self._notice(record)
            if self._stopping is not None and self._stopping.is_set():
                raise StoppedError(f"asked to stop while another process does {record.id}")
            time.sleep(_LOOK_S)

    def _is_live(self, books: Books, record: OperationRecord) -> bool:
        return books.is_live(record.id, self._clock.now_ms())

    def close(self) -> None:
        self._table.close()

    def _wish(self, operation: str, why: str) -> CancelRecord:
        return wish(self._table.application, operation, why=why, now_ms=self._clock.now_ms())


def _same(known: OperationRecord, kind: str, request: Any) -> OperationRecord:
    if known.kind == kind and known.request == request:
        return known
    raise OperationRefusedError(
        f"operation {known.id} is another one: {known.kind} with {known.request}",
        hint="give an id of its own, or none",
    )
