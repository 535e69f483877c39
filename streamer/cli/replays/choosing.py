"""Which replay a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.errors import OperationRefusedError

if TYPE_CHECKING:
    from streamer.control.operations import OperationRecord
    from streamer.operations.books import Books

__all__ = ["KIND", "chosen"]

KIND = "replay"


def chosen(given: str, books: Books, *, finished: bool = False) -> OperationRecord:
    """The replay of this id; without one the newest that is not finished, or of all."""
    if given:
        record = books.operation(given)
        if record.kind == KIND:
            return record
        raise OperationRefusedError(
            f"operation {given} is no replay: {record.kind}",
            hint="streamer operations list has all of them",
        )
    found = [
        one
        for one in books.operations.values()
        if one.kind == KIND and (finished or not one.is_finished)
    ]
    if not found:
        raise OperationRefusedError("there is no replay", hint="streamer replay plan makes one")
    return max(found, key=lambda one: (one.planned_ms, one.id))
