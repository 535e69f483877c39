"""Whether an operation could begin now: a look beforehand, for whoever plans.

Nothing is changed, and the lock and the plan are looked at again when it starts.
"""

from __future__ import annotations

import msgspec

from streamer.clock import SystemClock
from streamer.control.operations import OperationRecord
from streamer.errors import OperationRefusedError
from streamer.operations.executor import Executor
from streamer.operations.lock import refuse_unless_free

__all__ = ["check_free", "fits"]


def check_free(executor: Executor, scope: str, operation: str) -> None:
    """Raise OperationRefusedError, with who has it, where another operation holds the scope."""
    books = executor.books()
    lock = books.lock(scope)
    if lock is not None and lock.operation != operation:
        wanted = msgspec.structs.replace(lock, operation=operation, owner=executor.owner)
        refuse_unless_free(books, wanted, now_ms=SystemClock().now_ms())


def fits(executor: Executor, record: OperationRecord) -> bool:
    """Whether a plan that was made anew would be the same."""
    try:
        return executor.plan(record.kind, record.request).id == record.plan_id
    except OperationRefusedError:
        return False
