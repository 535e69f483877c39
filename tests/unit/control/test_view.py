"""Who has what, told from records and the group's members."""

from __future__ import annotations

from msgspec.structs import replace

from streamer.control.messages import AssignmentRecord, StandbyReport, StatusRecord, TaskReport
from streamer.control.view import TaskInfo, lags_of, tasks_of, workers_of
from streamer.ids import TopicPartition

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
    rows: dict[str, dict[str, object]] = {
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


def _info(task: str, lag: int | None) -> TaskInfo:
    return TaskInfo(
        task=task,
        worker="",
        state="waiting" if lag is None else "running",
        lag_records=lag,
        restore_left_records=None,
        positions={},
        is_moving=False,
    )


def _at(**positions: int) -> dict[TopicPartition, int]:
    return {TopicPartition(name[:-1], int(name[-1])): behind for name, behind in positions.items()}


def test_nobody_knows_the_lag_of_a_task_that_does_not_run() -> None:
    restoring = StatusRecord(
        format=1,
        number=1,
        worker="b",
        incarnation="bs.0",
        tasks={"0_1": TaskReport(state="restoring")},
    )
    told = {"a": status("a", "0_0"), "b": restoring}
    workers = workers_of({}, told, members={("b", "bs"): False}, now_ms=1_000)
    assert [each.lag_records for each in workers] == [None, None]
    granted_by = {"a": granted("a", "0_0"), "b": granted("b", "0_1")}
    tasks = tasks_of(granted_by, told, workers)
    assert [(each.task, each.lag_records, each.restore_left_records) for each in tasks] == [
        ("0_0", None, None),
        ("0_1", None, 0),
    ]


def test_nobody_waits_for_the_tasks_of_a_former_layout() -> None:
    here = replace(granted("a", "0_0"), shape="later")
    same, former = (
        replace(granted("b", "0_1", "0_7"), ended=True, shape=shape)
        for shape in ("later", "former")
    )
    members = {("a", "as"): True}
    _workers, tasks = look([here, same], [status("a", "0_0")], members)
    assert tasks.keys() == {"0_0", "0_1", "0_7"}
    _workers, tasks = look([here, former], [status("a", "0_0")], members)
    assert tasks.keys() == {"0_0"}


def test_the_lag_of_a_stopped_application_is_what_its_group_left_unread() -> None:
    tasks = [_info("0_0", None), _info("0_1", None), _info("0_2", 5)]
    behind = _at(in0=30, other0=4, in1=7, in2=100)
    assert lags_of(tasks, [], behind) == {"0_0": 34, "0_1": 7, "0_2": 5}


def test_what_its_last_owner_read_tells_what_a_task_reads() -> None:
    tasks = [_info("0_0", None), _info("1_0", None), _info("1_1", None)]
    last = StatusRecord(
        format=1,
        number=1,
        worker="a",
        incarnation="as.0",
        tasks={"0_0": TaskReport(state="running", positions={"in/0": 3})},
    )
    # Which of the two parts reads partition 0 of the other topic, nobody has said.
    behind = _at(in0=30, again0=4)
    assert lags_of(tasks, [last], behind) == {"0_0": 30, "1_0": None, "1_1": None}


def test_where_nothing_was_committed_nothing_is_known() -> None:
    assert lags_of([_info("0_0", None)], [], {}) == {"0_0": None}


def test_the_copies_of_a_task_are_those_of_workers_that_live_with_what_they_lack() -> None:
    def keeps(worker: str, *reports: StandbyReport) -> StatusRecord:
        told = {f"0_{number}": report for number, report in enumerate(reports)}
        return StatusRecord(
            format=1,
            number=1,
            worker=worker,
            incarnation=f"{worker}s.0",
            standbys=told,
            zone="az=1",
            host="h",
            capacity=200,
        )

    told = {
        "a": keeps("a", StandbyReport(lag_records=7), StandbyReport(state="failed")),
        "b": keeps("b", StandbyReport(lag_records=0), StandbyReport(lag_records=-1)),
        "dead": keeps("dead", StandbyReport(lag_records=0)),
        "owner": status("owner", "0_0"),
    }
    members = {(worker, f"{worker}s"): False for worker in ("a", "b", "owner")}
    workers = workers_of({}, told, members=members, now_ms=1_000)
    tasks = tasks_of({"owner": granted("owner", "0_0")}, told, workers)
    assert [(each.task, each.worker, each.standbys) for each in tasks] == [
        ("0_0", "owner", {"a": 7, "b": 0}),
        ("0_1", "", {"a": None, "b": None}),
    ]
    assert [each.standbys for each in workers] == [("0_0", "0_1"), ("0_0", "0_1"), ("0_0",), ()]
    first = workers[0]
    assert (first.zone, first.host, first.capacity) == ("az=1", "h", 200)


def test_a_worker_that_never_spoke_has_no_capacity() -> None:
    (worker,) = workers_of({"a": granted("a", "0_0")}, {}, members={}, now_ms=1_000)
    assert (worker.host, worker.capacity, worker.standbys) == ("", None, ())
