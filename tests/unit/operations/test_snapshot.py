"""The operation `snapshot`: it asks, waits until each task is through, and takes its order back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.messages import ChoreReport, TaskReport
from streamer.control.operations import OperationRecord
from streamer.control.orders import SNAPSHOT_KEY, SnapshotOrder, decode_order
from streamer.errors import ConfigError, OperationRefusedError
from streamer.ids import TopicPartition
from streamer.kafka.fake import FakeBroker
from streamer.operations import snapshot as module
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from streamer.operations.kinds import Kinds, Request
from streamer.operations.snapshot import Snapshot, Told, World
from streamer.testing.kills import (
    OperationScene,
    check_cancels,
    check_kills,
    check_zombies,
)

ORDERS = TopicPartition("app.orders", 0)
TASKS = ("0_0", "0_1", "0_2")


@dataclass
class Fleet:
    """A `World`: workers that make one snapshot each time somebody waits."""

    broker: FakeBroker
    clock: ManualClock
    place: TopicPartition = ORDERS
    repository: str = "file:///snapshots"
    made: set[tuple[str, str]] = field(default_factory=set)
    owners: dict[str, str] = field(default_factory=lambda: dict.fromkeys(TASKS, "w1"))
    # What is wrong with a task, and whether the repository is seen from here.
    broken: dict[str, str] = field(default_factory=dict)
    is_seen: bool = True
    durable: dict[str, dict[str, int]] = field(default_factory=dict)
    # What a task that is neither made nor broken says of the work on it.
    working: dict[str, ChoreReport] = field(default_factory=dict)
    meanwhile: Callable[[], None] = lambda: None

    def tasks(self) -> Mapping[str, Told]:
        return {task: self._told(task) for task in TASKS}

    def _told(self, task: str) -> Told:
        owner = self.owners[task]
        if not owner:
            return Told("", None)
        order, chore = self.order(), None
        if order is not None and (not order.tasks or task in order.tasks):
            state: Any = "waiting"
            if (order.operation, task) in self.made:
                state = "done"
            elif task in self.broken:
                state = "failed"
            chore = ChoreReport(
                operation=order.operation, state=state, why=self.broken.get(task, "")
            )
            if state == "waiting":
                chore = self.working.get(task, chore)
        durable = self.durable.get(task, {})
        return Told(owner, TaskReport(state="running", bytes=100, chore=chore, durable=durable))

    def order(self) -> SnapshotOrder | None:
        for record in reversed(self.broker.partition_records(ORDERS)):
            if record.value is None:
                return None
            found = decode_order(ORDERS.topic, (record.key or b"").decode(), record.value)
            assert isinstance(found, SnapshotOrder)
            return found
        return None

    def is_made(self, operation: str, task: str) -> bool:
        return self.is_seen and (operation, task) in self.made

    def now_ms(self) -> int:
        return 5

    def pause(self) -> None:
        self.clock.advance(1_000)
        self.meanwhile()
        order = self.order()
        if order is None:
            return
        for task in order.tasks or TASKS:
            is_able = self.owners[task] and task not in self.broken and task not in self.working
            if is_able and (order.operation, task) not in self.made:
                self.made.add((order.operation, task))
                return


class Kind(Snapshot):
    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def open(self, config: Config, request: Request) -> AbstractContextManager[World]:
        return nullcontext(self.fleet)


class Office:
    """A broker, a fleet, and any number of processes that carry out operations."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_000_000)
        self.broker = FakeBroker(partition_of=lambda _key, _count: 0, now_ms=self.clock.now_ms)
        self.broker.create(ORDERS.topic, 1)
        self.fleet = Fleet(self.broker, self.clock)
        self.seen: list[OperationRecord] = []

    def executor(self) -> Executor:
        return Executor(
            Config(application_id="app", bootstrap_servers="127.0.0.1:9"),
            FakeTable(self.broker, "app"),
            Kinds([Kind(self.fleet)]),
            clock=self.clock,
            pulses=False,
            notice=self.seen.append,
        )

    def run(self, **request: Any) -> OperationRecord:
        executor = self.executor()
        planned = executor.propose("snapshot", {"order": "one", **request}, operation="one")
        return executor.start(planned.id)


