"""Who has what, told from records and the group's members."""

from __future__ import annotations

from streamer.control.messages import AssignmentRecord, StatusRecord, TaskReport
from streamer.control.view import tasks_of, workers_of

RUNNING = TaskReport(state="running", lag_records=4)


def granted(worker: str, *tasks: str, ended: bool = False) -> AssignmentRecord:
    return AssignmentRecord(
        format=1, version=1, worker=worker, incarnation=f"{worker}s.0", tasks=tasks, ended=ended
    )


def status(worker: str, *tasks: str, left: bool = False) -> StatusRecord:
    return StatusRecord(
        format=1,
        number=1,
        worker=worker,
        incarnation=f"{worker}s.0",
        tasks=dict.fromkeys(tasks, RUNNING),
        left=left,
        at_ms=900,
    )


def look(
    assignments: list[AssignmentRecord],
    statuses: list[StatusRecord],
    members: dict[tuple[str, str], bool],
) -> tuple[dict[str, dict[str, object]], dict[str, tuple[str, str, bool]]]:
    granted_by = {each.worker: each for each in assignments}
    told_by = {each.worker: each for each in statuses}
    workers = workers_of(granted_by, told_by, members=members, now_ms=1_000)
    tasks = tasks_of(granted_by, told_by, workers)
    rows = {
        each.worker: {
            "alive": each.is_alive,
            "controller": each.is_controller,
            "assigned": each.assigned,
            "tasks": each.tasks,
            "lag": each.lag_records,
            "age": each.status_age_ms,
        }
        for each in workers
    }
    return rows, {each.task: (each.worker, each.state, each.is_moving) for each in tasks}


def test_two_workers_at_work() -> None:
    workers, tasks = look(
        [granted("a", "0_0", "0_10"), granted("b", "0_9")],
        [status("a", "0_10", "0_0"), status("b", "0_9")],
        {("a", "as"): True, ("b", "bs"): False},
    )
    assert workers["a"] == {
        "alive": True,
        "controller": True,
        "assigned": ("0_0", "0_10"),
        "tasks": ("0_0", "0_10"),
        "lag": 8,
        "age": 100,
    }
    assert not workers["b"]["controller"]
    assert list(tasks) == ["0_0", "0_9", "0_10"]
    assert tasks["0_9"] == ("b", "running", False)


def test_a_task_on_its_way_is_shown_where_it_still_is() -> None:
    _, tasks = look(
        [granted("a", "0_0"), granted("b", "0_1")],
        [status("a", "0_0", "0_1"), status("b")],
        {("a", "as"): True, ("b", "bs"): False},
    )
    assert tasks["0_1"] == ("a", "running", True)


def test_the_tasks_of_a_dead_worker_wait() -> None:
    workers, tasks = look([granted("a", "0_0")], [status("a", "0_0")], {})
    assert workers["a"]["alive"] is False
    assert tasks["0_0"] == ("a", "waiting", False)


def test_a_worker_that_left_owns_nothing_though_still_listed() -> None:
    workers, tasks = look(
        [granted("a", "0_0", ended=True)], [status("a", left=True)], {("a", "as"): False}
    )
    assert workers["a"]["alive"] is False
    assert workers["a"]["assigned"] == ()
    assert tasks["0_0"] == ("", "waiting", False)


def test_a_worker_known_by_its_assignment_alone() -> None:
    workers, _ = look([granted("a", "0_0")], [], {("a", "as"): False})
    assert workers["a"]["alive"] is True
    assert workers["a"]["age"] == -1
