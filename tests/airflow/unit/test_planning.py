"""A run finds its operation, or plans it once; whoever is refused leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.errors import InternalTopicError, OperationRefusedError
from streamer.operations.executor import Executor
from streamer_airflow import planning
from streamer_airflow.planning import attached, latest, planned
from streamer_airflow.runs import Asked
from tests.airflow.unit.rig import Rig


def asked(*boxes: str, run: str = "run") -> Asked:
    return Asked("shelve", "dag", run, wanted={"boxes": boxes})


def plan(rig: Rig, one: Asked) -> str:
    with rig.executor_of(rig.config) as executor:
        record = planned(executor, rig.config, one)
    assert record is not None
    return record.id


def test_a_run_that_asks_again_finds_its_plan(rig: Rig) -> None:
    first = plan(rig, asked("a"))
    assert plan(rig, asked("a")) == first == asked("a").operation()
    books = rig.warehouse.executor().books()
    assert books.operations.keys() == {first}
    assert books.operation(first).why == "Airflow, DAG dag, run run"


def test_nothing_to_be_done_is_no_operation(rig: Rig) -> None:
    with rig.executor_of(rig.config) as executor:
        assert planned(executor, rig.config, asked()) is None
    assert rig.warehouse.executor().books().operations == {}


def test_a_plan_of_another_world_is_made_anew_under_the_same_name(rig: Rig) -> None:
    first = plan(rig, asked("a"))
    before = rig.warehouse.executor().books().operation(first).plan_id
    rig.warehouse.shelf.room = 9
    assert plan(rig, asked("a")) == first
    assert rig.warehouse.executor().books().operation(first).plan_id != before


def test_what_is_taken_back_is_what_was_shown_also_where_it_is_planned_anew(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = asked("a")
    shown = {"boxes": ["a"], "reverts": "repartition-1"}
    rig.warehouse.executor().propose("shelve", shown, why=one.why, operation=one.operation())
    rig.warehouse.shelf.room = 9
    proposed, anew = planning._proposed, []

    def seen(executor: Executor, config: Any, wanted: Asked) -> Any:
        anew.append(wanted.wanted)
        return proposed(executor, config, wanted)

    monkeypatch.setattr(planning, "_proposed", seen)
    with rig.executor_of(rig.config) as executor:
        planned(executor, rig.config, one)
    assert [each["reverts"] for each in anew] == ["repartition-1"]


def test_what_has_begun_stays_the_runs_own(rig: Rig) -> None:
    first = plan(rig, asked("a"))
    rig.warehouse.executor().start(first)
    rig.warehouse.shelf.room = 9
    assert plan(rig, asked("a", "b")) == first


def test_what_was_cancelled_after_it_had_begun_is_over(rig: Rig) -> None:
    first = plan(rig, asked("a"))

    def fails(_box: str) -> None:
        raise OSError("the lift is broken")

    rig.warehouse.shelf.inside = fails
    rig.warehouse.executor().start(first)
    rig.warehouse.shelf.inside = lambda _box: None
    rig.warehouse.executor().cancel(first)
    second = plan(rig, asked("a"))
    assert second == asked("a").operation(2)
    with rig.executor_of(rig.config) as executor:
        newest = latest(executor, asked("a"))
    assert newest is not None
    assert newest.id == second


def test_what_was_cancelled_before_it_began_is_planned_anew(rig: Rig) -> None:
    first = plan(rig, asked("a"))
    rig.warehouse.executor().cancel(first)
    assert plan(rig, asked("a")) == first
    assert rig.warehouse.executor().books().operation(first).state == "planned"


def test_the_newest_is_found_though_those_before_it_are_forgotten(rig: Rig) -> None:
    one = asked("a")
    executor = rig.warehouse.executor()
    for number in (2, 10):
        executor.propose("shelve", {"boxes": ["a"]}, operation=one.operation(number))
    executor.start(one.operation(10))
    executor.propose("shelve", {"boxes": ["a"]}, operation=f"{one.operation()}-x")
    executor.propose("shelve", {"boxes": ["a"]}, operation=f"{one.operation()}0-11")
    for found in (latest(executor, one), attached(executor, one)):
        assert found is not None
        assert found.id == one.operation(10)
    assert plan(rig, one) == one.operation(10)


def test_one_that_cannot_be_read_is_not_planned_a_second_time(rig: Rig) -> None:
    one = asked("a")
    rig.warehouse.table().put(f"operation/{one.operation()}", b'{"format":9}')
    with pytest.raises(InternalTopicError, match="format version 9"):
        plan(rig, one)


def test_a_plan_that_is_begun_while_it_is_made_anew_is_attached_to(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plan(rig, asked("a"))

    def faster(_executor: Executor, name: str) -> bool:
        rig.warehouse.shelf.room = 10
        rig.warehouse.executor().start(name)
        return False

    rig.warehouse.shelf.room = 9
    monkeypatch.setattr(Executor, "withdraw", faster)
    assert plan(rig, asked("a")) == first
    assert rig.warehouse.executor().books().operation(first).state == "done"


def test_a_second_run_is_refused_with_who_is_at_work_and_leaves_no_plan(rig: Rig) -> None:
    first = plan(rig, asked("a"))

    def fails(_box: str) -> None:
        raise OSError("the lift is broken")

    rig.warehouse.shelf.inside = fails
    assert rig.warehouse.executor().start(first).state == "failed"
    with pytest.raises(OperationRefusedError, match=f"held by operation {first} \\(shelve\\)"):
        plan(rig, asked("b", run="another"))
    assert rig.warehouse.executor().books().operations.keys() == {first}
