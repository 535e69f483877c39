"""Have somebody approve what is to be done, bound to the plan's hash: `OperationApproval`.

    within its limits, and the form says "automatic": nobody is asked
    else the page "Required actions" shows the plan; the task waits without a slot or a trigger
        Reject, or no answer in time: the plan is taken out, the run fails, nothing was changed;
            where somebody else has begun it by then, the run says so and leaves it to them
        Approve: is the plan still the one that would be made? Then it goes on, with that hash;
            else the task fails, and its next try plans anew and asks again

It is the next try that asks again, since Airflow shows the text of a question once for each try.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    TaskAwaitingInput,
)

from streamer.errors import StreamerError
from streamer.operations.loop import no_return_reason
from streamer.operations.readiness import fits
from streamer_airflow.body import last_seconds, of_operation
from streamer_airflow.driving import told
from streamer_airflow.hooks.application import ApplicationHook, executor_of
from streamer_airflow.limits import Limit, limits_of
from streamer_airflow.links import OperationLink, show_link
from streamer_airflow.operators.failures import translated
from streamer_airflow.planning import planned, weighed
from streamer_airflow.runs import asked_by, conductor_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from streamer.control.operations import OperationRecord
    from streamer.operations.executor import Executor

__all__ = ["AUTOMATIC", "Offer", "OperationApproval", "PlanApproval"]

AUTOMATIC = "automatic"
# A trim's plan of 03:00 may be one of another world at 09:00: so it is asked again, a few times.
_TRIES = 5
# Nobody reads more; the others are named, and have pages of their own.
_SHOWN_MAX = 8

Told = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Offer:
    """What is to be approved. `told` goes to the next task and names it by its hash; `why_not` says
    why it does not go without a person, "" where it does; `limits` up to what it would have;
    `has_begun` that somebody has approved it before."""

    subject: str
    body: str
    told: Told
    why_not: str = ""
    limits: Sequence[Limit] = ()
    has_begun: bool = False


class PlanApproval(ApprovalOperator):
    """The question, whatever is asked. `mode` names the field of the form that says `automatic` or
    `ask`, or is "" where somebody is always asked; `hours` the one with the time for an answer."""

    operator_extra_links = (OperationLink(),)

    def __init__(
        self,
        *,
        conn_id: str = ApplicationHook.default_conn_name,
        mode: str = "approval",
        hours: str = "answer_hours",
        **kwargs: Any,
    ) -> None:
        given = {
            "subject": "Approve the plan",
            "defaults": "Reject",
            "retries": _TRIES,
            "retry_delay": timedelta(seconds=10),
        }
        super().__init__(**{**given, **kwargs})
        self.conn_id = conn_id
        self.mode = mode
        self.hours = hours
        self.shown = ""
        self.about = "the plan"
        """What a rejection is said to be of."""

    @abstractmethod
    def offer(self, context: Context) -> Offer | None:
        """Look at what is to be done; None where it is nothing."""

    @abstractmethod
    def change(self, shown: Told, params: Mapping[str, Any]) -> str:
        """What is not any more as it was shown, or ""."""

    @abstractmethod
    def take_out(self, shown: Told, conductor: str) -> str:
        """Leave nothing of what was rejected; what could not be taken out and why, or "".
        `conductor` is this run."""

    def execute(self, context: Context) -> Any:
        params: Mapping[str, Any] = context["params"]
        with translated():
            offer = self.offer(context)
        if offer is None:
            raise AirflowSkipException("nothing is to be done")
        if offer.has_begun:
            self.log.info("it has begun: there is nothing to be asked")
            return offer.told
        body = offer.body + "".join(f"\n\nGoes alone: up to {one.text}." for one in offer.limits)
        is_automatic = bool(self.mode) and params[self.mode] == AUTOMATIC
        if is_automatic and not offer.why_not:
            self.log.info("within the limits of this run: nobody is asked\n%s", body)
            return offer.told
        reason = f"\n\nAsked since {offer.why_not}." if offer.why_not else ""
        self.subject, self.body = offer.subject, body + reason
        self.response_timeout = timedelta(hours=float(params[self.hours]))
        try:
            return super().execute(context)
        except TaskAwaitingInput as parked:
            # What was shown is approved, and nothing that is looked up later.
            parked.kwargs = {"shown": offer.told}
            raise

    def execute_complete(
        self, context: Context, event: dict[str, Any], shown: Told | None = None
    ) -> Any:
        shown = shown or []
        if shown and "operation" in shown[0]:
            # Airflow writes the button's link once more at the task's end, as this process has it.
            show_link(context, self, str(shown[0]["operation"]))
        if "error" in event:
            raise AirflowException(str(event["error"]))
        by = (event.get("responded_by_user") or {}).get("name", "")
        with translated():
            if self.APPROVE not in event["chosen_options"]:
                left = self.take_out(shown, conductor_of(context))
                who = f"rejected by {by}" if by else "rejected: nobody answered in time"
                raise AirflowFailException(
                    f"{self.about} was {who}; {left or 'nothing was changed'}"
                )
            changed = self.change(shown, context["params"])
        if changed:
            raise AirflowException(
                f"nothing was changed: {changed}\nhint: it is planned anew, and asked for again"
            )
        self.log.info("approved by %s", by or "somebody")
        return [{**each, "approved_by": by} for each in shown]


class OperationApproval(PlanApproval):
    """The plans of operations: of this run's one, or of each of `stages`.

    `limits` names the field of the form with the most bytes that go without a person, and the
    option that bounds it; `asks` names fields that always need one. `command` is what does the
    same, with `{id}` and `{application}`; `note` says what a person should know beside the plan.
    """

    template_fields: Sequence[str] = ("stages",)

    def __init__(
        self,
        *,
        kind: str,
        takes: Sequence[str] = (),
        stages: Any = None,
        limits: Mapping[str, str] | None = None,
        asks: Sequence[str] = (),
        command: str = "",
        note: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.takes = takes
        self.stages = stages
        self.limits = dict(limits or {})
        self.asks = asks
        self.command = command
        self.note = note

    def offer(self, context: Context) -> Offer | None:
        params: Mapping[str, Any] = context["params"]
        common = {name: params[name] for name in self.takes}
        config = self.hook.config()
        application, records, said = config.application_id, [], []
        with executor_of(config) as executor:
            for stage in self.stages or [{}]:
                wanted = common | dict(stage)
                name = str(wanted.pop("stage", ""))
                asked = asked_by(context, self.kind, wanted, stage=name)
                record = planned(executor, config, asked)
                if record is not None:
                    records.append(record)
                    said.append(told(record) | {"stage": name})
            seconds = last_seconds(executor.books(), self.kind)
        if not records:
            return None
        show_link(context, self, records[0].id)
        bodies = [
            of_operation(
                each,
                application=application,
                weight=weighed(config, each),
                seconds=seconds,
                command=self.command.format(id=each.id, application=application),
            )
            for each in records[:_SHOWN_MAX]
        ]
        if len(records) > _SHOWN_MAX:
            rest = ", ".join(f"`{each.id}`" for each in records[_SHOWN_MAX:])
            bodies.append(f"and {len(records) - _SHOWN_MAX} more of the kind: {rest}")
        if self.note:
            bodies.append(self.note)
        limits = limits_of(self.limits, self.conn_id, params)
        return Offer(
            f"{self.kind} of {application}",
            "\n\n".join(bodies),
            said,
            self._why_not(records, params, limits),
            limits,
            has_begun=all(each.state != "planned" for each in records),
        )

    def change(self, shown: Told, params: Mapping[str, Any]) -> str:
        config, found = self.hook.config(), []
        with executor_of(config) as executor:
            for each in shown:
                books, name = executor.books(), str(each["operation"])
                record = books.operation(name) if books.knows(name) else None
                if record is None:
                    found.append(f"the plan of operation {name} was taken out")
                elif record.state == "cancelled":
                    found.append(f"operation {name} was cancelled")
                elif record.plan_id != each["plan_id"]:
                    found.append(f"operation {name} has another plan by now")
                elif record.state == "planned" and not fits(executor, record):
                    executor.withdraw(name)
                    found.append(f"the world is not as it was when {name} was planned")
        return "; ".join(found)

    def take_out(self, shown: Told, conductor: str) -> str:
        left = []
        with self.hook.executor() as executor:
            for each in shown:
                name = str(each["operation"])
                try:
                    left.append(_taken_out(executor, name))
                except StreamerError as error:
                    left.append(f"the plan of operation {name} could not be taken out: {error}")
        return "; ".join(filter(None, left))

    @property
    def hook(self) -> ApplicationHook:
        return ApplicationHook(self.conn_id)

    def _why_not(
        self,
        records: Sequence[OperationRecord],
        params: Mapping[str, Any],
        limits: Sequence[Limit],
    ) -> str:
        if wished := [name for name in self.asks if params[name]]:
            return f"the form says {', '.join(wished)}"
        if not limits:
            return ""
        costs = [each.plan.cost for each in records]
        if any(cost.records and not cost.bytes for cost in costs):
            return "it is not known how many bytes go"
        size, limit = sum(cost.bytes for cost in costs), min(one.value for one in limits)
        if size > limit:
            return f"{size:,} bytes go, and {limit:,} go without a person"
        return ""


def _taken_out(executor: Executor, name: str) -> str:
    """What is left of a plan that was rejected, and what to do about it; "" for nothing."""
    executor.withdraw(name)
    # Whatever that said: somebody may have begun it meanwhile, who has it by now under another key.
    books = executor.books()
    record = books.operation(name) if books.knows(name) else None
    if record is None or record.state == "cancelled":
        return ""
    hands = f" for {record.conductor}" if record.conductor else ""
    said = f"but operation {name} had begun before that{hands}, and is {record.state}"
    if record.is_finished:
        return said
    reason = no_return_reason(record)
    return f"{said}\nhint: " + (
        reason or f"it goes on; to take it back: streamer operations cancel {name}"
    )
