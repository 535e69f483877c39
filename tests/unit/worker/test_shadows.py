"""Copies for the next layout: kept as ordered, told, and removed only when nobody can want them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer import metrics
from streamer.cluster.seat import Shadowed
from streamer.control.layouts import layout_record
from streamer.control.messages import StandbyReport
from streamer.control.orders import FORMAT, RebuildOrder, ShadowOrder
from streamer.errors import StateDirectoryError, StreamerError, TaskCorruptedError
from streamer.ids import FIRST_LAYOUT, Layout, TaskId, TopicPartition
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.store.directory import WorkerDirectory
from streamer.worker import shadows as module
from streamer.worker.shadow_marks import Mark, marks
from streamer.worker.shadows import Shadows, Standing

FIRST, SECOND = TaskId(0, 0), TaskId(0, 1)
NEXT = ApplicationLayout(Layout(2), {0: SubtopologyLayout(2, Layout(2), {"in": InputLayout(4)})})
OTHER = RebuildOrder(format=FORMAT, operation="rebuild-1", task="0_0", worker="w1")
GONE = TaskCorruptedError("the topic was made anew")


def order(*tasks: TaskId, operation: str = "fold-1", worker: str = "w1") -> ShadowOrder:
    return ShadowOrder(
        format=FORMAT,
        operation=operation,
        worker=worker,
        layout=layout_record("shop", NEXT),
        tasks=tuple(map(str, tasks)),
    )


class Database:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.was_empty = not (directory / "CURRENT").exists()
        (directory / "CURRENT").touch()
        self.is_closed = False

    def size_bytes(self) -> int:
        return 77

    def close(self) -> None:
        self.is_closed = True


class Restorer:
    """Follows what it is given; the test says how far each is, and what has ended."""

    def __init__(self) -> None:
        self.beside_processing = False
        self.followed: dict[TaskId, Any] = {}
        self.lags: dict[TaskId, int] = {}
        self.ended: list[tuple[TaskId, StreamerError | None]] = []

    def follow(self, task: TaskId, database: Database, changelogs: Any) -> None:
        assert not database.is_closed
        self.followed[task] = changelogs

    def cancel(self, *tasks: TaskId) -> None:
        for task in tasks:
            self.followed.pop(task, None)

    def finished(self) -> list[tuple[TaskId, StreamerError | None]]:
        ended, self.ended = self.ended, []
        return ended

    def lag(self, task: TaskId) -> int | None:
        return self.lags.get(task)

    def is_current(self, task: TaskId) -> bool:
        return self.lags.get(task) == 0

    def durable(self, task: TaskId) -> dict[str, int]:
        return {"counts": 5} if task in self.lags else {}


class Host:
    """A worker's disk, and what is on record elsewhere: `recorded` and `ordered`."""

    def __init__(self, state: Path) -> None:
        self.directory = WorkerDirectory.open(state, "shop", worker_id="w1")
        self.recorded = FIRST_LAYOUT
        self.ordered: ShadowOrder | None = None
        self.away: StreamerError | None = None
        self.looks = 0
        self.databases: list[Database] = []
        self.refusal: StreamerError | None = None
        self.begin()

    def begin(self) -> None:
        """As after a start."""
        self.restorer = Restorer()
        restorer: Any = self.restorer
        self.shadows = Shadows(
            self._open,
            lambda task, layout: {"counts": TopicPartition(f"c.layout-{layout.number}", task[1])},
            directory=self.directory,
            restorer=restorer,
            standing=self._standing,
            running=FIRST_LAYOUT,
            lag_max=10,
        )

    def _open(self, task: TaskId, path: Path) -> Any:
        if self.refusal is not None:
            raise self.refusal
        self.databases.append(Database(path))
        return self.databases[-1]

    def _standing(self) -> Standing:
        self.looks += 1
        if self.away is not None:
            raise self.away
        return Standing(self.recorded, self.ordered)

    def hear(self, *orders: Any, turns: int = 4) -> list[bool]:
        return [self.shadows.turn(orders) for _ in range(turns)]

    def settle(self, *orders: Any, leaves: set[str]) -> None:
        """Turn until these are left; where that is so before, until it was looked at twice."""
        looks = self.looks + (2 if self.marked() == leaves else 1)
        deadline = time.monotonic() + 40
        while (self.marked() != leaves or self.looks < looks) and time.monotonic() < deadline:
            self.shadows.turn(orders)
            time.sleep(0.001)
        assert self.marked() == leaves
        assert self.looks >= looks

    def marked(self) -> set[str]:
        return {one.path.name for one in marks(self.directory.path / "tasks") if one.path.exists()}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(module, "_LOOK_S", 0.0)
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    made = Host(tmp_path)
    yield made
    made.directory.close()
    for task in (FIRST, SECOND):
        metrics.forget_task(f"{task}.layout-2")


def test_they_are_opened_one_by_one_where_the_layout_will_have_them(host: Host) -> None:
    orders = (OTHER, order(FIRST, SECOND), order(FIRST, worker="w2"))
    assert host.hear(*orders) == [True, True, False, False]
    assert [one.directory for one in host.databases] == [
        host.directory.task(task, Layout(2)) for task in (FIRST, SECOND)
    ]
    assert host.restorer.followed == {
        task: {"counts": TopicPartition("c.layout-2", task.partition)} for task in (FIRST, SECOND)
    }
    assert host.restorer.beside_processing
    host.restorer.lags = {FIRST: 30}
    assert host.shadows.told() == Shadowed(
        "fold-1",
        {
            FIRST: StandbyReport(lag_records=30, bytes=77, durable={"counts": 5}),
            SECOND: StandbyReport(lag_records=-1, bytes=77),
        },
    )


