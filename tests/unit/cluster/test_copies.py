"""Copies in the controller's decisions: built before a task moves, promoted when one is gone."""

from __future__ import annotations

from streamer.cluster.attendance import SETTLE_MS
from streamer.cluster.events import Fence, Fenced, Members, Write
from streamer.cluster.hold import HOLD_MS
from streamer.control.identity import Incarnation
from tests.unit.cluster.fleet import DELAY_MS, Fleet


def test_a_newcomer_builds_copies_first_and_has_the_tasks_when_they_are_warm() -> None:
    fleet = Fleet("w1", lag=500)
    fleet.start("w2")
    fleet.settle()
    assert fleet.has("w1") == (4, 0)
    assert fleet.has("w2") == (0, 2)
    fleet.lag = 10
    fleet.settle()
    assert fleet.has("w1") == fleet.has("w2") == (2, 0)


def test_every_task_has_its_copy_elsewhere() -> None:
    fleet = Fleet("w1", "w2", "w3", standbys=1)
    for worker in fleet.alive:
        assert len(fleet.placed(worker)) == sum(fleet.has(worker))
    assert sum(fleet.has(worker)[1] for worker in fleet.alive) == 4
    alone = Fleet("w1", standbys=1)
    assert alone.has("w1") == (4, 0)


def test_the_warm_copy_of_a_dead_worker_takes_over_after_the_fence() -> None:
    fleet = Fleet("w1", "w2", standbys=1)
    lost = fleet.log["w1"].tasks
    fleet.die("w1")
    fleet.now_ms += SETTLE_MS
    (fence,) = fleet.hear(Members(frozenset({("w2", fleet.session("w2"))})))
    assert isinstance(fence, Fence)
    # A fence takes a moment, after which one record says all; where it takes longer, nobody waits.
    fleet.now_ms += HOLD_MS
    (write,) = fleet.hear()
    # It is asked for nothing yet; but the next controller knows that this is where tasks go.
    assert isinstance(write, Write)
    assert (write.records, {task for each in write.goal.values() for task in each.copies}) == (
        (),
        set(lost),
    )
    assert set(lost) <= set(fleet.log["w2"].standbys)
    fleet.hear(Fenced("w1", frozenset({Incarnation("w1-0", 0)})))
    assert fleet.has("w2") == (4, 0)


def test_a_worker_that_comes_back_in_time_moves_no_state() -> None:
    fleet = Fleet("w1", "w2", "w3", standbys=1)
    before = {worker: fleet.placed(worker) for worker in fleet.alive}
    fleet.leave("w1")
    fleet.settle()
    assert {worker: fleet.placed(worker) for worker in fleet.alive} == {
        worker: before[worker] for worker in ("w2", "w3")
    }
    assert fleet.has("w2")[0] + fleet.has("w3")[0] == 4
    fleet.start("w1")
    fleet.settle()
    assert {worker: fleet.placed(worker) for worker in fleet.alive} == before
    assert min(fleet.has(worker)[0] for worker in fleet.alive) >= 1


def test_the_copies_of_one_that_does_not_are_built_elsewhere() -> None:
    fleet = Fleet("w1", "w2", "w3", standbys=1)
    fleet.die("w1")
    fleet.settle()
    assert fleet.has("w2")[1] + fleet.has("w3")[1] < 4
    fleet.now_ms += DELAY_MS
    fleet.settle()
    assert fleet.has("w2")[1] + fleet.has("w3")[1] == 4


def test_a_new_controller_goes_on_with_moves_that_were_begun() -> None:
    fleet = Fleet("w1", lag=500)
    fleet.start("w2")
    fleet.settle()
    before = dict(fleet.log)
    fleet.replace_controller()
    fleet.settle()
    assert fleet.log == before
    fleet.lag = 0
    fleet.settle()
    assert fleet.has("w1") == fleet.has("w2") == (2, 0)


def test_a_new_controller_waits_for_those_that_its_predecessor_waited_for() -> None:
    fleet = Fleet("w1", "w2", "w3", standbys=1)
    before = {worker: fleet.placed(worker) for worker in fleet.alive}
    fleet.leave("w1")
    fleet.settle()
    fleet.replace_controller()
    fleet.settle()
    assert {worker: fleet.placed(worker) for worker in fleet.alive} == {
        worker: before[worker] for worker in ("w2", "w3")
    }
    fleet.start("w1")
    fleet.settle()
    assert {worker: fleet.placed(worker) for worker in fleet.alive} == before
    fleet.leave("w1")
    fleet.now_ms += DELAY_MS
    fleet.replace_controller()
    fleet.settle()
    assert sum(fleet.has(worker)[1] for worker in fleet.alive) == 4


def test_copies_are_in_other_zones_and_untagged_workers_have_nothing() -> None:
    fleet = Fleet("a1", "a2", "b1", standbys=1)
    fleet.zones = {"a1": "az=a", "a2": "az=a", "b1": "az=b"}
    fleet.settle()
    fleet.start("stray")
    fleet.settle()
    assert fleet.has("stray") == (0, 0)
    assert fleet.has("a1")[0] + fleet.has("a2")[0] + fleet.has("b1")[0] == 4
    assert not fleet.placed("a1") & fleet.placed("a2")
    assert len(fleet.placed("b1")) == 4
    placement = fleet.state.plan.placement
    assert placement is not None
    assert "untagged_workers" in [mode.name for mode in placement.modes]


def test_a_zone_that_is_lost_leaves_the_tasks_to_the_others() -> None:
    fleet = Fleet("a1", "a2", "b1", "b2", standbys=1)
    fleet.zones = {worker: f"az={worker[0]}" for worker in fleet.alive}
    fleet.settle()
    fleet.die("a1")
    fleet.die("a2")
    fleet.settle()
    assert fleet.has("b1")[0] + fleet.has("b2")[0] == 4
    fleet.now_ms += DELAY_MS
    fleet.settle()
    # There is one zone left: no place for a second copy.
    assert fleet.has("b1")[1] + fleet.has("b2")[1] == 0
    fleet.start("a1")
    fleet.settle()
    assert len(fleet.placed("a1")) == 4


def test_a_second_failure_while_copies_are_built() -> None:
    fleet = Fleet("w1", "w2", standbys=1, lag=500)
    fleet.start("w3")
    fleet.settle()
    fleet.die("w1")
    fleet.settle()
    fleet.die("w2")
    fleet.settle()
    assert fleet.has("w3")[0] == 4
