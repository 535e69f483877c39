"""What an error of Streamer means to a task: to be tried again, or to fail now, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from streamer.control.operations import OperationRecord
from streamer.errors import (
    FencedError,
    InternalTopicError,
    OperationRefusedError,
    StoppedError,
    StreamerError,
    UsageError,
)
from streamer.operations.loop import no_return_reason
from streamer.operations.words import step_line
from streamer_airflow.planning import PLAN_ANEW

__all__ = ["judged", "late", "translated"]

# The same again would only say the same again.
_FINAL = (OperationRefusedError, UsageError, InternalTopicError)


@contextmanager
def translated() -> Iterator[None]:
    """Errors of Streamer become those of Airflow, whose text has the hint."""
    try:
        yield
    except _FINAL as error:
        raise AirflowFailException(error.describe()) from error
    except FencedError as error:
        raise AirflowException(f"{error.describe()}\nthe next try looks how it goes on") from error
    except StoppedError as error:
        raise AirflowException(
            f"{error.describe()}\nit was left in order, and the next try goes on with it"
        ) from error
    except StreamerError as error:
        raise AirflowException(error.describe()) from error


def late(record: OperationRecord, allowed: str) -> AirflowFailException:
    """What a task fails with whose time is over: what it waits for, and how it goes on."""
    if no_return_reason(record):
        todo = (
            f"it can only be finished: clear this task, or streamer operations resume {record.id}"
        )
    else:
        todo = (
            "see to what it waits for; what was done is taken back, and a run that is cleared from"
            " its first task plans anew"
        )
    return AirflowFailException(
        f"operation {record.id} is not done after {allowed}: {step_line(record)}\nhint: {todo};"
        " the form may allow more hours"
    )


def judged(record: OperationRecord) -> OperationRecord:
    """The record of an operation that is done. Raises for any other one, with what to do."""
    if record.state == "done":
        return record
    trouble = record.trouble
    why = f": {trouble.message}" if trouble else f": {record.note}" if record.note else ""
    said = f"operation {record.id} is {record.state}{why}"
    if record.state == "cancelled":
        raise AirflowFailException(f"{said}\nhint: {PLAN_ANEW}")
    hint = trouble.hint if trouble and trouble.hint else f"streamer operations show {record.id}"
    raise AirflowException(f"{said}\nhint: {hint}; the next try of this task resumes it as well")
