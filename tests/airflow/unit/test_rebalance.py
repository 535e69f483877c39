"""Moves are asked for once, have one time for all tries, and are not asked for after a stop."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from streamer.config import Config
from streamer.control.requests import ModeRecord
from streamer_airflow.operators.rebalance import RebalanceApproval, RebalanceOperator
from streamer_airflow.triggers.rebalance import MovesTrigger
from tests.airflow.unit.rig import context
from tests.unit.control.desk import Desk

HOUR_MS = 3_600_000
VIOLATED = (ModeRecord(name="zone_violations", concerns=2, examples=("0_1",)),)
FORM = {
    "always": False,
    "approval": "automatic",
    "answer_hours": 12,
    "spread_percent_max": 30,
    "bytes_max": 1_000,
    "tasks_max": 50,
    "moves_hours": 2,
}


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(monkeypatch)
    made.modes = VIOLATED
    hook = "streamer_airflow.hooks.application.ApplicationHook.config"
    monkeypatch.setattr(hook, lambda _hook: Config(application_id="app"))
    monkeypatch.setattr("streamer_airflow.deadlines.now_ms", made.clock.now_ms)
    monkeypatch.setattr("streamer_airflow.deadlines.LOOK_S", 1.0)
    return made


def approved(desk: Desk) -> Any:
    """What the approval gives to the next task."""
    desk.tell()
    return approval().execute(context(**FORM))


def approval() -> RebalanceApproval:
    return RebalanceApproval(task_id="approve")


def moves(shown: Any) -> RebalanceOperator:
    return RebalanceOperator(task_id="apply", approved=shown, patience_s=0.0)


def deferred(shown: Any, place: Any) -> MovesTrigger:
    with pytest.raises(TaskDeferred) as found:
        moves(shown).execute(place)
    trigger = found.value.trigger
    assert isinstance(trigger, MovesTrigger)
    return trigger


def test_all_tries_have_one_time(desk: Desk) -> None:
    shown, place = approved(desk), context(**FORM)
    desk.moves_left = 3
    until_ms = deferred(shown, place).until_ms
    assert until_ms == desk.asked()[-1].at_ms + 2 * HOUR_MS
    desk.clock.advance(HOUR_MS)
    assert deferred(shown, place).until_ms == until_ms
    desk.clock.advance(HOUR_MS)
    with pytest.raises(AirflowFailException, match="3 moves are left after 2 h 0 min"):
        moves(shown).execute(place)
    with pytest.raises(AirflowFailException, match="2 moves are left after 2 h 0 min"):
        moves(shown).execute_complete(place, {"moves_left": 2}, allowed="2 h 0 min")
    assert [one.id for one in desk.asked() if not one.stops] == ["p1"], "asked for once"


def test_moves_that_ended_while_airflow_was_away_are_seen(desk: Desk) -> None:
    shown, place = approved(desk), context(**FORM)
    desk.moves_left = 3
    deferred(shown, place)
    desk.clock.advance(5 * HOUR_MS)
    desk.moves_left = 0
    desk.tell()
    assert moves(shown).execute(place) == {"proposal": "p1", "moves_left": 0}
    said = moves(shown).execute_complete(place, {"moves_left": 0, "modes": []})
    assert said == {"proposal": "p1", "moves_left": 0}


def test_after_a_stop_no_try_moves_anything(desk: Desk) -> None:
    shown, place = approved(desk), context(**FORM)
    desk.moves_left = 3
    deferred(shown, place)
    desk.operator().stop(timeout_s=5)
    with pytest.raises(AirflowFailException, match=r"had every task stay.*\nhint: to move it"):
        moves(shown).execute_complete(place, {"moves_left": 0, "modes": []})
    with pytest.raises(AirflowFailException, match="had every task stay where it is since p1"):
        moves(shown).execute(place)
    assert desk.adopted[-1] == "stopped"
    # Nor does a try of the approval find a new placement in the same run.
    began = datetime.fromtimestamp(1_000, tz=UTC)
    place["dag_run"] = SimpleNamespace(start_date=began)
    with pytest.raises(AirflowFailException, match="since this run began"):
        approval().execute(place)
    assert desk.adopted[-1] == "stopped"


def test_what_is_not_violated_any_more_is_neither_offered_nor_approved(desk: Desk) -> None:
    shown = approved(desk)
    assert approval().change(shown, FORM) == ""
    desk.modes = ()
    desk.tell()
    assert "not violated any more" in approval().change(shown, FORM)
    assert approval().change(shown, FORM | {"always": True}) == ""
    assert approval().offer(context(**FORM)) is None
    offered = approval().offer(context(**{**FORM, "always": True}))
    assert offered is not None
    # The offer has made another proposal, of the same placement.
    assert offered.told[0]["proposal"] == "p1"
    desk.operator().stop(timeout_s=5)
    assert "had every task stay" in approval().change(offered.told, FORM | {"always": True})


def test_what_is_violated_is_of_the_moment_of_the_proposal(desk: Desk) -> None:
    desk.tell()
    desk.modes = ()
    assert approval().offer(context(**FORM)) is None, "the last plan was of another moment"
    desk.modes = VIOLATED
    offered = approval().offer(context(**FORM))
    assert offered is not None
    assert "zone_violations: 2 (0_1), 0 would be left" in offered.body


def test_a_task_that_is_killed_after_it_has_asked_is_asked_for_once(desk: Desk) -> None:
    shown, place = approved(desk), context(**FORM)
    desk.dies_after_writing = True
    with pytest.raises(SystemExit):
        moves(shown).execute(place)
    asked = desk.asked()[-1]
    desk.hear(asked)
    assert moves(shown).execute(place)["moves_left"] == 0
    assert [one.number for one in desk.asked()].count(asked.number) == 1
    assert desk.adopted.count("p1") == 1
