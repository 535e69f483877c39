"""Runs of a backfill: each is about its interval, and they plan one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.timetables.base import DataInterval, TimeRestriction

from streamer.errors import SnapshotNeededError
from streamer_airflow.intervals import OnDemandIntervals
from streamer_airflow.operators.operation import PlanOperator
from streamer_airflow.operators.turns import ReplayPlanOperator
from streamer_airflow.runs import Asked, asked_by, is_backfill
from tests.airflow.unit.rig import Rig, context

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NEXT = datetime(2026, 3, 2, tzinfo=UTC)
FORM: Mapping[str, Any] = {"since": "", "until": "", "stores": []}


def of_backfill(day: datetime = DAY, *, kind: str = "backfill", **params: Any) -> Any:
    found = context(f"{kind}__{day.isoformat()}", **params)
    end = day.replace(day=day.day + 1)
    run = SimpleNamespace(run_type=kind, conf={})
    return found | {"dag_run": run, "data_interval_start": day, "data_interval_end": end}


def test_its_interval_goes_without_saying_and_what_the_form_says_goes_before_it() -> None:
    asked = asked_by(of_backfill(), "replay", FORM)
    assert asked.wanted == {
        "since": "2026-03-01T00:00:00+00:00",
        "until": "2026-03-02T00:00:00+00:00",
        "stores": [],
    }
    for said in ({"since": "2026-02-01T00:00Z"}, {"until": "2026-02-01T00:00Z"}):
        assert asked_by(of_backfill(), "replay", FORM | said).wanted == FORM | said
    # Of a run by hand Airflow makes up an interval, which nobody has asked for.
    assert asked_by(of_backfill(kind="manual"), "replay", FORM).wanted == FORM
    assert asked_by(of_backfill(), "trim", {"stores": []}).wanted == {"stores": []}
    assert not is_backfill(context())


def test_the_scheduler_has_no_runs_of_it_and_a_backfill_has() -> None:
    timetable = OnDemandIntervals("@daily", timezone="UTC")
    nobody = TimeRestriction(earliest=DAY, latest=None, catchup=False)
    assert timetable.next_dagrun_info(last_automated_data_interval=None, restriction=nobody) is None
    ours = TimeRestriction(earliest=DAY, latest=NEXT, catchup=True)  # type: ignore[arg-type]
    first = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=ours)
    assert first is not None
    assert first.data_interval == DataInterval(DAY, NEXT)  # type: ignore[arg-type]
    assert timetable.summary == "on demand (0 0 * * *)"


@pytest.fixture
def plans(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> ReplayPlanOperator:
    monkeypatch.setattr("streamer_airflow.operators.turns.executor_of", rig.executor_of)
    return ReplayPlanOperator(task_id="plan", kind="shelve", takes=("boxes",))


def planned(rig: Rig) -> dict[str, str]:
    books = rig.warehouse.executor().books()
    return {one.why.rpartition("__")[2][:10]: one.state for one in books.operations.values()}


def test_one_waits_without_a_slot_until_the_one_before_it_is_over(
    rig: Rig, plans: ReplayPlanOperator
) -> None:
    first = plans.execute(of_backfill(boxes=["a"]))
    later = of_backfill(NEXT, boxes=["b"])
    for again in (plans.execute, lambda where: plans.execute_again(where, {})):
        with pytest.raises(TaskDeferred):
            again(later)
    assert planned(rig) == {"2026-03-01": "planned"}
    assert plans.execute(of_backfill(boxes=["a"])) == first, "a second try finds its own"
    rig.warehouse.executor().start(first["operation"])
    plans.execute_again(later, {})
    assert planned(rig) == {"2026-03-01": "done", "2026-03-02": "planned"}


def test_of_two_that_have_planned_at_a_time_the_first_by_its_id_goes_on(
    rig: Rig, plans: ReplayPlanOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = {
        Asked("shelve", "dag", f"backfill__{day.isoformat()}").operation(): day
        for day in (DAY, NEXT)
    }
    (_low, winner), (_high, loser) = sorted(days.items())
    real, seen = ReplayPlanOperator._others, []

    def others(one: ReplayPlanOperator, asked: Asked) -> Any:
        seen.append(asked)
        if len(seen) == 1:
            # Behind this look the other one plans.
            found = real(one, asked)
            plans.execute(of_backfill(winner, boxes=["a"]))
            return found
        return real(one, asked)

    monkeypatch.setattr(ReplayPlanOperator, "_others", others)
    with pytest.raises(TaskDeferred):
        plans.execute(of_backfill(loser, boxes=["b"]))
    assert planned(rig) == {winner.isoformat()[:10]: "planned"}


def test_runs_by_hand_do_not_wait(rig: Rig, plans: ReplayPlanOperator) -> None:
    plans.execute(of_backfill(boxes=["a"]))
    told = plans.execute(of_backfill(NEXT, kind="manual", boxes=["b"]))
    assert told["operation"]
    assert len(planned(rig)) == 2


def test_an_operation_of_another_stage_of_the_run_is_its_own() -> None:
    asked = asked_by(of_backfill(), "replay", FORM)
    snapshots = Asked("snapshot", asked.dag, asked.run, "state of layout 2")
    assert asked.is_own(snapshots.why)
    assert asked.is_own(asked.why)
    assert not asked.is_own(asked_by(of_backfill(NEXT), "replay", FORM).why)
    assert not asked.is_own(asked.why + "0")


def test_what_begins_with_the_state_as_it_is_has_snapshots_made_of_it(
    rig: Rig, plans: ReplayPlanOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    plan = PlanOperator._planned

    def needs(one: Any, executor: Any, config: Any, asked: Asked, conductor: str) -> Any:
        if not made:
            raise SnapshotNeededError("no snapshot of layout 2", hint="make one")
        return plan(one, executor, config, asked, conductor)

    def makes(_one: Any, _executor: Any, _config: Any, asked: Asked, _conductor: str) -> None:
        made.append(asked.run)

    monkeypatch.setattr(PlanOperator, "_planned", needs)
    monkeypatch.setattr(ReplayPlanOperator, "_make_snapshots", makes)
    plans.execute(of_backfill(boxes=["a"]))
    assert made == ["backfill__2026-03-01T00:00:00+00:00"]
    assert planned(rig) == {"2026-03-01": "planned"}