def test_becoming_warm_is_told_at_once(host: Host) -> None:
    orders = (order(FIRST),)
    host.hear(*orders)
    host.restorer.lags = {FIRST: 11}
    assert host.shadows.turn(orders) is False
    host.restorer.lags = {FIRST: 10}
    assert host.shadows.turn(orders) is True
    assert host.shadows.turn(orders) is False


def test_nobody_asks_for_copies_of_a_layout_that_runs_or_of_another_worker(host: Host) -> None:
    host.shadows._running = Layout(2)
    assert host.hear(order(FIRST), order(FIRST, worker="w2")) == [False] * 4
    assert host.databases == []
    assert host.shadows.told() == Shadowed()


def test_without_an_order_they_are_closed_and_removed(host: Host) -> None:
    host.ordered = order(FIRST, SECOND)
    host.hear(host.ordered)
    host.ordered = None
    host.settle(leaves=set())
    assert all(one.is_closed for one in host.databases)
    assert host.restorer.followed == {}
    assert host.shadows.told() == Shadowed()
    # Nothing is left to look for.
    looks = host.looks
    host.hear()
    assert host.looks == looks


def test_what_is_recorded_by_then_is_kept(host: Host) -> None:
    """The order is taken back after the switch, and the worker may hear of that first."""
    host.hear(order(FIRST))
    host.recorded = Layout(2)
    host.settle(leaves={"0_0.layout-2"})
    assert host.databases[0].is_closed


def test_while_nobody_can_tell_they_are_kept(host: Host) -> None:
    host.hear(order(FIRST))
    host.away = StreamerError("the brokers are away")
    host.settle(leaves={"0_0.layout-2"})
    host.away = None
    host.settle(leaves=set())


def test_after_a_start_they_are_kept_until_the_order_is_heard(host: Host) -> None:
    host.ordered = order(FIRST)
    host.hear(host.ordered)
    host.shadows.close()
    host.begin()
    host.settle(leaves={"0_0.layout-2"})
    host.hear(order(FIRST))
    assert not host.databases[-1].was_empty
    assert FIRST in host.restorer.followed
    # One that was taken back while the worker was away.
    host.shadows.close()
    host.ordered = None
    host.begin()
    host.settle(leaves=set())


def test_a_task_that_goes_to_another_worker_alone_is_given_up(host: Host) -> None:
    host.hear(order(FIRST, SECOND))
    host.ordered = order(SECOND)
    host.settle(host.ordered, leaves={"0_1.layout-2"})
    assert [one.is_closed for one in host.databases] == [True, False]


def test_another_operation_begins_with_empty_ones(host: Host) -> None:
    host.hear(order(FIRST))
    host.hear(order(FIRST))  # given again: it goes on
    assert len(host.databases) == 1
    host.hear(order(FIRST, operation="fold-2"))
    assert [one.is_closed for one in host.databases] == [True, False]
    assert host.databases[1].was_empty
    assert host.shadows.told().operation == "fold-2"


def test_one_whose_state_is_wrong_is_made_anew_once_and_then_told(host: Host) -> None:
    orders = (order(FIRST),)
    host.hear(*orders)
    host.restorer.ended = [(FIRST, GONE)]
    host.hear(*orders)
    assert [one.is_closed for one in host.databases] == [True, False]
    assert host.databases[1].was_empty
    host.restorer.ended = [(FIRST, GONE)]
    assert host.hear(*orders)[0]
    assert len(host.databases) == 2
    (told,) = host.shadows.told().reports.values()
    assert told.state == "failed"
    assert told.chore is not None
    assert told.chore.why == "the topic was made anew"
    # Given again, it is tried again.
    host.hear(order(FIRST, SECOND))
    assert FIRST in host.restorer.followed


def test_what_the_disk_refuses_is_told_and_a_state_is_not_touched(host: Host) -> None:
    host.refusal = StateDirectoryError("the disk is full")
    state = host.directory.task(SECOND, Layout(2))
    state.mkdir(parents=True)
    host.hear(order(FIRST, SECOND))
    told = host.shadows.told().reports
    whys = {task: one.chore.why for task, one in told.items() if one.chore}
    assert whys[FIRST] == "the disk is full"
    assert "a state is there that is no copy for the next layout" in whys[SECOND]
    host.hear()
    assert state.exists()


def test_an_order_wants_its_own_copies_alone() -> None:
    def wanted(standing: Standing) -> bool:
        return standing.wants(Mark(Path("0_0.layout-2"), FIRST, Layout(2), "fold-1"))

    assert wanted(Standing(FIRST_LAYOUT, order(FIRST)))
    assert not wanted(Standing(FIRST_LAYOUT, order(SECOND)))
    assert not wanted(Standing(FIRST_LAYOUT, order(FIRST, operation="fold-2")))
    assert not wanted(Standing(FIRST_LAYOUT, None))
    assert wanted(Standing(Layout(2), None))