def scene(*, stands_alone: bool = True) -> OperationScene:
    office = Office()

    def end() -> object:
        made = sorted(task for _operation, task in office.fleet.made)
        return (office.fleet.order(), made) if stands_alone else office.fleet.order()

    return OperationScene(
        "snapshot",
        {"order": "one"},
        kinds=Kinds([Kind(office.fleet)]),
        broker=office.broker,
        clock=office.clock,
        end=end,
    )


@pytest.mark.slow
def test_killed_anywhere_it_ends_with_a_snapshot_of_each_task_and_no_order() -> None:
    clean = scene()
    clean.execute()
    assert clean.end() == (None, list(TASKS))
    assert len(check_kills(scene)) > 15


@pytest.mark.slow
def test_cancelled_anywhere_no_order_is_left() -> None:
    granted = check_cancels(lambda: scene(stands_alone=False), every=3)
    assert len(granted) > 10


@pytest.mark.slow
def test_a_process_that_was_replaced_gives_no_order_any_more() -> None:
    check_zombies(scene)


def test_it_tells_what_it_waits_for_and_names_a_task_that_nobody_runs() -> None:
    office = Office()
    office.fleet.owners["0_1"] = ""
    office.fleet.broken["0_2"] = "the bucket is full"
    looks = iter(range(100))

    def mended() -> None:
        look = next(looks)
        if look == 5:
            office.fleet.owners["0_1"] = "w2"
        if look == 8:
            office.fleet.broken.clear()

    office.fleet.meanwhile = mended
    record = office.run()
    assert record.state == "done"
    told = [
        step.progress
        for each in office.seen
        for step in each.steps
        if step.id == "wait" and step.progress is not None
    ]
    held = {progress.held_by for progress in told}
    assert "0_1 (nobody runs it), 0_2 (tried again by w1: the bucket is full)" in held
    assert told[0].bytes_total == 200
    assert (told[-1].bytes_done, told[-1].bytes_total) == (300, 300)
    assert told[-1].phase == "3 of 3 tasks have a snapshot"
    assert [step.said for step in record.steps] == [
        "the workers of 3 tasks are asked",
        "3 snapshots stand",
        "the order is taken back",
    ]


def test_where_nothing_moves_for_long_it_fails_with_the_reason_and_goes_on_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_STALLED_LOOKS", 20)
    office = Office()
    office.fleet.broken["0_2"] = "the bucket is full"
    record = office.run()
    assert record.state == "failed"
    assert record.trouble is not None
    assert "1 tasks say why: the bucket is full" in record.trouble.message
    assert office.fleet.order() is not None, "workers go on trying"
    office.fleet.broken.clear()
    assert office.executor().resume("one").state == "done"
    assert office.fleet.order() is None


def test_a_state_that_is_hashed_for_long_is_progress_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_STALLED_LOOKS", 20)
    office = Office()
    office.fleet.broken["0_2"] = "the bucket is full"
    looks = iter(range(200))

    def slowly() -> None:
        look = next(looks)
        phase, done = ("hash", look) if look < 50 else ("send", look - 50)
        office.fleet.working["0_1"] = ChoreReport(
            operation="one", state="working", bytes_done=2 * done, bytes_total=100, phase=phase
        )
        if look == 100:
            office.fleet.working.clear()
            office.fleet.broken.clear()

    office.fleet.meanwhile = slowly
    assert office.run().state == "done", "it comes on, though one task says why it does not"
    told = [
        step.progress
        for each in office.seen
        for step in each.steps
        if step.id == "wait" and step.progress is not None
    ]
    held = {progress.held_by for progress in told}
    assert "0_1 (hashing on w1), 0_2 (tried again by w1: the bucket is full)" in held
    assert "0_1 (sending on w1), 0_2 (tried again by w1: the bucket is full)" in held
    done = [progress.bytes_done for progress in told]
    assert done == sorted(done), "the phases are one way"
    assert done[-1] == told[-1].bytes_total == 300
    still_ms = max(progress.at_ms - progress.moved_ms for progress in told)
    assert still_ms < 5_000, "nothing stands still, so no alarm says so"


