"""Workers and controllers of another topology: refused, replaced, and in nobody's way."""

from __future__ import annotations

from streamer.cluster.attendance import COMING_MS, SETTLE_MS
from streamer.cluster.events import (
    Resign,
)
from streamer.control.requests import PlanRecord
from streamer.topology.shape import Shape
from tests.unit.cluster.office import Office, fences

OLD, NEW = Shape(("reads a", "reads b")), Shape(("reads b", "reads a"))


def fleet(*names: str, shape: Shape = OLD) -> Office:
    """A controller of this shape and its workers, who have their tasks."""
    office = Office(shape=shape)
    for name in names:
        office.status(f"{name}.0", shape=shape)
    office.members(*names)
    office.wait(SETTLE_MS)
    for name in names:
        office.status(f"{name}.0", *office.tasks(name.split("#")[0]), shape=shape)
    return office


def test_a_worker_of_another_topology_is_refused_and_moves_nothing() -> None:
    office = fleet("w1#s1", "w2#s2")
    before = office.tasks("w1"), office.tasks("w2")
    office.members("w1#s1", "w2#s2", "w3#s3")
    office.status("w3#s3.0", shape=NEW)
    refusal = office.log["w3"]
    assert (refusal.incarnation, refusal.ended, refusal.tasks) == ("s3.0", True, ())
    assert (refusal.shape, refusal.topology) == (OLD.digest, OLD.parts)
    assert office.wait(10 * COMING_MS) == []
    assert (office.tasks("w1"), office.tasks("w2")) == before


def test_one_that_comes_back_with_another_topology_is_replaced_at_once() -> None:
    office = fleet("w1#s1", "w2#s2")
    office.status("w1#s1.0", left=True, shape=OLD)
    office.members("w1#s3", "w2#s2")
    office.status("w1#s3.0", shape=NEW)
    assert len(office.tasks("w2")) == 4
    assert (office.log["w1"].incarnation, office.log["w1"].shape) == ("s3.0", OLD.digest)


def test_a_worker_of_a_release_that_does_not_tell_belongs_to_all() -> None:
    office = fleet("w1#s1")
    office.status("w2#s2.0")
    office.members("w1#s1", "w2#s2")
    office.wait(SETTLE_MS)
    assert len(office.log["w1"].releasing) == 2
    assert office.log["w2"].shape == OLD.digest


def test_a_controller_of_another_topology_resigns_while_its_owners_live() -> None:
    office = fleet("w1#s1", "w2#s2")
    told = PlanRecord(controller="boss", shape=OLD.digest, topology=OLD.parts)
    later = Office(office.log.values(), shape=NEW, told=[told])
    later.number = 100
    later.status("w3#s3.0", shape=NEW)
    # Listed, but nobody knows yet whether they live.
    assert later.members("w1#s1", "w2#s2", "w3#s3") == []
    assert later.wait(10 * COMING_MS) == []
    assert later.status("w2#s2.0", *office.tasks("w2"), shape=OLD) == [Resign(OLD.parts)]
    assert later.log == office.log


def test_dead_owners_of_another_topology_are_fenced_and_in_nobodys_way() -> None:
    office = fleet("w1#s1", "w2#s2")
    later = Office(office.log.values(), shape=NEW)
    later.number = 100
    later.status("w3#s3.0", shape=NEW)
    assert later.members("w1#s1", "w2#s2", "w3#s3") == []
    later.status("w2#s2.0", left=True, shape=OLD)
    assert fences(later.members("w3#s3")) == ["w1"]
    assert later.wait(10 * SETTLE_MS) == []  # what it may own could be any task of these
    later.fenced("w1", "s1.0")
    later.wait(SETTLE_MS)
    assert len(later.tasks("w3")) == 4
    assert later.log["w3"].shape == NEW.digest
    assert later.log["w1"].ended
    # Where those tasks were says nothing of these.
    assert not later.state.plan.former
