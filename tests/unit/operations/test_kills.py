"""The kill harness: operations that are right pass it, operations that are not are found."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from streamer import failpoints
from streamer.operations.kinds import Kinds
from streamer.operations.work import Work
from streamer.testing.kills import (
    OperationScene,
    check_cancels,
    check_kills,
    check_zombies,
    moments,
)
from tests.unit.operations.shelf import Put, Shelf, Shelving, Warehouse

INSIDE = "shelf.inside"


@pytest.fixture(autouse=True)
def _a_failpoint_inside_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "NAMES", failpoints.NAMES | {INSIDE})


def scene(kind: type[Shelving] = Shelving, **request: object) -> OperationScene:
    warehouse = Warehouse()
    warehouse.shelf.inside = lambda _box: failpoints.hit(INSIDE)
    return OperationScene(
        "shelve",
        {"boxes": ["a", "b"], **request},
        kinds=Kinds([kind(warehouse.shelf)]),
        broker=warehouse.broker,
        clock=warehouse.clock,
        end=lambda: _without_ids(warehouse.shelf),
    )


def _without_ids(shelf: Shelf) -> object:
    return sorted(shelf.boxes), sorted(shelf.brought), shelf.labels()[-1:]


@pytest.mark.slow
@pytest.mark.parametrize("when", ["done", "begun"])
def test_an_operation_that_is_killed_anywhere_is_resumed_to_the_same_end(when: str) -> None:
    tried = check_kills(lambda: scene(no_return_when=when), [INSIDE])
    assert {moment.point for moment in tried} >= {
        INSIDE,
        "operations.before_step",
        "operations.after_step",
        "operations.before_write",
        "operations.after_write",
        "operations.after_claim",
    }
    assert len(tried) > 20


@pytest.mark.slow
@pytest.mark.parametrize("when", ["done", "begun"])
def test_an_operation_that_is_cancelled_anywhere_before_its_point_leaves_nothing(
    when: str,
) -> None:
    granted = check_cancels(lambda: scene(no_return_when=when), [INSIDE])
    # Three steps, of which the last one has no way back.
    assert granted.count(("operations.before_step", 2)) == 1
    assert (("operations.before_step", 3) in granted) == (when == "done")
    assert ("operations.after_step", 3) not in granted


@pytest.mark.slow
def test_a_process_that_wakes_after_it_was_replaced_changes_nothing() -> None:
    assert check_zombies(scene, [INSIDE])


def test_a_place_that_is_never_reached_is_told() -> None:
    with pytest.raises(AssertionError, match=r"never comes by \['commit\.after_flush'\]"):
        moments(scene().execute, ["commit.after_flush"])


@dataclass(frozen=True)
class Counting(Put):
    """Wrong: what it does twice is there twice."""

    def run(self, world: Shelf, work: Work) -> str:
        world.inside(self.id)
        world.brought[f"{self.id}{len(world.brought)}"] = ""
        world.inside(self.id)
        world.boxes[self.id] = ""
        return ""


@dataclass(frozen=True)
class Forgetting(Put):
    """Wrong: it takes back only what it believes to have finished."""

    def undo(self, world: Shelf, work: Work) -> str:
        if self.id in world.boxes:
            super().undo(world, work)
        return ""


@dataclass(frozen=True)
class Wrong(Shelving):
    step: type[Put] = Put

    def steps(self, plan):  # type: ignore[no-untyped-def]
        return [self.step(one.id) if isinstance(one, Put) else one for one in super().steps(plan)]


@dataclass(frozen=True)
class Doubling(Wrong):
    step: type[Put] = Counting


@dataclass(frozen=True)
class Leaving(Wrong):
    step: type[Put] = Forgetting


@pytest.mark.slow
def test_a_step_that_must_not_run_twice_is_found() -> None:
    with pytest.raises(AssertionError, match=r"killed at .*shelf\.inside.* and resumed"):
        check_kills(lambda: scene(Doubling), [INSIDE])


@pytest.mark.slow
def test_an_undo_that_leaves_half_of_a_step_is_found() -> None:
    with pytest.raises(AssertionError, match=r"killed at .*shelf\.inside.*, the end is .*'a'"):
        check_cancels(lambda: scene(Leaving), [INSIDE])
