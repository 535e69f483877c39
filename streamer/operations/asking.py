"""The wish to cancel an operation: who may ask for it, and when.

Whoever carries the operation out looks for it between its steps' parts, and takes back what was
done. `Executor.cancel` does that itself where nobody is at work; `ask_to_cancel` never does.
"""

from __future__ import annotations

from streamer.control.identity import somebody
from streamer.control.operations import (
    FORMAT,
    CancelRecord,
    OperationRecord,
    cancel_key,
    encode,
)
from streamer.errors import OperationRefusedError
from streamer.operations.books import Books, read_books
from streamer.operations.loop import no_return_reason
from streamer.operations.ports import Table

__all__ = ["ask_to_cancel", "check_way_back", "wish"]


def wish(application: str, operation: str, *, why: str, now_ms: int) -> CancelRecord:
    return CancelRecord(
        format=FORMAT,
        application=application,
        operation=operation,
        by=somebody(),
        why=why,
        at_ms=now_ms,
    )


def check_way_back(record: OperationRecord) -> None:
    """Raise OperationRefusedError where an operation cannot be cancelled any more."""
    reason = "it is done" if record.is_finished else no_return_reason(record)
    if reason:
        raise OperationRefusedError(
            f"operation {record.id} cannot be cancelled: {reason}",
            hint="an operation of its own may take back what this one did"
            if record.is_finished
            else f"finish it: streamer operations resume {record.id}",
        )


def ask_to_cancel(table: Table, operation: str, *, why: str, now_ms: int) -> OperationRecord:
    """Ask whoever carries it out, or give up a plan that has not begun; the record as it is then.
    Nothing is undone in this process, whatever happens meanwhile.

    Raises OperationRefusedError where there is no way back, or nobody would hear.
    """
    books = _books(table)
    record = books.operation(operation)
    if record.state == "cancelled":
        return record
    check_way_back(record)
    if record.state != "planned" and not books.is_live(operation, now_ms):
        raise OperationRefusedError(
            f"operation {operation} is {record.state}, and nobody carries it out: nobody would hear"
            " that it is to be cancelled",
            hint=f"take back what was done from elsewhere: streamer operations cancel {operation}",
        )
    said = wish(table.application, operation, why=why, now_ms=now_ms)
    table.put(cancel_key(operation), encode(said))
    return _books(table).operation(operation)


def _books(table: Table) -> Books:
    return read_books(table.application, table.read(to_end=True))