def test_tasks_that_nobody_runs_for_long_end_the_wait_and_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_STALLED_LOOKS", 20)
    office = Office()
    office.fleet.owners |= dict.fromkeys(TASKS, "")
    record = office.run()
    assert record.state == "failed"
    assert record.trouble is not None
    assert record.trouble.message == (
        "nothing has moved for long, and nobody runs 3 tasks: 0_0, 0_1, 0_2"
    )
    assert "start their workers" in record.trouble.hint
    # Each try looks for as long, and what is told says since when nothing has moved in all.
    [begun] = [step.progress for step in record.steps if step.progress]
    record = office.executor().resume("one")
    [again] = [step.progress for step in record.steps if step.progress]
    assert again.at_ms > begun.at_ms
    assert again.moved_ms == begun.moved_ms
    office.fleet.owners |= dict.fromkeys(TASKS, "w1")
    assert office.executor().resume("one").state == "done"


def test_an_order_that_somebody_took_away_is_missed_and_given_again() -> None:
    office = Office()
    office.fleet.owners["0_1"] = ""

    def taken() -> None:
        office.fleet.meanwhile = lambda: None
        office.broker.append(ORDERS, SNAPSHOT_KEY.encode(), None)

    office.fleet.meanwhile = taken
    record = office.run()
    assert record.state == "failed"
    assert record.trouble is not None
    assert "the order of one does not stand any more" in record.trouble.message
    office.fleet.owners["0_1"] = "w1"
    assert office.executor().resume("one").state == "done"


def test_a_repository_that_is_not_seen_from_here_does_no_harm() -> None:
    office = Office()
    office.fleet.is_seen = False
    assert office.run().state == "done"


def test_only_the_tasks_that_are_named_are_asked_for() -> None:
    office = Office()
    assert office.run(tasks=["0_1"]).state == "done"
    assert office.fleet.made == {("one", "0_1")}
    with pytest.raises(OperationRefusedError, match="has no task 0_9"):
        office.executor().plan("snapshot", {"order": "two", "tasks": ["0_9"]})
    with pytest.raises(OperationRefusedError, match="there is no task of which"):
        office.executor().plan("snapshot", {"order": "two", "subtopologies": [4]})
    plan = office.executor().plan("snapshot", {"order": "two", "subtopologies": [0]})
    assert plan.seen == {"tasks": list(TASKS)}


def test_the_tasks_of_a_store_are_those_whose_subtopology_tells_of_it() -> None:
    office = Office()
    office.fleet.durable = {"0_1": {"totals": 5}}
    plan = office.executor().plan("snapshot", {"order": "one", "stores": ["totals"]})
    assert plan.seen == {"tasks": list(TASKS)}, "one of them has not told yet"
    with pytest.raises(OperationRefusedError, match="no worker tells of a store lost") as refused:
        office.executor().plan("snapshot", {"order": "one", "stores": ["totals", "lost"]})
    assert refused.value.hint.startswith("stores are: totals;")


def test_a_request_names_its_order() -> None:
    with pytest.raises(OperationRefusedError, match="how the order is called"):
        Office().executor().plan("snapshot", {})


def test_the_plan_stays_the_same_while_owners_and_bytes_change() -> None:
    office = Office()
    before = office.executor().plan("snapshot", {"order": "one"}).id
    office.fleet.owners["0_1"] = ""
    assert office.executor().plan("snapshot", {"order": "one"}).id == before


def test_without_a_repository_it_is_refused_at_once_with_what_to_set() -> None:
    office = Office()
    office.fleet.repository = ""
    with pytest.raises(ConfigError, match="snapshot_repository is not set") as refused:
        office.run()
    assert "--repository ADDRESS" in refused.value.hint
    assert office.executor().books().operations == {}
    assert office.fleet.order() is None
