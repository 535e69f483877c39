"""What a run leaves behind: settled by the record, and only what the run itself has begun."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from streamer.control.operations import OperationRecord
from streamer.operations.executor import Executor
from streamer_airflow.operators.operation import PlanOperator
from streamer_airflow.operators.settle import SettleOperator
from streamer_airflow.runs import Asked
from tests.airflow.unit.rig import NAME, Rig, context, fails, operate, planned, settle


def test_settling_goes_by_the_record(rig: Rig) -> None:
    assert settle() == []
    PlanOperator(task_id="task", kind="shelve", takes=("boxes",)).execute(context(boxes=["a"]))
    assert settle() == [f"the plan of operation {NAME} is taken out"]
    assert rig.warehouse.executor().books().operations == {}

    place = planned("a")
    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException):
        operate().execute(place)
    rig.warehouse.shelf.inside = lambda _box: None
    assert settle() == [f"operation {NAME} is cancelled: what it did is taken back"]
    assert rig.warehouse.shelf.boxes == {}
    assert settle() == [f"operation {NAME} is cancelled"]

    done = operate().execute(planned("a"))
    assert done["operation"] == Asked("shelve", "dag", "run").operation(2)
    assert settle() == [f"operation {done['operation']} is done"]


def test_what_others_have_begun_or_gone_on_with_is_left_to_them(rig: Rig) -> None:
    place = planned("a")
    # A person has begun the plan of the run, by the command line.
    rig.warehouse.shelf.inside = fails
    rig.warehouse.executor(conductor="ann@host").start(NAME)
    rig.warehouse.shelf.inside = lambda _box: None
    [said] = settle()
    assert "is failed, and not in the hands of this run: it is left to ann@host" in said
    assert f"streamer operations cancel {NAME}" in said
    assert rig.warehouse.executor().books().operation(NAME).state == "failed"
    # The run goes on with it: then it is the run's.
    rig.warehouse.shelf.inside = fails
    with pytest.raises(AirflowException):
        operate().execute(place)
    # While somebody resumes it, settling does not stop them.
    during: list[str] = []
    rig.warehouse.shelf.inside = lambda _box: during.extend(settle())
    assert rig.warehouse.executor(conductor="ann@host").resume(NAME).state == "done"
    assert len(during) == 1
    assert "left to ann@host" in during[0]
    assert settle() == [f"operation {NAME} is done"]


def test_a_plan_that_is_begun_while_it_is_settled_is_left(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned("a")

    def faster(_executor: Executor, name: str) -> bool:
        rig.warehouse.executor(conductor="ann@host").start(name)
        return False

    monkeypatch.setattr(Executor, "withdraw", faster)
    assert settle() == [f"operation {NAME} is done"]


def test_all_stages_are_settled_whichever_cannot_be(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = [{"stage": name} for name in ("a", "b", "c")]
    names = [Asked("shelve", "dag", "run", stage=one["stage"]).operation() for one in stages]
    for name in names:
        rig.warehouse.executor().propose("shelve", {"boxes": ["a"]}, operation=name)

    def settled(executor: Executor, record: OperationRecord, _conductor: str) -> str:
        if record.id == names[0]:
            raise AirflowException("its process hangs")
        executor.withdraw(record.id)
        return record.id

    monkeypatch.setattr("streamer_airflow.operators.settle._settled", settled)
    operator = SettleOperator(task_id="settle", kind="shelve", stages=stages)
    with pytest.raises(AirflowException, match="its process hangs"):
        operator.execute(context())
    assert rig.warehouse.executor().books().operations.keys() == {names[0]}


@pytest.mark.parametrize("behind", ["skipped", "upstream_failed"])
def test_a_run_of_which_a_task_has_failed_does_not_end_as_a_success(rig: Rig, behind: str) -> None:
    planned("a")
    place = context()
    place["ti"].states = {"plan": "success", "approve": "failed", "apply": behind}
    with pytest.raises(AirflowFailException, match="the run has failed at approve"):
        SettleOperator(task_id="settle", kind="shelve").execute(place)
    assert rig.warehouse.executor().books().operations == {}, "it is settled all the same"


@pytest.mark.parametrize("states", [{"plan": "skipped", "apply": "skipped"}, {"plan": "success"}])
def test_a_run_that_has_not_failed_is_none_the_worse_for_it(
    rig: Rig, states: dict[str, str]
) -> None:
    place = context()
    # Of its own last try.
    place["ti"].states = states | {place["ti"].task_id: "failed"}
    assert SettleOperator(task_id="settle", kind="shelve").execute(place) == []
