"""A trim from its survey to a plan that waits to be approved, and takes the place of older ones.

The application goes on between the survey, which chooses how far each log is to be cut, and the
plan, which asks whether the world allows that. A copy that comes back in between needs more than
the survey knew of: then everything is looked at again, and the next plan leaves what it needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from streamer.control.operations import OperationRecord
from streamer.errors import OperationRefusedError
from streamer.operations.books import Books
from streamer.operations.executor import Executor
from streamer.operations.trim.survey import Survey

__all__ = ["LOOKS_MAX", "propose_trim"]

_log = logging.getLogger(__name__)

# A worker that comes back tells within seconds what its disk has, and never less after that: whom
# a third look still surprises, the person who asked should hear of.
LOOKS_MAX = 3


def propose_trim(
    executor: Executor, look: Callable[[], Survey], *, why: str = "", operation: str = ""
) -> tuple[Survey, OperationRecord | None]:
    """What was found, and the trim that is planned of it; None where nothing goes. Plans of the
    same scope that were made before and nobody has begun are taken out: the world has moved on, and
    one of them applied would have the others refused. `operation` is as for `Executor.propose`.

    Raises OperationRefusedError where the world has moved against the plan at the last look too.
    """
    for looks in range(1, LOOKS_MAX + 1):
        found = look()
        if not found.chosen:
            return found, None
        request = found.request()
        try:
            record = None if operation else _planned(executor.books(), request)
            record = record or executor.propose("trim", request, why=why, operation=operation)
        except OperationRefusedError as error:
            if looks == LOOKS_MAX:
                raise
            _log.info("everything is looked at again: %s", error)
        else:
            _replace_older(executor, record)
            return found, record
    raise AssertionError("the last look returns or raises")


def _planned(books: Books, request: Mapping[str, Any]) -> OperationRecord | None:
    """The same trim, where it was planned before: asked twice, it is one plan."""
    same = (
        one
        for one in books.operations.values()
        if one.kind == "trim" and one.state == "planned" and one.request == request
    )
    return next(same, None)


def _replace_older(executor: Executor, record: OperationRecord) -> None:
    """Of two processes that plan at a time each leaves the newer plan, and so both the same one."""
    for one in executor.books().operations.values():
        is_older = (one.planned_ms, one.id) < (record.planned_ms, record.id)
        is_same = (one.kind, one.state, _scope(one)) == ("trim", "planned", _scope(record))
        if is_older and is_same and executor.withdraw(one.id):
            _log.info("plan %s is replaced by %s", one.id, record.id)


def _scope(record: OperationRecord) -> Any:
    return record.request.get("scope", "")
