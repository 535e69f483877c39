"""All that is written of an application's operations, read once: pure.

A record that cannot be read is kept by its key with the reason. It is shown, and refused by whoever
needs it: an unknown lock is not a free one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from streamer.control.operations import (
    CancelRecord,
    LockRecord,
    OperationRecord,
    cancel_key,
    decode,
    encode,
    lock_key,
    operation_key,
    plan_key,
)
from streamer.errors import InternalTopicError, OperationRefusedError
from streamer.operations.ports import Rows

__all__ = [
    "COMPLETION",
    "FINISHED_MIN",
    "FINISHED_MS_MAX",
    "PLANNED_MS_MAX",
    "REPARTITION",
    "REPLAY",
    "Books",
    "read_books",
]

# Kinds of operations that belong together: what the first two leave, the third deletes.
REPARTITION = "repartition"
REPLAY = "replay"
COMPLETION = "completion"
# The step of a repartition after which there is a former layout.
_SWITCH = "switch"

# A task of a run that has thousands of operations, or is cleared weeks later, still finds its own.
FINISHED_MS_MAX = 30 * 24 * 3_600_000
# Each new controller reads past them: so much takes it less than a second.
_FINISHED_BYTES_MAX = 16 * 1024 * 1024
# Of large ones, such as of snapshots of many thousand tasks, at least so many.
FINISHED_MIN = 50
# A plan of last week was made of another world; and approvals shall not lie about for ever.
PLANNED_MS_MAX = 7 * 24 * 3_600_000
# Nobody takes a plan out that somebody may be about to start by a clock that differs.
_MARGIN_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Books:
    """Operations by id, locks by scope, wishes to cancel by operation; unreadable ones by key."""

    operations: Mapping[str, OperationRecord] = field(default_factory=dict)
    locks: Mapping[str, LockRecord] = field(default_factory=dict)
    cancels: Mapping[str, CancelRecord] = field(default_factory=dict)
    refused: Mapping[str, InternalTopicError] = field(default_factory=dict)

    def knows(self, operation: str) -> bool:
        """Whether there is such an operation, also one that cannot be read."""
        keys = {operation_key(operation), plan_key(operation)}
        return operation in self.operations or not keys.isdisjoint(self.refused)

    def ids(self) -> set[str]:
        """All operations that there are, also those that cannot be read."""
        kinds = (operation_key(""), plan_key(""))
        unread = {key.partition("/")[2] for key in self.refused if key.startswith(kinds)}
        return unread | self.operations.keys()

    def operation(self, operation: str) -> OperationRecord:
        """Raises OperationRefusedError for one that is not known, InternalTopicError for one that
        cannot be read."""
        found = self.operations.get(operation)
        if found is None or not found.epoch:
            # A plan is not the whole word while there is a record that cannot be read.
            for key in (operation_key(operation), plan_key(operation)):
                if error := self.refused.get(key):
                    raise error
        if found is not None:
            return found
        raise OperationRefusedError(
            f"there is no operation {operation!r}",
            hint="streamer operations list has all of them; a plan may have been replaced by a"
            " newer one of the same",
        )

    def lock(self, scope: str) -> LockRecord | None:
        """None where it was never held. Raises InternalTopicError where it cannot be read."""
        if error := self.refused.get(lock_key(scope)):
            raise error
        return self.locks.get(scope)

    def cancel(self, operation: str) -> CancelRecord | None:
        return self.cancels.get(operation)

    def is_live(self, operation: str, now_ms: int) -> bool:
        """Whether a process carries it out, as far as is known."""
        held = (lock for lock in self.locks.values() if lock.operation == operation)
        return any(lock.is_live(now_ms) for lock in held)

    def completed_by(self, operation: str) -> str:
        """The completion that deletes, or has deleted, what the former layout of a repartition has
        left; "" for none. One that was given up may be done again."""
        return next(
            (
                one.id
                for one in self.operations.values()
                if one.kind == COMPLETION and one.state != "cancelled"
                if one.has_begun or one.state == "done"
                if operation in one.request.get("operations", ())
            ),
            "",
        )

    def uncompleted(self) -> list[OperationRecord]:
        """The repartitions and replays whose former layout nobody has completed, the first one
        first; also those that were given up when they may have switched, which the recorded layout
        tells."""
        found = [
            one
            for one in self.operations.values()
            if one.kind in (REPARTITION, REPLAY) and (one.state == "done" or _SWITCH in one.left)
            if not self.completed_by(one.id)
        ]
        return sorted(found, key=lambda one: (one.ended_ms, one.id))

    def next_epoch(self, scope: str) -> int:
        """Above all that were ever used, also where the lock's own record was lost."""
        lock = self.lock(scope)
        used = [one.epoch for one in self.operations.values() if one.plan.scope == scope]
        return max([lock.epoch if lock else 0, *used]) + 1

    def outdated(
        self, now_ms: int, *, keep: int = FINISHED_MIN, bytes_max: int = _FINISHED_BYTES_MAX
    ) -> Rows:
        """Rows that take out what nobody needs: operations that were finished 30 days ago, or are
        more than `bytes_max` with newer ones, but for the newest `keep`; plans that may not be
        started any more, and wishes about operations that are gone. None of these is ever written
        again, so whoever holds any lock may do it. A repartition that is not completed stays: its
        record alone says which topics its former layout has left."""
        gone = self._old(now_ms, keep=keep, bytes_max=bytes_max)
        for one in self.operations.values():
            age_ms = now_ms - one.planned_ms
            if one.state == "planned" and age_ms > PLANNED_MS_MAX + _MARGIN_MS:
                gone.add(one.id)
        wishes = {
            wish.operation
            for wish in self.cancels.values()
            if wish.operation not in self.operations and now_ms - wish.at_ms > _MARGIN_MS
        }
        keys = []
        for each in sorted(gone):
            # One that was never begun may be about to begin: its record is not to be touched.
            keys += [plan_key(each)] + [operation_key(each)] * bool(self.operations[each].epoch)
        keys += [cancel_key(each) for each in sorted((gone & self.cancels.keys()) | wishes)]
        return [(key, None) for key in keys]

    def _old(self, now_ms: int, *, keep: int, bytes_max: int) -> set[str]:
        finished = [one for one in self.operations.values() if one.is_finished]
        finished.sort(key=lambda one: (one.ended_ms, one.id), reverse=True)
        needed = {one.id for one in self.uncompleted()}
        gone, size = set(), 0
        for number, one in enumerate(finished):
            size += len(encode(one))
            is_old = now_ms - one.ended_ms > FINISHED_MS_MAX or size > bytes_max
            if number >= keep and is_old and one.id not in needed:
                gone.add(one.id)
        return gone


