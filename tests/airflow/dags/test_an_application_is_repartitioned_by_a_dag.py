"""`repartition`: asked for twice, rejected, killed in the middle, gone on with and reverted; always
with records coming, and nothing lost, doubled or out of order."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from streamer.control.current import current_record
from streamer.control.operations import OperationRecord
from streamer.kafka.admin import Admin
from streamer_airflow.runs import Asked
from tests.airflow.dags.conftest import Runs, states, xcom
from tests.airflow.dags.tallies import judge
from tests.broker.feeder import Feeder
from tests.thorough import thorough

pytestmark = [pytest.mark.broker, pytest.mark.long]

DAG = "repartition"
STAGES = ("plan", "approve", "copy", "prove", "approve_switch", "switch", "finish", "settle")
BOTH = {"approve": "Approve", "approve_switch": "Approve"}


@pytest.fixture
def here(runs: Callable[..., Runs]) -> Runs:
    made = runs("tally", outputs=("totals",), partitions=4)
    made.made.worker().wait_started(4, timeout=900)
    return made


def form(here: Runs) -> dict[str, Any]:
    return {"tasks_of": [f"{here.made.topic('in')}=2"]}


def next_topics(here: Runs) -> list[str]:
    own = f"{here.made.name}-"
    there = Admin(here.config).topics()
    return [name for name in there if name.startswith(own) and ".layout-" in name]


def only(here: Runs) -> OperationRecord:
    [one] = here.operations().values()
    return one


def test_it_is_approved_twice_and_reverted(here: Runs) -> None:
    admin = Admin(here.config)
    with Feeder(here.made, rate=20) as feeder:
        done = here.run(DAG, answers=BOTH, **form(here))
        assert states(done) == dict.fromkeys(STAGES, "success")
        operation = only(here)
        back = here.run("revert_repartition", answers=BOTH)
        assert states(back) == dict.fromkeys(STAGES, "success")
        reverted = here.operations()[Asked(DAG, "revert_repartition", back.run_id).operation()]
        assert (reverted.state, reverted.request["reverts"]) == ("done", operation.id)
        recorded = current_record(here.config, admin)
        assert recorded is not None
        assert (recorded.number, recorded.layout.task_count(0)) == (3, 4)
        feeder.stop()
    judge(here)


@thorough
def test_it_is_rejected_then_approved_twice_and_found_done(here: Runs) -> None:
    admin = Admin(here.config)
    with Feeder(here.made, rate=20) as feeder:
        rejected = here.run(DAG, answers={"approve": "Reject"}, **form(here))
        assert rejected.state == "failed"
        assert (states(rejected)["approve"], states(rejected)["copy"]) == (
            "failed",
            "upstream_failed",
        )
        assert here.operations() == {}, "a plan that was rejected leaves no trace"

        at = datetime.now(tz=UTC)
        done = here.run(DAG, at=at, answers=BOTH, **form(here))
        assert states(done) == dict.fromkeys(STAGES, "success")
        operation = only(here)
        assert operation.id == Asked(DAG, DAG, done.run_id).operation()
        assert operation.state == "done"
        assert xcom(done, "approve_switch")[0]["approved_by"] == "Ann"
        recorded = current_record(here.config, admin)
        assert recorded is not None
        assert (recorded.number, recorded.operation) == (2, operation.id)
        assert recorded.layout.task_count(0) == 2

        # Cleared, it finds what is done: nobody is asked, and nothing is done again.
        again = here.again_from(DAG, "approve_switch", at=at)
        assert again.state == "success", states(again)
        assert only(here) == operation

        # Asked for by another run, there is nothing to be done, and nobody is asked.
        refused = here.run(DAG, **form(here))
        assert (states(refused)["plan"], states(refused)["settle"]) == ("failed", "failed")
        assert only(here) == operation
        feeder.stop()
    judge(here)


@thorough
def test_it_is_killed_taken_back_cancelled_and_finished_after_the_switch(here: Runs) -> None:
    admin = Admin(here.config)
    with Feeder(here.made, rate=20) as feeder:
        # Killed before the switch: the same run goes on with it, and a person says no after all.
        at = datetime.now(tz=UTC)
        plan = {"approve": "Approve"}
        code = here.killed(DAG, "repartition.after_proof=kill", at=at, answers=plan, **form(here))
        assert code == -signal.SIGKILL
        left = only(here)
        assert (left.state, left.epoch) == ("running", 2), "one for each stage"
        taken_back = here.run(DAG, at=at, answers={"approve_switch": "Reject"}, **form(here))
        assert states(taken_back)["approve"] == "success", "it has begun, so nobody is asked"
        assert states(taken_back)["approve_switch"] == "failed"
        assert states(taken_back)["settle"] == "failed", "it tells of the run, and has settled it"
        assert (only(here).id, only(here).state) == (left.id, "cancelled")
        assert next_topics(here) == []

        # Killed and cancelled by another DAG: the run that is cleared plans it anew.
        at = datetime.now(tz=UTC)
        code = here.killed(DAG, "repartition.after_topics=kill", at=at, answers=plan, **form(here))
        assert code == -signal.SIGKILL
        [stopped] = [one for one in here.operations().values() if one.state == "running"]
        cancelled = here.run("cancel_operation", operation=stopped.id, why="not today")
        assert cancelled.state == "success", states(cancelled)
        assert here.operations()[stopped.id].state == "cancelled"
        assert next_topics(here) == []

        # Killed right behind the record, it can only be finished: nobody is asked once more.
        code = here.killed(DAG, "repartition.after_switch=kill", at=at, answers=BOTH, **form(here))
        assert code == -signal.SIGKILL
        finished = here.run(DAG, at=at, **form(here))
        assert finished.state == "success", states(finished)
        name = Asked(DAG, DAG, finished.run_id).operation(2)
        assert here.operations()[name].state == "done"
        recorded = current_record(here.config, admin)
        assert recorded is not None
        assert (recorded.number, recorded.operation) == (2, name)
        feeder.stop()
    judge(here)
