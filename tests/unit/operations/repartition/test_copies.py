"""Who has which task of the next layout."""

from __future__ import annotations

from collections.abc import Iterable

from streamer.config import Config
from streamer.control.messages import StatusRecord, TaskReport
from streamer.ids import TaskId
from streamer.operations.repartition.copies import goal_of, placed
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import asked

CONFIG = Config(application_id=NAME, bootstrap_servers="127.0.0.1:9")


def status(worker: str, tasks: Iterable[str] = ()) -> StatusRecord:
    return StatusRecord(
        format=1,
        number=1,
        worker=worker,
        incarnation="0123456789abcdef.1",
        host=f"host-{worker}",
        tasks={task: TaskReport(state="running") for task in tasks},
    )


def test_tasks_that_are_not_moved_stay_however_uneven_that_is() -> None:
    """Nobody else keeps a copy of them: a goal that moved one would have it restored as a whole."""
    statuses = {
        "a": status("a", ["1_0", "1_1", "1_2"]),
        "b": status("b", ["1_3", "0_0", "0_1", "0_2", "0_3"]),
        "c": status("c"),
    }
    one = asked({0: 2})
    copies = placed(one, CONFIG, statuses, shadows={})
    stays = {task: each.active for task, each in copies.items() if task.subtopology == 1}
    assert stays == {TaskId(1, task): "a" if task < 3 else "b" for task in range(4)}
    assert {task for task in copies if task.subtopology == 0} == set(one.shadows)
    named = b"".join(value or b"" for _place, _key, value in goal_of(one, copies))
    assert all(str(task).encode() in named for task in copies), "none is left out"


def test_what_nobody_runs_is_given_to_somebody() -> None:
    statuses = {"a": status("a", ["1_0", "1_1", "1_2"])}
    copies = placed(asked({0: 2}), CONFIG, statuses, shadows={})
    assert copies[TaskId(1, 3)].active == "a"
