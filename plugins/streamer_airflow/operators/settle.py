"""What a run leaves behind, and how an operation is cancelled: `SettleOperator`, `CancelOperator`.

Both go by the operation's record and not by the states of tasks: those say what Airflow has seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from streamer.errors import OperationRefusedError
from streamer_airflow.links import show_link
from streamer_airflow.operators.failures import translated
from streamer_airflow.operators.operation import StreamerOperator
from streamer_airflow.planning import latest
from streamer_airflow.runs import asked_by, conductor_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from streamer.control.operations import OperationRecord
    from streamer.operations.executor import Executor

__all__ = ["CancelOperator", "SettleOperator"]

# A process that is asked to cancel looks every second.
_LOOK_S = 1.0
_WAIT_S = 120.0


class SettleOperator(StreamerOperator):
    """The last task of a run, whatever became of the others; a teardown, so that it hides nothing.

    done, cancelled            nothing
    planned                    the plan is taken out
    begun, and it can be       what it did is taken back, so that the next run is not refused
    begun, with no way back    left as it is, held: it can only be finished
    in other hands             left to them: begun, or gone on with, by a person or another run

    It fails where it could not, and where any other has failed: a run's end is that of its last
    task, and that is this one. Where somebody marks a run as failed, Airflow skips what has yet to
    begin, and no other would tell.
    """

    template_fields: Sequence[str] = ("stages",)

    def __init__(self, *, kind: str, stages: Any = None, beside: str = "", **kwargs: Any) -> None:
        """`beside` is the kind of operations that a task of the run has carried out by the way."""
        super().__init__(**kwargs)
        self.kind = kind
        self.stages = stages
        self.beside = beside

    def pre_execute(self, context: Context) -> None:
        """Whatever the run was given, what it began is settled."""

    def execute(self, context: Context) -> list[str]:
        said, left, conductor = [], [], conductor_of(context)
        with translated(), self.hook.executor(conductor=conductor) as executor:
            for record in self._records(context, executor):
                show_link(context, self, record.id)
                try:
                    said.append(_settled(executor, record, conductor))
                    self.log.info("%s", said[-1])
                except AirflowException as error:
                    # The others are none the worse for it.
                    left.append(str(error))
        if left:
            raise AirflowException("\n".join(left))
        if failed := _failed(context):
            raise AirflowFailException(
                f"the run has failed at {', '.join(failed)}\nhint: what it began is settled, as"
                " told above; trigger another one"
            )
        return said

    def _records(self, context: Context, executor: Executor) -> Iterator[OperationRecord]:
        run = asked_by(context, self.kind, {})
        for one in executor.books().operations.values() if self.beside else ():
            if one.kind == self.beside and run.is_own(one.why) and not one.is_finished:
                yield one
        for stage in self.stages or [{}]:
            asked = asked_by(context, self.kind, {}, stage=str(stage.get("stage", "")))
            if (record := latest(executor, asked)) is not None:
                yield record


class CancelOperator(StreamerOperator):
    """Stop an operation and take back what it did. `operation` is the name of a form's field."""

    def __init__(self, *, operation: str = "operation", why: str = "why", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.operation = operation
        self.why = why

    def execute(self, context: Context) -> str:
        name, why = str(context["params"][self.operation]), str(context["params"][self.why])
        show_link(context, self, name)
        conductor = conductor_of(context)
        with translated(), self.hook.executor(conductor=conductor) as executor:
            record = _cancelled(executor, name, ": ".join(filter(None, [conductor, why])))
        if record.state != "cancelled":
            trouble = f": {record.trouble.message}" if record.trouble else ""
            raise AirflowException(
                f"operation {name} is {record.state}{trouble}\nhint: the next try goes on"
            )
        return f"operation {name} is cancelled"


def _failed(context: Context) -> list[str]:
    """The tasks of the run that have failed by themselves."""
    task = context["ti"]
    run = task.get_task_states(dag_id=task.dag_id, run_ids=[task.run_id]).get(task.run_id, {})
    return sorted(name for name, state in run.items() if state == "failed" and name != task.task_id)


def _settled(executor: Executor, record: OperationRecord, conductor: str) -> str:
    if record.state == "planned":
        if executor.withdraw(record.id):
            return f"the plan of operation {record.id} is taken out"
        # Somebody was faster.
        books = executor.books()
        if not books.knows(record.id):
            return f"the plan of operation {record.id} was taken out"
        record = books.operation(record.id)
    if record.is_finished:
        return f"operation {record.id} is {record.state}"
    if record.conductor not in ("", conductor):
        return (
            f"operation {record.id} is {record.state}, and not in the hands of this run: it is left"
            f" to {record.conductor}; to take it back: streamer operations cancel {record.id}"
        )
    try:
        ended = _cancelled(executor, record.id, "its run has failed")
    except OperationRefusedError as error:
        return f"operation {record.id} is left as it is: {error.describe()}"
    if ended.is_finished:
        return f"operation {record.id} is {ended.state}: what it did is taken back"
    raise AirflowException(
        f"operation {record.id} is {ended.state}, and is not taken back yet\n"
        f"hint: streamer operations cancel {record.id}"
    )


def _cancelled(executor: Executor, name: str, why: str) -> OperationRecord:
    """Cancel it, also where another process carries it out; waits for that one."""
    deadline = time.monotonic() + _WAIT_S
    record = executor.cancel(name, why=why)
    while not (record.is_finished or record.trouble or time.monotonic() > deadline):
        time.sleep(_LOOK_S)
        record = executor.cancel(name, why=why)
    return record
