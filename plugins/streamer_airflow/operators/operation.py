"""Plan an operation, and have it carried out: `PlanOperator`, `OperationOperator`.

    plan = PlanOperator(task_id="plan", kind="snapshot", takes=("tasks", "stores"))
    make = OperationOperator(task_id="make", kind="snapshot", takes=("tasks", "stores"))
    plan >> make

Each may run twice, late, or on another host: the operation's id is made of the run's.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from streamer.errors import OperationRefusedError, StoppedError
from streamer.operations.words import size
from streamer_airflow.deadlines import Deadline, deadline
from streamer_airflow.driving import Driver, told
from streamer_airflow.hooks.application import ApplicationHook, executor_of
from streamer_airflow.links import OperationLink, show_link
from streamer_airflow.names import nearest, with_nearest_names
from streamer_airflow.operators.failures import judged, late, translated
from streamer_airflow.planning import PLAN_ANEW, attached, planned, weighed
from streamer_airflow.runs import Asked, asked_by, conductor_of
from streamer_airflow.triggers.operation import OperationTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from streamer.config import Config
    from streamer.control.operations import OperationRecord, StepRecord
    from streamer.operations.executor import Executor

__all__ = ["OperationOperator", "PlanOperator", "StreamerOperator", "approved_one"]

# What is done sooner is not worth the way to the triggerer and back; see docs/decisions/0027.
PATIENCE_S = 20.0
# Airflow may lose a task that it has handed over, and each of ours can be run again. The pause is
# longer than the lease of a process that was killed.
RETRIES = 2
RETRY_DELAY = timedelta(seconds=45)


class StreamerOperator(BaseOperator):
    """What all have: a connection, an operation that the link shows, and two more tries."""

    operator_extra_links = (OperationLink(),)
    template_fields: Sequence[str] = ()

    def __init__(
        self,
        *,
        conn_id: str = ApplicationHook.default_conn_name,
        retries: int = RETRIES,
        retry_delay: timedelta = RETRY_DELAY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retries=retries, retry_delay=retry_delay, **kwargs)
        self.conn_id = conn_id
        self.shown = ""

    @property
    def hook(self) -> ApplicationHook:
        return ApplicationHook(self.conn_id)

    def pre_execute(self, context: Context) -> None:
        """Raises AirflowFailException where the run was given what its form does not have: it would
        have asked for something, and got what goes without saying."""
        run, dag = context.get("dag_run"), context.get("dag")
        given = (run.conf if run else None) or {}
        if dag is not None and (unknown := set(given) - set(dag.params)):
            said = nearest(unknown, set(dag.params))
            raise AirflowFailException(
                f"the form of {dag.dag_id} has no {', '.join(sorted(unknown))}\nhint:"
                f" {said + ' ' if said else ''}it has {', '.join(sorted(dag.params))}"
            )


class PlanOperator(StreamerOperator):
    """Plan what a run is to do, and write the plan down; skip the rest where nothing is to be done.

    `takes` names fields of the form, `wanted` has what a DAG says itself; `wanted["stage"]` tells
    one mapped task from another. Refused at once where another operation is at work.
    """

    template_fields: Sequence[str] = ("wanted",)

    def __init__(
        self,
        *,
        kind: str,
        takes: Sequence[str] = (),
        wanted: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.takes = takes
        self.wanted = wanted or {}

    def asked(self, context: Context) -> Asked:
        """What this task instance asks for."""
        return _asked(context, self.kind, self.takes, self.wanted)

    def execute(self, context: Context) -> dict[str, Any]:
        with translated():
            config, asked = self.hook.config(), self.asked(context)
            with with_nearest_names(config, asked.wanted), executor_of(config) as executor:
                record = self._planned(executor, config, asked, context)
        if record is None:
            raise AirflowSkipException("nothing is to be done: the log says who holds what back")
        show_link(context, self, record.id)
        with translated():
            self.log.info("it is about %s", size(weighed(config, record)))
        for number, step in enumerate(record.plan.steps, 1):
            self.log.info("step %d, %s: %s", number, step.id, step.summary)
        return told(record)

    def _planned(
        self, executor: Executor, config: Config, asked: Asked, _context: Context
    ) -> OperationRecord | None:
        return planned(executor, config, asked)


class OperationOperator(StreamerOperator):
    """Have an operation carried out, to its end. Waits in the triggerer while workers do the work.

    `approved` is what an approval has returned: then that plan is carried out or none. Without it
    the operation is carried out that `PlanOperator` has planned in this run; it is never planned
    here. `hours` names the field of the form with how long it may take in all tries.
    """

    template_fields: Sequence[str] = ("wanted", "approved")

    def __init__(
        self,
        *,
        kind: str,
        takes: Sequence[str] = (),
        wanted: Mapping[str, Any] | None = None,
        approved: Any = None,
        hours: str = "work_hours",
        patience_s: float = PATIENCE_S,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.takes = takes
        self.wanted = wanted or {}
        self.approved = approved
        # What an approval returns is nothing where somebody marked it as successful by hand.
        self.is_bound = approved is not None
        self.hours = hours
        self.patience_s = patience_s
        self.deferrable = deferrable
        self._driver: Driver | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        return self._carry_out(context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """What the trigger has told says only that it is worth a look."""
        if event.get("operation"):
            show_link(context, self, str(event["operation"]))
        if event.get("error"):
            raise AirflowException(str(event["error"]))
        if event.get("refused"):
            raise AirflowFailException(str(event["refused"]))
        name = str(event["operation"])
        with translated(), self.hook.executor() as executor:
            books = executor.books()
            if event.get("state") == "done" and not books.knows(name):
                # Records of what is done are not kept for ever, and this may come late.
                self.log.info("operation %s is done; its record is not kept any more", name)
                return {"operation": name, "plan_id": event.get("plan_id", ""), "state": "done"}
            record = books.operation(name)
        if self._is_done(record) or record.is_finished or record.state == "failed":
            return self._ended(record)
        if event.get("state") == "late":
            raise late(record, self._deadline(context, record).allowed)
        return self._carry_out(context)

    def on_kill(self) -> None:
        """Leave the operation in order, so that the next try need not wait for its lease."""
        if self._driver is not None:
            self._driver.stop()

    def _carry_out(self, context: Context) -> dict[str, Any]:
        with translated():
            config, conductor = self.hook.config(), conductor_of(context)
            with executor_of(config) as executor:
                record, plan_id = self._operation(context, executor)
            show_link(context, self, record.id)
            if self._is_done(record) and plan_id in ("", record.plan_id):
                return self._ended(record)
            until = self._deadline(context, record)
            patience_s = self.patience_s if self.deferrable else 0.0
            opened = functools.partial(executor_of, config, conductor=conductor)
            driver = Driver(opened, patience_s=patience_s, limit_s=until.left_s)
            self._driver = driver
            try:
                return self._ended(driver.drive(record.id, plan_id, until=self.until))
            except StoppedError:
                if not (driver.is_late or driver.watch.has_left):
                    raise
            if driver.is_late:
                with executor_of(config) as executor:
                    raise late(executor.books().operation(record.id), until.allowed)
        self.log.info("operation %s goes on without this slot", record.id)
        self.defer(
            trigger=OperationTrigger(
                self.conn_id,
                record.id,
                plan_id=plan_id,
                until_ms=until.until_ms,
                conductor=conductor,
                until=self.until,
            ),
            method_name="execute_complete",
            timeout=until.timeout,
        )

    def _deadline(self, context: Context, record: OperationRecord) -> Deadline:
        return deadline(
            context,
            self._began_ms(record),
            hours=self.hours,
            estimate_s=record.plan.cost.seconds,
        )

    def _operation(self, context: Context, executor: Executor) -> tuple[OperationRecord, str]:
        """Which operation this is about, and the plan that was approved, if one was."""
        if self.is_bound:
            one = approved_one(self.approved)
            books, name = executor.books(), str(one["operation"])
            if not books.knows(name):
                raise OperationRefusedError(
                    f"there is no operation {name} any more: its plan was taken out",
                    hint=PLAN_ANEW,
                )
            return books.operation(name), str(one["plan_id"])
        return attached(executor, _asked(context, self.kind, self.takes, self.wanted)), ""

    @property
    def until(self) -> str:
        """The step after which this task ends; "" for the operation's end."""
        return ""

    def _is_done(self, record: OperationRecord) -> bool:
        """Whether there is nothing left for this task."""
        return record.state == "done"

    def _began_ms(self, record: OperationRecord) -> int:
        """When the work of this task began; 0 where it has yet to."""
        return record.started_ms

    def _own(self, record: OperationRecord) -> Sequence[StepRecord]:
        """The steps that are this task's."""
        return record.steps

    def _ended(self, record: OperationRecord) -> dict[str, Any]:
        """Raises where it has not ended well, with what to do."""
        if not self._is_done(record):
            judged(record)
        for step in self._own(record):
            self.log.info("%s: %s", step.id, step.said or step.state)
        return told(record)


def approved_one(approved: Any) -> Mapping[str, Any]:
    """The only operation of what an approval has returned. Raises AirflowFailException where that
    is none."""
    one = approved[0] if isinstance(approved, Sequence) and len(approved) == 1 else approved
    if not isinstance(one, Mapping) or "operation" not in one:
        raise AirflowFailException(
            "no plan was approved\nhint: clear the approval: one that is marked as"
            " successful by hand has approved nothing"
        )
    return one


def _asked(context: Context, kind: str, takes: Sequence[str], wanted: Mapping[str, Any]) -> Asked:
    params: Mapping[str, Any] = context["params"]
    both = {name: params[name] for name in takes} | dict(wanted)
    stage = str(both.pop("stage", ""))
    return asked_by(context, kind, both, stage=stage)
