"""Drains: answered by name, over when nothing is held, and never begun twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamer.cluster.events import Fenced, Requested, Status
from streamer.cluster.work import Work
from streamer.control.identity import Incarnation
from streamer.control.requests import DrainRecord, RebalanceRecord
from tests.unit.cluster.fleet import DELAY_MS, TASKS, Fleet


def drain(number: str, *workers: str) -> DrainRecord:
    return DrainRecord(number=number, workers=workers)


def stop(drain: str | None) -> RebalanceRecord:
    return RebalanceRecord(number="stop", stops=True, drain=drain)


def half_way(*, standbys: int = 1) -> Fleet:
    """The drain `a` of w1, whose copies elsewhere are being built."""
    fleet = Fleet("w1", "w2", "w3", standbys=standbys)
    fleet.lag = 500
    fleet.settle()
    fleet.ask(drain("a", "w1"))
    fleet.settle()
    assert fleet.has("w1")[0] > 0
    return fleet


def test_it_is_answered_by_its_name_and_holds_until_the_worker_says_it_has_nothing() -> None:
    fleet = Fleet("w1", "w2")
    fleet.slow["w1"] = fleet.log["w1"].tasks
    assert (fleet.told.drain, fleet.told.holding) == ("", {})
    fleet.ask(drain("a", "w1"))
    fleet.settle()
    # Nothing is granted to it any more, and it has not let go.
    assert fleet.has("w1") == (0, 0)
    assert (fleet.told.drain, fleet.told.holding) == ("a", {"w1": 2})
    assert fleet.told.moves_left == 2
    assert fleet.told.staying == {}
    fleet.slow.clear()
    fleet.settle()
    assert (fleet.told.moves_left, fleet.told.holding) == (0, {})
    assert fleet.has("w2") == (4, 0)


def test_a_second_one_for_the_same_is_answered_without_a_new_placement() -> None:
    fleet = Fleet("w1", "w2")
    fleet.ask(drain("a", "w1"))
    fleet.settle()
    revision = fleet.state.plan.revision
    fleet.ask(drain("b", "w1"))
    fleet.settle()
    assert fleet.told.drain == "b"
    assert fleet.state.plan.revision == revision


def test_what_nobody_else_can_have_stays_and_is_told() -> None:
    fleet = Fleet("w1", "w2")
    fleet.ask(drain("a", "w1", "w2"))
    fleet.settle()
    assert fleet.told.drain == "a"
    assert fleet.told.holding == fleet.told.staying == {"w1": 2, "w2": 2}
    fleet.start("w3")
    fleet.settle()
    assert fleet.told.holding == fleet.told.staying == {}
    assert fleet.has("w3") == (4, 0)


def test_a_drained_worker_that_waits_for_a_cold_copy_is_relieved_once_it_is_warm() -> None:
    fleet = Fleet("w1", "w2", standbys=1)
    fleet.lag = 500
    fleet.settle()
    fleet.ask(drain("a", "w1"))
    fleet.settle()
    assert fleet.told.holding
    assert fleet.told.staying == {}
    fleet.lag = 0
    fleet.settle()
    assert fleet.told.holding == {}
    assert fleet.has("w1") == (0, 0)
    assert fleet.has("w2")[0] == 4


def test_a_new_controller_goes_on_with_it_and_hears_one_that_came_meanwhile() -> None:
    fleet = Fleet("w1", "w2", "w3", lag=500)
    fleet.ask(drain("a", "w1"))
    fleet.settle()
    target = dict(fleet.state.plan.target)
    fleet.replace_controller()
    fleet.settle()
    assert fleet.state.plan.target == target
    assert (fleet.told.drain, fleet.told.draining) == ("a", ("w1",))
    # Taken back while there was no controller: that is no drain of nobody.
    fleet.standing[DrainRecord] = drain("b")
    fleet.replace_controller()
    fleet.lag = 0
    fleet.settle()
    assert (fleet.told.drain, fleet.told.draining) == ("b", ())
    assert fleet.has("w1")[0] > 0


def test_one_that_was_fenced_and_comes_back_is_not_done() -> None:
    fleet = Fleet("w1", "w2", standbys=1)
    fleet.lag = 500
    fleet.settle()
    fleet.ask(drain("a", "w1"))
    fleet.settle()
    assert fleet.told.holding == {"w1": 2}
    fleet.now_ms += 2_000
    fleet.hear(Fenced("w1", frozenset({Incarnation(fleet.session("w1"))})))
    # It owns nothing at this moment, and is given both again.
    assert fleet.log["w1"].ended
    assert fleet.told.holding == {"w1": 2}
    fleet.die("w1")
    fleet.settle()
    assert fleet.told.holding == {}


@pytest.mark.parametrize("named", ["a", None])
@pytest.mark.parametrize("standbys", [0, 1])
def test_one_that_is_stopped_moves_nothing_when_its_copies_become_warm(
    named: str | None, standbys: int
) -> None:
    fleet = half_way(standbys=standbys)
    had = fleet.owners()
    fleet.ask(stop(named))
    fleet.lag = 0
    fleet.settle()
    assert fleet.owners() == had
    assert (fleet.told.drain, fleet.told.halted) == ("a", "a")
    assert fleet.told.rebalance == ("stop", "stopped")
    # What it keeps is told, and is not said to have no other place.
    assert fleet.told.holding == {"w1": sum(fleet.has("w1"))}
    assert (fleet.told.staying, fleet.told.moves_left) == ({}, 0)


def test_one_that_is_stopped_while_its_copies_are_warm_already_moves_none_of_them() -> None:
    fleet = half_way()
    had = fleet.owners()
    fleet.lag = 0
    # What the workers say of their copies and the stop come in one turn.
    fleet.standing[RebalanceRecord] = stop("a")
    fleet.hear(Requested(stop("a")), *(Status(fleet.status(each)) for each in fleet.alive))
    fleet.settle()
    assert fleet.owners() == had


def test_the_next_controller_does_not_take_up_what_was_stopped() -> None:
    fleet = half_way()
    had = fleet.owners()
    fleet.ask(stop("a"))
    fleet.replace_controller()
    fleet.lag = 0
    fleet.settle()
    assert (fleet.owners(), fleet.told.halted) == (had, "a")
    # Neither does one that cannot go on with the placement, and makes its own.
    fleet.work = Work(TASKS, policy=replace(fleet.work.policy, zone_policy="relaxed"))
    fleet.replace_controller()
    fleet.settle()
    assert (fleet.owners(), fleet.told.halted) == (had, "a")


def test_a_stop_that_no_controller_has_seen_comes_before_the_drain_that_it_names() -> None:
    fleet = Fleet("w1", "w2", standbys=1)
    had = fleet.owners()
    fleet.standing = {DrainRecord: drain("a", "w1"), RebalanceRecord: stop("a")}
    fleet.replace_controller()
    fleet.settle()
    assert (fleet.owners(), fleet.told.drain, fleet.told.halted) == (had, "a", "a")
    # One that was asked for after the stop is no part of it.
    fleet.standing = {DrainRecord: drain("b", "w1"), RebalanceRecord: stop("a")}
    fleet.replace_controller()
    fleet.settle()
    assert (fleet.has("w1"), fleet.told.drain) == ((0, 0), "b")


def test_its_workers_keep_what_they_have_and_are_given_nothing_when_others_go() -> None:
    fleet = Fleet("w1", "w2", "w3", "w4", standbys=1)
    fleet.lag = 500
    fleet.settle()
    fleet.ask(drain("a", "w1", "w4"))
    fleet.ask(stop("a"))
    fleet.lag = 0
    fleet.settle()
    had = {worker: fleet.placed(worker) for worker in ("w1", "w4")}
    assert all(had.values())
    fleet.start("w5")
    fleet.settle()
    assert {worker: fleet.placed(worker) for worker in had} == had
    fleet.die("w2")
    fleet.now_ms += DELAY_MS
    fleet.settle()
    # Each task has an owner, those of the dead one among them.
    assert sorted(fleet.owners()) == sorted(map(str, TASKS))
    assert {worker: fleet.placed(worker) for worker in had} == had
    # Where nobody else is left, they are given what would run nowhere.
    for worker in ("w3", "w5", "w4"):
        fleet.die(worker)
    fleet.now_ms += DELAY_MS
    fleet.settle()
    assert fleet.has("w1")[0] == len(TASKS)


def test_what_had_been_emptied_before_the_stop_stays_empty() -> None:
    fleet = Fleet("w1", "w2", "w3")
    fleet.ask(drain("a", "w1"))
    fleet.settle()
    fleet.ask(stop("a"))
    fleet.start("w4")
    fleet.settle()
    assert fleet.has("w1") == (0, 0)
    assert fleet.told.draining == ("w1",)


def test_the_same_asked_for_again_goes_on_and_one_taken_back_fills_it() -> None:
    fleet = half_way()
    fleet.ask(stop("a"))
    fleet.lag = 0
    fleet.settle()
    fleet.ask(drain("b", "w1"))
    fleet.settle()
    assert (fleet.has("w1"), fleet.told.drain) == ((0, 0), "b")
    fleet.ask(drain("c"))
    fleet.settle()
    assert fleet.has("w1")[0] > 0


def test_a_drain_of_others_leaves_what_was_stopped_where_it_is() -> None:
    fleet = half_way()
    fleet.ask(stop("a"))
    fleet.lag = 0
    fleet.settle()
    had = fleet.placed("w1")
    fleet.ask(DrainRecord(number="b", follows="a", workers=("w1", "w2"), kept=("w1",)))
    fleet.settle()
    assert fleet.has("w2") == (0, 0)
    assert fleet.placed("w1") == had
    assert fleet.told.holding == {"w1": len(had)}


def test_a_stop_ends_no_drain_that_came_after_it() -> None:
    fleet = Fleet("w1", "w2")
    fleet.ask(drain("a", "w1"))
    fleet.ask(stop("an older one"))
    fleet.settle()
    assert fleet.has("w1") == (0, 0)


def test_a_placement_says_which_tasks_it_is_about_and_why() -> None:
    fleet = Fleet("w1", "w2", standbys=1)
    fleet.lag = 500
    fleet.settle()
    fleet.ask(drain("a", "w1"))
    fleet.settle()
    assert fleet.told.why == "a drain was asked for"
    kept = sorted(task for task, worker in fleet.owners().items() if worker == "w1")
    fleet.lag = 0
    fleet.settle()
    assert fleet.told.why == f"warm elsewhere, and still on drained workers: {', '.join(kept)}"
    fleet.zones["w2"] = "az=b"
    fleet.settle()
    assert fleet.told.why == "w2 came back with another zone, host or capacity"
    fleet.standing.clear()
    fleet.work = Work(TASKS, policy=replace(fleet.work.policy, zone_policy="relaxed"))
    fleet.replace_controller()
    fleet.settle()
    assert fleet.told.why == "4 tasks are placed anew: where they were to go is not known"


def test_where_nobody_may_have_a_task_it_is_said_why() -> None:
    fleet = Fleet("w1", "w2")
    fleet.ask(drain("a", "w1", "w2"))
    fleet.settle()
    [mode] = fleet.told.modes
    assert (mode.name, mode.until) == ("no_workers", "a worker that is ready: 2 are drained")
