"""A survey and the plan of it, while copies come and go between the two."""

from __future__ import annotations

import pytest

from streamer.errors import OperationRefusedError
from streamer.operations.trim.proposing import LOOKS_MAX, propose_trim
from streamer.operations.trim.survey import Survey, survey
from tests.unit.operations.trim.rig import Application, usual
from tests.unit.operations.trim.test_trim import executor


class Looks:
    """Counts surveys; a survey asks for the control records twice, and the plan of it once."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.count = 0

    def __call__(self) -> Survey:
        self.count += 1
        return survey(self.application.world())


def copy_at(application: Application, at: int) -> None:
    application.gives("w2", role="standby")
    application.says("w2", at, role="standby")


def test_a_copy_that_comes_back_between_the_two_looks_keeps_what_it_needs() -> None:
    application = usual()
    look, reads = Looks(application), 0

    def comes(_what: str) -> None:
        nonlocal reads
        reads += 1
        if reads == 3:  # after the survey, before the plan
            copy_at(application, 300)

    application.control.before = comes
    found, record = propose_trim(executor(application), look, why="the disk is full")
    assert look.count == 2
    assert record is not None
    assert (record.plan.cost.records, record.why) == (300, "the disk is full")
    [part] = found.parts
    assert part.to == 300
    assert part.floor.limit.owner == "worker w2 (standby)"
    assert executor(application).start(record.id).state == "done"


def test_a_world_that_moves_each_time_is_told_after_a_few_looks() -> None:
    application = usual()
    look, at = Looks(application), 450

    def falls(_what: str) -> None:
        nonlocal at
        at -= 1
        copy_at(application, at)

    application.control.before = falls
    with pytest.raises(OperationRefusedError, match=r"is to begin at .*, and worker w2"):
        propose_trim(executor(application), look)
    assert look.count == LOOKS_MAX
    assert executor(application).books().operations == {}


def test_where_nothing_is_left_to_go_there_is_no_plan() -> None:
    application = usual()
    look, reads = Looks(application), 0

    def comes(_what: str) -> None:
        nonlocal reads
        reads += 1
        if reads == 3:
            application.gives("w2", role="standby")  # and has not told what its disk has

    application.control.before = comes
    found, record = propose_trim(executor(application), look)
    assert (look.count, record) == (2, None)
    [part] = found.parts
    assert part.floor.limit.kind == "unknown"


def test_a_plan_that_somebody_has_begun_is_not_replaced() -> None:
    application = usual()
    older = propose_trim(executor(application), Looks(application))[1]
    assert older is not None
    # It fails in the middle, and holds the application until somebody resumes it.
    application.logs.delete_before = lambda positions: None  # type: ignore[method-assign]
    assert executor(application).start(older.id).state == "failed"
    application.wait(1_000)
    application.snapshot(850)
    newer = propose_trim(executor(application), Looks(application))[1]
    assert newer is not None
    states = {one.id: one.state for one in executor(application).books().operations.values()}
    assert states == {older.id: "failed", newer.id: "planned"}


def test_one_that_begins_while_it_is_replaced_goes_on() -> None:
    application = usual()
    older = propose_trim(executor(application), Looks(application))[1]
    assert older is not None
    dropped = []

    def meanwhile(_what: str) -> None:
        if not dropped:  # it has the lock by now, and looks at the world
            dropped.append(executor(application).withdraw(older.id))

    application.control.before = meanwhile
    assert executor(application).start(older.id).state == "done"
    assert dropped == [False]
