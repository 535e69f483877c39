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
from streamer_airflow import intervals
from streamer_airflow.intervals import OnDemandIntervals
from streamer_airflow.operators import turns
from streamer_airflow.operators.operation import PlanOperator
from streamer_airflow.operators.settle import SettleOperator
from streamer_airflow.operators.turns import ReplayPlanOperator
from streamer_airflow.runs import Asked, asked_by, is_backfill
from tests.airflow.unit.rig import Rig, context

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NEXT = datetime(2026, 3, 2, tzinfo=UTC)
FORM: Mapping[str, Any] = {"since": "", "until": "", "stores": []}


def of_backfill(day: datetime = DAY, *, kind: str = "backfill", **params: Any) -> Any:
    found = context(f"{kind}__{day.isoformat()}", **params)
    end = day.replace(day=day.day + 1)
    run = SimpleNamespace(run_type=kind, conf={}, start_date=None)
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


def test_what_is_no_interval_is_told_by_the_name_of_its_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intervals, "replay_interval", lambda: "daily")
    with pytest.raises(ValueError, match=r"\[streamer\] replay_interval is 'daily', which is no"):
        intervals.configured()
    monkeypatch.setattr(intervals, "replay_interval", lambda: "@hourly")
    assert intervals.configured().summary == "on demand (0 * * * *)"


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


@pytest.mark.parametrize("days", [(DAY, NEXT), (NEXT, DAY)])
def test_of_two_that_plan_at_a_time_one_goes_on_at_most(
    rig: Rig, plans: ReplayPlanOperator, monkeypatch: pytest.MonkeyPatch, days: Any
) -> None:
    first, second = days
    real = PlanOperator.execute

    def late(one: Any, where: Any) -> Any:
        # Behind its look and before its own plan the other one plans.
        monkeypatch.setattr(PlanOperator, "execute", real)
        plans.execute(of_backfill(first, boxes=["a"]))
        return real(one, where)

    monkeypatch.setattr(PlanOperator, "execute", late)
    with pytest.raises(TaskDeferred):
        plans.execute(of_backfill(second, boxes=["b"]))
    assert planned(rig) == {first.isoformat()[:10]: "planned"}


def test_nobody_waits_with_a_plan_of_its_own(rig: Rig, plans: ReplayPlanOperator) -> None:
    """As after two that were killed right behind their plans: each would wait for the other."""
    for day in (DAY, NEXT):
        PlanOperator(task_id="plan", kind="shelve", takes=("boxes",)).execute(
            of_backfill(day, boxes=["a"])
        )
    with pytest.raises(TaskDeferred):
        plans.execute(of_backfill(boxes=["a"]))
    assert planned(rig) == {"2026-03-02": "planned"}
    assert plans.execute(of_backfill(NEXT, boxes=["a"]))["state"] == "planned"


def test_what_is_done_is_done_again_for_a_backfill_that_comes_after_it(
    rig: Rig, plans: ReplayPlanOperator
) -> None:
    first = plans.execute(of_backfill(boxes=["a"]))
    rig.warehouse.executor().start(first["operation"])
    ended_ms = rig.warehouse.executor().books().operation(first["operation"]).ended_ms
    for since, again in ((-1, False), (1, True)):
        where = of_backfill(boxes=["a"])
        where["dag_run"].start_date = datetime.fromtimestamp((ended_ms + since) / 1000, UTC)
        told = plans.execute(where)
        assert (told["operation"] != first["operation"]) is again
        assert told["state"] == ("planned" if again else "done")


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
    plan = turns.planned

    def needs(executor: Any, config: Any, asked: Asked, **given: Any) -> Any:
        if not made:
            raise SnapshotNeededError("no snapshot of layout 2", hint="make one")
        return plan(executor, config, asked, **given)

    def makes(_one: Any, _executor: Any, _config: Any, asked: Asked, _context: Any) -> None:
        made.append(asked.run)

    monkeypatch.setattr(turns, "planned", needs)
    monkeypatch.setattr(ReplayPlanOperator, "_make_snapshots", makes)
    plans.execute(of_backfill(boxes=["a"]))
    assert made == ["backfill__2026-03-01T00:00:00+00:00"]
    assert planned(rig) == {"2026-03-01": "planned"}


def test_what_a_run_has_made_by_the_way_is_settled_with_it(rig: Rig) -> None:
    asked = Asked("shelve", "dag", "run", "state of layout 2")
    executor = rig.warehouse.executor()
    executor.propose("shelve", {"boxes": ["a"]}, why=asked.why, operation=asked.operation())
    SettleOperator(task_id="settle", kind="another", beside="shelve").execute(context())
    assert rig.warehouse.executor().books().operations == {}
