"""Drains: answered by name, over when nothing is held, and never begun twice."""

from __future__ import annotations

from streamer.cluster.events import Fenced
from streamer.control.identity import Incarnation
from streamer.control.requests import DrainRecord
from tests.unit.cluster.fleet import Fleet


def drain(number: str, *workers: str) -> DrainRecord:
    return DrainRecord(number=number, workers=workers)


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
