"""An operation in several tasks, with a question between two of them: `StageOperator`,
`SwitchApproval`.

    copy = StageOperator(task_id="copy", kind="repartition", steps=("topics", "copy"), ...)
    approve = SwitchApproval(task_id="approve_switch", approved=approved, step="switch")
    switch = StageOperator(task_id="switch", steps=("switch",), approved=approve.output, ...)

Between two stages the operation stands paused, with its lock and all that it has made. Each stage
begins with the first step that is not done, whatever Airflow remembers of those before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from streamer.errors import OperationRefusedError
from streamer.operations.loop import no_return_reason
from streamer_airflow.body import of_step
from streamer_airflow.driving import told
from streamer_airflow.hooks.application import ApplicationHook, executor_of
from streamer_airflow.links import show_link
from streamer_airflow.operators.approval import Offer, PlanApproval, Told
from streamer_airflow.operators.operation import OperationOperator, approved_one
from streamer_airflow.planning import PLAN_ANEW

if TYPE_CHECKING:
    from airflow.sdk import Context

    from streamer.control.operations import OperationRecord, StepRecord
    from streamer.operations.executor import Executor

__all__ = ["StageOperator", "SwitchApproval"]


class StageOperator(OperationOperator):
    """Some `steps` of an operation, one after the other as in its plan; the last of them ends the
    task. The work is done here and never in the triggerer, which looks on while somebody else is at
    it, or workers are. Its time counts from the first of its own steps."""

    def __init__(self, *, steps: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = tuple(steps)

    @property
    def until(self) -> str:
        return self.steps[-1]

    def _is_done(self, record: OperationRecord) -> bool:
        return record.state == "done" or _is_done(record, self.until)

    def _began_ms(self, record: OperationRecord) -> int:
        begun = [step.started_ms for step in self._own(record) if step.started_ms]
        return min(begun, default=0)

    def _own(self, record: OperationRecord) -> list[StepRecord]:
        return [step for step in record.steps if step.id in self.steps]


class SwitchApproval(PlanApproval):
    """The question right before a `step` after which there is no way back, of an operation whose
    plan was `approved` before. A rejection begins nothing; the run's teardown takes back what was
    made by then. `command` is what goes on with it without Airflow, with `{id}` and
    `{application}`."""

    template_fields: Sequence[str] = ("approved",)

    def __init__(self, *, approved: Any, step: str, command: str = "", **kwargs: Any) -> None:
        super().__init__(mode="", **{"subject": "Approve the next step", **kwargs})
        self.approved = approved
        self.step = step
        self.command = command
        self.about = f"step {step}"

    def offer(self, context: Context) -> Offer | None:
        one = approved_one(self.approved)
        config = ApplicationHook(self.conn_id).config()
        application = config.application_id
        with executor_of(config) as executor:
            record = self._record(executor, one)
            is_past = self._is_past(executor, record)
        show_link(context, self, record.id)
        said = [told(record)]
        if is_past:
            return Offer("", "", said, has_begun=True)
        names = [step.id for step in record.steps]
        before = names[names.index(self.step) - 1]
        if not _is_done(record, before):
            why = f": {record.trouble.message}" if record.trouble else ""
            raise OperationRefusedError(
                f"operation {record.id} is {record.state}, and step {before} is not done{why}",
                hint="clear the tasks before this one: each begins with the first step that is not"
                " done",
            )
        body = of_step(
            record,
            self.step,
            application=application,
            command=self.command.format(id=record.id, application=application),
        )
        return Offer(f"{self.step} of {application}", body, said)

    def change(self, shown: Told, params: Mapping[str, Any]) -> str:
        with ApplicationHook(self.conn_id).executor() as executor:
            self._record(executor, shown[0])
        return ""

    def take_out(self, shown: Told, conductor: str) -> str:
        with ApplicationHook(self.conn_id).executor() as executor:
            record = self._record(executor, shown[0])
            is_past = self._is_past(executor, record)
        if is_past:
            said = f"but it was made before that, and operation {record.id} is {record.state}"
            if record.is_finished:
                return said
            return (
                f"{said}\nhint: it can only be finished: streamer operations resume {record.id}; or"
                " clear this task, which asks nothing more"
            )
        if record.conductor not in ("", conductor):
            return (
                f"but operation {record.id} is {record.state}, in the hands of {record.conductor},"
                f" and is left to them\nhint: to take it back: streamer operations cancel"
                f" {record.id}"
            )
        return "nothing was switched, and what was made by then is taken back"

    def _is_past(self, executor: Executor, record: OperationRecord) -> bool:
        """Whether the step was made, noted or not."""
        if record.state == "done" or no_return_reason(record):
            return True
        has_begun = any(step.begun for step in record.steps if step.id == self.step)
        return has_begun and executor.is_done(record, self.step)

    def _record(self, executor: Executor, one: Mapping[str, Any]) -> OperationRecord:
        """Raises OperationRefusedError where it is gone, was cancelled, or is another one."""
        books, name = executor.books(), str(one["operation"])
        record = books.operation(name)
        if record.state in ("cancelled", "cancelling"):
            why = f": {record.note}" if record.note else ""
            raise OperationRefusedError(f"operation {name} is {record.state}{why}", hint=PLAN_ANEW)
        if record.plan_id != one["plan_id"]:
            raise OperationRefusedError(f"operation {name} has another plan", hint=PLAN_ANEW)
        return record


def _is_done(record: OperationRecord, until: str) -> bool:
    """Whether it and all before it are, and are not being taken back. After the last one there is
    the operation's own end, which lets go of the application."""
    names = [step.id for step in record.steps]
    if record.state in ("cancelled", "cancelling") or until == names[-1]:
        return record.state == "done"
    return all(step.state == "done" for step in record.steps[: names.index(until) + 1])
