"""Have the controller move tasks: `ProposeOperator`, `RebalanceApproval`, `RebalanceOperator`.

The controller makes a placement, and the moves; whoever asks only names it by its hash. So nothing
needs to be carried out from here, and the trigger that waits for the last move only reads.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from streamer.control.operator import Operator, Proposed
from streamer.control.requests import ProposalRecord
from streamer.control.violations import violations
from streamer.errors import OperationRefusedError
from streamer_airflow.body import of_proposal
from streamer_airflow.deadlines import deadline
from streamer_airflow.hooks.application import ApplicationHook
from streamer_airflow.limits import limits_of
from streamer_airflow.links import show_link
from streamer_airflow.operators.approval import Offer, PlanApproval, Told
from streamer_airflow.operators.failures import translated
from streamer_airflow.operators.operation import StreamerOperator
from streamer_airflow.planning import PLAN_ANEW
from streamer_airflow.runs import operation_id
from streamer_airflow.triggers.rebalance import MovesTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ProposeOperator", "RebalanceApproval", "RebalanceOperator"]

_ANSWER_S = 30.0
# Fields of the form, and the options that bound them.
_LIMITS = {"bytes_max": "rebalance_bytes_max", "tasks_max": "rebalance_tasks_max"}
_LOOK_S = 1.0


class ProposeOperator(StreamerOperator):
    """Have a placement computed; skip the rest where it mends nothing.

    `always` names the field that says whether to go on although nothing is violated, `spread` the
    one with how far the fullest worker may be above its share, in per cent.
    """

    def __init__(
        self, *, always: str = "always", spread: str = "spread_percent_max", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.always = always
        self.spread = spread

    def execute(self, context: Context) -> dict[str, Any]:
        params: Mapping[str, Any] = context["params"]
        with translated(), Operator(self.hook.config()) as operator:
            proposal, why = _looked(operator, params, spread=self.spread)
        if not proposal.after:
            raise AirflowSkipException("nothing is to be moved: the placement is as good as can be")
        if not (why or params[self.always]):
            raise AirflowSkipException(
                f"nothing is violated; {len(proposal.after)} tasks would change for little"
            )
        show_link(context, self, "")
        for each in why:
            self.log.warning("%s", each)
        return {"proposal": proposal.id, "tasks": len(proposal.after)}


class RebalanceApproval(PlanApproval):
    """The moves of a placement, within limits or by a person; nothing where it mends nothing by
    then. A `streamer rebalance stop` since the run began ends the run."""

    def __init__(
        self,
        *,
        always: str = "always",
        spread: str = "spread_percent_max",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.always = always
        self.spread = spread

    def offer(self, context: Context) -> Offer | None:
        params: Mapping[str, Any] = context["params"]
        config = ApplicationHook(self.conn_id).config()
        with Operator(config) as operator:
            _refuse_after_stop(operator, context)
            proposal, why = _looked(operator, params, spread=self.spread)
        if not (proposal.after and (why or params[self.always])):
            return None
        application = config.application_id
        limits = limits_of(_LIMITS, self.conn_id, params)
        amounts = {
            "rebalance_bytes_max": (proposal.moved_bytes, "bytes are moved"),
            "rebalance_tasks_max": (len(proposal.after), "tasks change"),
        }
        over = []
        for one in limits:
            amount, what = amounts[one.option]
            if amount > one.value:
                over.append(f"{amount:,} {what}, {one.value:,} may")
        return Offer(
            f"rebalance of {application}",
            of_proposal(proposal, why, application=application),
            [{"proposal": proposal.id, "number": proposal.number, "at_ms": proposal.at_ms}],
            "; ".join(over),
            limits,
        )

    def change(self, shown: Told, params: Mapping[str, Any]) -> str:
        wanted = _proposed(shown)
        with Operator(ApplicationHook(self.conn_id).config()) as operator:
            (found, plan), by = operator.answers(), operator.stopped_by(wanted)
        if by:
            return f"{by} had every task stay where it is since it was proposed"
        if found is None or found.id != wanted.id:
            return f"the controller has made another proposal than {wanted.id} since"
        spread, standing = int(params[self.spread]), plan.modes if plan is not None else ()
        mended = violations(found, spread_percent_max=spread, standing=standing)
        if not (params[self.always] or mended):
            return "what it would mend is not violated any more"
        return ""

    def take_out(self, shown: Told, conductor: str) -> str:
        """A proposal that nobody asks for is nothing."""
        return ""


class RebalanceOperator(StreamerOperator):
    """Go towards what was approved, and wait for the last move. `hours` names the field with the
    time it may take in all tries; what is under way goes on all the same. Somebody who stops the
    moves ends it, and no later try asks for them again."""

    template_fields = ("approved",)

    def __init__(
        self,
        *,
        approved: Any,
        hours: str = "moves_hours",
        patience_s: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.approved = approved
        self.hours = hours
        self.patience_s = patience_s

    def execute(self, context: Context) -> dict[str, Any]:
        task = context["ti"]
        proposal = _proposed(self.approved)
        # The run's own: asked twice, the controller adopts it once.
        number = operation_id("rebalance", task.dag_id, task.run_id, proposal.id)
        show_link(context, self, "")
        with translated(), Operator(self.hook.config()) as operator:
            operator.apply_once(proposal, timeout_s=_ANSWER_S, number=number)
            self.log.info("plan %s is adopted", proposal.id)
            until = deadline(context, operator.asked_ms(number), hours=self.hours)
            left = self._watched(operator)
            if not left:
                return _ended(operator, proposal)
        if until.is_over:
            raise _late(left, until.allowed)
        self.defer(
            trigger=MovesTrigger(self.conn_id, until_ms=until.until_ms),
            method_name="execute_complete",
            kwargs={"allowed": until.allowed},
            timeout=until.timeout,
        )

    def execute_complete(
        self, context: Context, event: Mapping[str, Any], allowed: str = ""
    ) -> dict[str, Any]:
        if event.get("error"):
            raise AirflowException(str(event["error"]))
        if event.get("moves_left"):
            raise _late(int(event["moves_left"]), allowed)
        for each in event.get("modes", ()):
            self.log.warning("still %s", each)
        with translated(), Operator(self.hook.config()) as operator:
            return _ended(operator, _proposed(self.approved))

    def _watched(self, operator: Operator) -> int:
        """Moves that are left when it is better to wait elsewhere; 0 where all are made."""
        patient_until = time.monotonic() + self.patience_s
        while True:
            plan = operator.plan()
            left = plan.moves_left if plan is not None else 1
            if not left or time.monotonic() > patient_until:
                self.log.info("%d moves are left", left)
                return left
            time.sleep(_LOOK_S)


def _proposed(approved: Any) -> Proposed:
    try:
        one = approved[0]
        return Proposed(str(one["proposal"]), str(one["number"]), int(one["at_ms"]))
    except (TypeError, IndexError, KeyError) as error:
        raise AirflowFailException(
            "no placement was approved\nhint: clear the approval: one that is marked as"
            " successful by hand has approved nothing"
        ) from error


def _ended(operator: Operator, proposal: Proposed) -> dict[str, Any]:
    """All moves are made; or none is left, since somebody wanted no more of them."""
    if by := operator.stopped_by(proposal):
        raise AirflowFailException(
            f"{by} had every task stay where it is: what was not moved by then is not moved\n"
            f"hint: to move it all the same, {PLAN_ANEW}"
        )
    return {"proposal": proposal.id, "moves_left": 0}


def _late(left: int, allowed: str) -> AirflowFailException:
    return AirflowFailException(
        f"{left} moves are left after {allowed}\nhint: they go on by themselves; streamer show"
        " moves says what waits for whom, streamer rebalance stop leaves every task where it is;"
        " the form may allow more hours"
    )


def _refuse_after_stop(operator: Operator, context: Context) -> None:
    """A try that looks again would find a new placement, and undo what somebody has said."""
    stop, run = operator.stop_asked(), context.get("dag_run")
    began = getattr(run, "start_date", None)
    if stop is not None and began is not None and stop.at_ms >= began.timestamp() * 1000:
        raise OperationRefusedError(
            f"{stop.by or 'somebody'} had every task stay where it is since this run began",
            hint=f"to move tasks all the same, {PLAN_ANEW}",
        )


def _looked(
    operator: Operator, params: Mapping[str, Any], *, spread: str
) -> tuple[ProposalRecord, list[str]]:
    """A proposal of this moment, and what it mends."""
    proposal = operator.propose(timeout_s=_ANSWER_S)
    return proposal, violations(proposal, spread_percent_max=int(params[spread]))
