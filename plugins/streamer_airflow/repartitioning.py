"""The stages of a repartition, which the DAGs of there and back have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamer_airflow.operators.approval import OperationApproval
from streamer_airflow.operators.operation import PlanOperator
from streamer_airflow.operators.settle import SettleOperator
from streamer_airflow.operators.stages import StageOperator, SwitchApproval

if TYPE_CHECKING:
    from streamer_airflow.factory import Application

__all__ = ["repartition_stages"]

_KIND = "repartition"
_COMMAND = "streamer repartition apply {id} --app {application}"
_NOTE = (
    "Until the operation is done and the former layout is deleted, brokers and workers keep this"
    " state twice. Right before the pause you are asked once more."
)


def repartition_stages(application: Application, *, takes: Sequence[str]) -> None:
    """Make them in the DAG that is being made; `takes` names fields of its form that say what is
    wanted."""
    plan = PlanOperator(task_id="plan", kind=_KIND, takes=takes)
    approve = OperationApproval(
        task_id="approve", kind=_KIND, takes=takes, mode="", command=_COMMAND, note=_NOTE
    )
    copy = StageOperator(
        task_id="copy",
        kind=_KIND,
        steps=("record", "topics", "copy"),
        approved=approve.output,
        **application.heavy,
    )
    prove = StageOperator(
        task_id="prove",
        kind=_KIND,
        steps=("shadow", "prove"),
        approved=approve.output,
        **application.heavy,
    )
    approve_switch = SwitchApproval(
        task_id="approve_switch", approved=approve.output, step="switch", command=_COMMAND
    )
    switch = StageOperator(
        task_id="switch",
        kind=_KIND,
        steps=("switch",),
        approved=approve_switch.output,
        **application.heavy,
    )
    finish = StageOperator(
        task_id="finish", kind=_KIND, steps=("settle",), approved=approve_switch.output
    )
    settle = SettleOperator(task_id="settle", kind=_KIND)
    plan >> approve >> copy >> prove >> approve_switch >> switch >> finish
    [plan, approve, copy, prove, approve_switch, switch, finish] >> settle.as_teardown(
        on_failure_fail_dagrun=True
    )