# Whoever carries one out looks each second, and checks a plan's hash each time. Kept is what was
# read last: one that is at work is another one every two seconds, and may have thousands of tasks.
_Decoded = dict[str, tuple[bytes, OperationRecord]]
_decoded: dict[str, _Decoded] = {}


def read_books(application: str, rows: Mapping[str, bytes]) -> Books:
    """Of the rows of the topic those that are of operations; requests to the controller are not."""
    plans: dict[str, OperationRecord] = {}
    operations: dict[str, OperationRecord] = {}
    locks: dict[str, LockRecord] = {}
    cancels: dict[str, CancelRecord] = {}
    refused: dict[str, InternalTopicError] = {}
    before, now = _decoded.get(application, {}), _Decoded()
    for key, value in rows.items():
        kind, mark, name = key.partition("/")
        if not mark:
            continue
        try:
            if kind == "plan":
                plans[name] = _operation(application, key, value, before=before, now=now)
            elif kind == "operation":
                operations[name] = _operation(application, key, value, before=before, now=now)
            elif kind == "lock":
                locks[name] = decode(LockRecord, application, key=key, value=value)
            elif kind == "cancel":
                cancels[name] = decode(CancelRecord, application, key=key, value=value)
        except InternalTopicError as error:
            refused[key] = error
    _decoded[application] = now
    for name, plan in plans.items():
        if name not in operations:
            operations[name] = _unless_unwanted(plan, cancels.get(name))
    return Books(operations, locks, cancels, refused)


def _operation(
    application: str, key: str, value: bytes, *, before: _Decoded, now: _Decoded
) -> OperationRecord:
    known = before.get(key)
    if known is None or known[0] != value:
        known = value, decode(OperationRecord, application, key=key, value=value)
    now[key] = known
    return known[1]


def _unless_unwanted(plan: OperationRecord, wish: CancelRecord | None) -> OperationRecord:
    """A plan that was cancelled before it began needs nobody to take anything back."""
    if wish is None:
        return plan
    note = f"cancelled before it began, by {wish.by or 'somebody'}"
    return msgspec.structs.replace(plan, state="cancelled", ended_ms=wish.at_ms, note=note)
