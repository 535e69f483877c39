"""Who carries out which operation: a record with an epoch, held by an operation for as long as it
is not finished, and by a process for as long as it renews its lease.

    free -- acquire --> held, leased -- release --> free
                          |   ^
              suspend or  v   | acquire (resume, cancel)
              a death   held, nobody at work

To acquire: look whether it is free, *claim* the scope (which fences everybody else who may write),
look again to the end, write the lock with a higher epoch. Nothing can come between the second look
and the write without ending the claim. Whoever is fenced looks as well: it goes on with a claim of
its own where the lock is still its own, and ends where it is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import msgspec

from streamer import failpoints
from streamer.clock import Clock
from streamer.closable import Closable
from streamer.control.operations import LockRecord, encode, lock_key
from streamer.errors import (
    FencedError,
    KafkaUnavailableError,
    OperationRefusedError,
    StreamerError,
)
from streamer.kafka.api import AbortableError
from streamer.operations.books import Books, read_books
from streamer.operations.ports import Claim, Effect, Rows, Table

__all__ = ["LEASE_MS", "Hold", "acquire", "refuse_unless_free"]

# A dead executor is taken over after so long without being asked for; three renewals fit in it, and
# a broker that is restarted does not cost the lease.
LEASE_MS = 30_000
_ATTEMPTS = 8
# A claim was lost, or it is not known what became of a write: both are looked at again.
_AGAIN = (FencedError, KafkaUnavailableError, AbortableError)

Opening = Callable[[Books, LockRecord], Rows]


def refuse_unless_free(
    books: Books, wanted: LockRecord, *, now_ms: int, takes_over: bool = False
) -> None:
    """Raise OperationRefusedError where another operation, or another process, holds the lock."""
    lock = books.lock(wanted.scope)
    if lock is None or not lock.operation:
        return
    seen = f"{max(now_ms - lock.at_ms, 0) / 1000:.0f} s ago"
    if lock.operation != wanted.operation:
        work = f"carried out by {lock.owner}, heard {seen}"
        idle = "carried out by nobody at present"
        record = books.operations.get(lock.operation)
        hands = ""
        if record is not None and record.conductor:
            hands = f"; it is {record.state}, for {record.conductor}"
        raise OperationRefusedError(
            f"{wanted.scope} is held by operation {lock.operation} ({lock.kind}),"
            f" {work if lock.is_live(now_ms) else idle}{hands}",
            hint=f"wait until it is finished, or: streamer operations resume {lock.operation},"
            f" which asks nobody, streamer operations cancel {lock.operation}",
        )
    if lock.is_live(now_ms) and lock.owner != wanted.owner and not takes_over:
        raise OperationRefusedError(
            f"operation {lock.operation} is carried out by {lock.owner}, heard {seen}",
            hint=f"streamer operations show {lock.operation} tells how far it is, and resume --wait"
            " waits for it; --take-over fences a process that is known to be gone or to hang",
        )


def acquire(
    table: Table,
    wanted: LockRecord,
    clock: Clock,
    *,
    opening: Opening,
    takes_over: bool = False,
) -> Hold:
    """Hold the scope, and write what `opening` makes of the books in the same transaction.

    `wanted` names the scope, the operation, its kind and the owner; the epoch is given here.
    Raises OperationRefusedError, also from `opening`, and then has left no trace.
    """

    def look(*, to_end: bool) -> Books:
        books = read_books(table.application, table.read(to_end=to_end))
        refuse_unless_free(books, wanted, now_ms=clock.now_ms(), takes_over=takes_over)
        return books

    try:
        look(to_end=False)
    except OperationRefusedError:
        # Who has released it a moment ago may not be seen to have done so yet.
        look(to_end=True)
    failure: StreamerError | None = None
    lock = wanted
    for attempt in range(_ATTEMPTS):
        if attempt:
            table.pause()
        claim = _claim(table, wanted.scope)
        try:
            books = look(to_end=True)
            found = books.lock(wanted.scope)
            if failure is not None and found is not None and _is_of(found, lock):
                # The write of which nothing was heard has come through.
                return Hold(table, claim, found, clock=clock)
            lock = msgspec.structs.replace(
                wanted, epoch=books.next_epoch(wanted.scope), at_ms=clock.now_ms()
            )
            rows = [*opening(books, lock), (lock_key(lock.scope), encode(lock))]
            _write(claim, rows)
        except _AGAIN as error:
            claim.close()
            failure = error
        except StreamerError:
            claim.close()
            raise
        else:
            return Hold(table, claim, lock, clock=clock)
    assert failure is not None
    if not isinstance(failure, FencedError):
        raise failure
    raise OperationRefusedError(
        f"operation {wanted.operation} could not take {wanted.scope}: others try at the same time",
        hint="try again; streamer operations list shows who has got it",
    ) from failure


class Hold(Closable):
    """A lock that is held. May be used by several threads.

    Every write renews the lease. Once another process has the lock each call raises FencedError,
    and nothing that was written through this has any effect.
    """

    def __init__(self, table: Table, claim: Claim, lock: LockRecord, *, clock: Clock) -> None:
        self._table = table
        self._claim = claim
        self._clock = clock
        self._mutex = threading.RLock()
        self._lost: FencedError | None = None
        self._is_spent = False
        self._renewed_ms = clock.monotonic_ms()
        self.lock = lock

    def write(self, rows: Rows = (), effects: Sequence[Effect] = ()) -> None:
        """Write rows, and these effects in other topics with them, or nothing of it."""
        with self._mutex:
            self._put(self._renewed(), rows, effects)

    def ensure(self) -> None:
        """Raise FencedError unless the lock is held: ask where the last answer is not fresh, such
        as after the process stood still. To be called before what cannot be fenced by Kafka."""
        with self._mutex:
            if self._lost is not None:
                raise self._lost
            if self._clock.monotonic_ms() - self._renewed_ms >= self.lock.lease_ms // 3:
                self.write()

    def suspend(self, rows: Rows) -> None:
        """The operation keeps the lock and this process leaves it: another one may go on."""
        with self._mutex:
            self._put(msgspec.structs.replace(self._renewed(), owner=""), rows, ())
            self._end()

    def release(self, rows: Rows) -> None:
        """The operation is finished, and the scope free for another one."""
        with self._mutex:
            self._put(
                msgspec.structs.replace(self._renewed(), operation="", kind="", owner=""), rows, ()
            )
            self._end()

    def close(self) -> None:
        self._claim.close()

    @property
    def is_lost(self) -> bool:
        """Whether another process has the lock, as far as this one was told."""
        return self._lost is not None

    def _end(self) -> None:
        self._lost = FencedError(f"operation {self.lock.operation} was left by this process")

    def _renewed(self) -> LockRecord:
        return msgspec.structs.replace(self.lock, at_ms=self._clock.now_ms())

    def _put(self, lock: LockRecord, rows: Rows, effects: Sequence[Effect]) -> None:
        if self._lost is not None:
            raise self._lost
        asked_ms = self._clock.monotonic_ms()
        every = [*rows, (lock_key(lock.scope), encode(lock))]
        failure: StreamerError | None = None
        for attempt in range(_ATTEMPTS):
            if attempt > 1:
                self._table.pause()
            try:
                # A claim is of no further use after an error.
                if self._is_spent and self._claim_again(lock):
                    break
                self._is_spent = True
                _write(self._claim, every, effects)
                self._is_spent = False
                break
            except _AGAIN as error:
                if error is self._lost:
                    raise
                failure = error
        else:
            assert failure is not None
            raise failure
        # From before the write: how long it was under way is not known.
        self._renewed_ms = asked_ms

    def _claim_again(self, wanted: LockRecord) -> bool:
        """Somebody has claimed the scope, who may have gone again, or it is not known what became
        of a write. Whether the lock is already as `wanted`, where that is a last word: all else is
        written again, since rows stand for themselves and twice is as once."""
        # Without a claim first: it would fence whoever has the lock by right.
        if self._is_as(wanted, to_end=False):
            return True
        self._claim.close()
        self._claim = _claim(self._table, wanted.scope)
        return self._is_as(wanted, to_end=True)

    def _is_as(self, wanted: LockRecord, *, to_end: bool) -> bool:
        books = read_books(self._table.application, self._table.read(to_end=to_end))
        found = books.lock(self.lock.scope)
        if found is not None and _is_of(found, self.lock):
            return False
        if found is not None and _is_of(found, wanted):
            return True
        if not to_end and (found is None or found.epoch < self.lock.epoch):
            # What was committed here is not readable yet: the look after the claim will tell.
            return False
        by = f"{found.owner or 'nobody'}, epoch {found.epoch}" if found else "nobody"
        self._lost = FencedError(
            f"operation {self.lock.operation} is not carried out here any more:"
            f" {self.lock.scope} is held by {by}, this was epoch {self.lock.epoch}",
            hint="nothing is to be done here; streamer operations list tells how it goes on",
        )
        raise self._lost


def _claim(table: Table, scope: str) -> Claim:
    failpoints.hit("operations.before_claim")
    claim = table.claim(scope)
    failpoints.hit("operations.after_claim")
    return claim


def _write(claim: Claim, rows: Rows, effects: Sequence[Effect] = ()) -> None:
    failpoints.hit("operations.before_write")
    claim.write(rows, effects)
    failpoints.hit("operations.after_write")


def _is_of(found: LockRecord, lock: LockRecord) -> bool:
    return (found.epoch, found.operation, found.owner) == (lock.epoch, lock.operation, lock.owner)
