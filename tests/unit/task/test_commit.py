"""The order of a commit, and what is left where it is cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer import App, ProcessingError, failpoints
from streamer.changelog.format import Positions
from streamer.config import Config
from streamer.errors import FencedError, InvariantError, StateDirectoryError
from streamer.failpoints import InjectedError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import AbortableError, Committed
from streamer.kafka.fake import FakeBroker, FakeProducer, FakeReader
from streamer.store.closing import Closing, Passed
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.task.active import ActiveTask
from streamer.task.build import Plan, changelogs, input_partitions
from streamer.task.commit import TaskFailedError, commit
from streamer.task.input import TaskInput
from streamer.task.lifecycle import TaskState, checked_move
from streamer.task.metadata import Metadata, input_mark, marks, store_mark
from streamer.topology.partitioner import partition_of
from streamer.topology.stores import Store, StoreKind

TASK = TaskId(0, 0)
IN, CHANGELOG = TopicPartition("in", 0), TopicPartition("app-s-changelog", 0)


def application() -> App:
    app = App("app")
    app.stream("in", key=str, value=int).group_by_key().reduce(
        lambda one, other: one + other, store="s"
    ).to("out")
    return app


def beside(stream_time_ms: int) -> str:
    """What the task of `application` writes beside its positions."""
    return Metadata(stream_time_ms, marks(["in"], [Store("s", str, int).spec()])).encode()


class Worker:
    """One task over a broker in memory, put together as a worker does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.topology = application().topology()
        self.config = Config(application_id="app", state_dir=directory)
        self.broker = FakeBroker(partition_of=partition_of, now_ms=lambda: 7)
        for topic in ("in", "out", "app-s-changelog"):
            self.broker.create(topic, 1)
        self.task: ActiveTask
        self.begin()

    def begin(self, *, position: int = 0, stream_time_ms: int = -1) -> None:
        self.reader: FakeReader = self.broker.reader("app")
        self.producer: FakeProducer = self.broker.producer("app-1")
        self.producer.init()
        plan = Plan(
            topology=self.topology,
            config=self.config,
            output=self.producer,
            wall_time_ms=lambda: 7,
            recent_bytes=100_000,
        )
        database = TaskDatabase.open(
            self.directory / "0_0",
            self.topology.stores,
            pool=MemoryPool(1 << 20, 1 << 20),
            options={},
        )
        self.task = ActiveTask(
            TASK,
            database=database,
            changelogs=changelogs(self.topology, TASK),
            partitions=input_partitions(self.topology, TASK, {"in": 1}),
        )
        self.task.move(TaskState.RESTORING)
        stored = Positions.decode(database.metadata())
        self.task.start(
            plan.pipeline(
                TASK,
                database,
                stream_time_ms=stream_time_ms,
                times={},
                closings={},
                recent_bytes=100_000,
            ),
            TaskInput(self.task.partitions, records_max=100),
            positions={IN: position},
            changelog_ends=stored.changelogs,
        )
        self.reader.add({IN: position})

    def send(self, *values: int) -> None:
        for value in values:
            self.broker.append(IN, b"k", value.to_bytes(8, "big"), timestamp_ms=value)

    def process(self) -> None:
        fetched = self.reader.fetch(100, 0)
        for batch in fetched.batches:
            self.task.add(batch)
        for place, end in fetched.ends.items():
            self.task.input.reached_end(place, end)
        self.task.process(0)

    def commit(self) -> dict[ActiveTask, Any]:
        return commit([self.task], self.producer, self.reader, now_ms=99)

    def results(self) -> list[int]:
        return [int.from_bytes(one.value, "big") for one in self.broker.records("out")]

    def stored(self) -> Positions:
        return Positions.decode(self.task.database.metadata())


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    if worker.task.state is not TaskState.CLOSED:
        worker.task.close()


def test_a_commit_moves_everything_together(worker: Worker) -> None:
    worker.send(1, 5, 3)
    worker.process()
    assert worker.task.needs_commit
    assert worker.results() == []
    assert worker.task.database.get("s", b"k") is None
    assert worker.commit() == {}
    assert not worker.task.needs_commit
    assert worker.results() == [9]
    assert worker.reader.committed([IN]) == {IN: Committed(3, beside(5))}
    assert worker.stored() == Positions({"s": 1}, {IN: 3}, stream_time_ms=5, as_of_ms=99)
    (change,) = worker.broker.records("app-s-changelog")
    assert (change.key, change.value) == (b"k", worker.task.database.get("s", b"k"))


@pytest.mark.parametrize(
    ("place", "results", "stored"),
    [
        ("commit.before_flush", [1], 1),
        ("commit.after_flush", [1], 1),
        ("commit.before_transaction_commit", [1], 1),
        ("commit.after_transaction_commit", [1, 3], 1),
        ("commit.before_store_write", [1, 3], 1),
        ("commit.after_store_write", [1, 3], 3),
    ],
)
def test_a_cut_leaves_the_database_never_ahead(
    worker: Worker, place: str, results: list[int], stored: int
) -> None:
    worker.send(1)
    worker.process()
    worker.commit()
    worker.send(2)
    worker.process()
    with failpoints.armed(place, "error"), pytest.raises(InjectedError):
        worker.commit()
    worker.broker.producer("app-1").init()
    assert worker.results() == results
    row = worker.task.database.get("s", b"k")
    assert row is not None
    assert int.from_bytes(row[9:], "big") == stored
    position = worker.reader.committed([IN])[IN].position
    assert position == len(results)
    assert worker.stored().inputs[IN] <= position
    assert worker.stored().changelogs["s"] <= worker.broker.bounds(CHANGELOG)[1]


def test_an_abort_goes_back_to_the_last_commit(worker: Worker) -> None:
    worker.send(1)
    worker.process()
    worker.commit()
    worker.send(2)
    worker.process()
    worker.broker.fail_next("commit", AbortableError("no"))
    with pytest.raises(AbortableError):
        worker.commit()
    worker.producer.abort()
    worker.task.abort()
    worker.reader.seek(worker.task.committed)
    assert worker.task.positions == {IN: 1}
    assert worker.task.stream_time_ms == 1
    worker.process()
    worker.commit()
    assert worker.results() == [1, 3]


def test_a_fenced_worker_changes_nothing(worker: Worker) -> None:
    worker.send(1)
    worker.process()
    worker.broker.producer("app-1").init()
    with pytest.raises(FencedError):
        worker.commit()
    assert worker.results() == []
    assert worker.task.database.get("s", b"k") is None


def test_positions_move_behind_the_markers_of_transactions(worker: Worker) -> None:
    producer = worker.broker.producer("someone")
    producer.init()
    producer.send("in", [b"k"], [(4).to_bytes(8, "big")], timestamps=[4])
    producer.commit({}, "x")
    worker.process()
    worker.commit()
    assert worker.broker.bounds(IN) == (0, 2)
    assert worker.reader.committed([IN])[IN].position == 2


def test_an_idle_task_commits_again_only_when_asked(worker: Worker) -> None:
    worker.send(1)
    worker.process()
    worker.commit()
    assert worker.task.offsets() == {}
    worker.task.refresh_positions = True
    assert worker.task.needs_commit
    assert worker.task.offsets() == {IN: Committed(1, beside(1))}
    worker.commit()
    assert not worker.task.needs_commit


def test_without_transactions_positions_follow_the_results(worker: Worker) -> None:
    worker.producer = worker.broker.producer(None)
    worker.send(1)
    worker.process()
    commit([worker.task], worker.producer, worker.reader, now_ms=0)
    assert worker.reader.committed([IN]) == {IN: Committed(1, beside(1))}


def test_a_database_that_cannot_be_written_fails_its_task_alone(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise StateDirectoryError("the disk is full")

    worker.send(1)
    worker.process()
    monkeypatch.setattr(worker.task.database, "write", fail)
    failures = worker.commit()
    assert {task.task: str(error) for task, error in failures.items()} == {TASK: "the disk is full"}
    assert worker.results() == [1]


def test_a_value_that_cannot_be_stored_fails_before_the_transaction(worker: Worker) -> None:
    worker.send(1)
    worker.process()
    state = worker.task.pipeline._states["s"]
    state.values[b"k"] = "not an int"
    with pytest.raises(AbortableError, match="again one by one"):
        worker.commit()
    with pytest.raises(TaskFailedError, match="store 's' cannot hold") as caught:
        worker.commit()
    assert caught.value.task is worker.task
    assert isinstance(caught.value.error, ProcessingError)
    assert worker.results() == []


def test_stream_time_is_kept_beside_the_position() -> None:
    spec = Store("s", str, int).spec()
    for known in (Metadata(17, marks(["in", "a:b"], [spec])), Metadata(-1)):
        assert Metadata.decode(known.encode()) == known
    assert Metadata(17, marks(["in", "out"], [])).encode() == "2:17:5fec8e4e,b9ea6d99"
    assert Metadata.decode("1:17") == Metadata(17)
    for other in ("", "someone else's", "3:17:ab", "1:", "2:x:ab"):
        assert Metadata.decode(other) == Metadata()


def test_a_windowed_store_has_its_time_beside_that_of_the_task() -> None:
    ours, ahead, equal, empty = (store_mark(name, StoreKind.WINDOW) for name in "abcd")
    known = frozenset({ours, ahead, equal, empty, input_mark("in")})
    times = {ours: 1_000, ahead: 2_500, equal: 2_000, empty: -1}
    text = Metadata(2_000, known, times).encode()
    assert sorted(text.removeprefix("2:2000:").split(",")) == sorted(
        [f"{ours}=3e8", f"{ahead}=-1f4", equal, f"{empty}=7d1", input_mark("in")]
    )
    found = Metadata.decode(text)
    assert {mark: found.time_of(mark) for mark in times} == times
    assert (found.stream_time_ms, found.marks) == (2_000, known)
    # A store that was not there, and one of which an earlier version had written no time.
    assert found.time_of(store_mark("a", StoreKind.SESSION)) is None
    assert Metadata.decode(f"2:50:{ours}").time_of(ours) == 50


def test_how_far_final_results_were_passed_on_stands_with_their_store() -> None:
    ours, other = (store_mark(name, StoreKind.WINDOW) for name in "ab")
    text = Metadata(
        2_000, frozenset({ours, other}), {ours: 1_990}, {ours: Closing(1_000, 300), other: None}
    ).encode()
    assert set(text.removeprefix("2:2000:").split(",")) == {f"{ours}=a", f"{ours}@3e8.12c", other}
    found = Metadata.decode(text)
    assert found.closings == {ours: Closing(1_000, 300)}
    assert (found.marks, found.times) == (frozenset({ours, other}), {ours: 1_990})
    # Unlike times, it is never left out, or results would be missing.
    stores = [store_mark(str(number), StoreKind.WINDOW) for number in range(300)]
    closings = {mark: Closing(10**12 - 86_400_000, 100_000) for mark in stores[:30]}
    times = {mark: 10**12 - number for number, mark in enumerate(stores)}
    text = Metadata(10**12, frozenset(stores), times, closings).encode()
    assert len(text) <= 4_096
    assert Metadata.decode(text).closings == closings


def test_what_parents_have_passed_on_stands_with_their_store() -> None:
    ours, other = (store_mark(name, StoreKind.WINDOW) for name in "ab")
    passed = {
        ours: Passed(12, "consistent", {1: 1_000, 5: 1_999, 9: 2_500}),
        other: Passed(1, "murmur2", {0: 7}),
    }
    text = Metadata(2_000, frozenset({ours, other}), {}, passed=passed).encode()
    assert f"{ours}^c.c.1.4.3e8.1.-1f4" in text.split(",")
    found = Metadata.decode(text)
    assert found.passed == passed
    assert found.marks == frozenset({ours, other})
    many = {mark: Passed(64, "murmur2", {n: n for n in range(64)}) for mark in (ours, other)}
    text = Metadata(10**12, frozenset({ours, other}), {}, passed=many).encode()
    assert Metadata.decode(text).passed == many


def test_no_broker_refuses_the_times_of_many_stores() -> None:
    """Those that would lose the least by the task's time have that."""
    count = 400
    stores = [store_mark(str(number), StoreKind.WINDOW) for number in range(count)]
    times = {mark: 10**12 - number * 1_000 for number, mark in enumerate(stores, start=-5)}
    text = Metadata(10**12, frozenset(stores), times).encode()
    assert 4_080 < len(text) <= 4_096
    found = Metadata.decode(text)
    assert found.marks == frozenset(stores)
    kept = [mark for mark in stores if found.time_of(mark) == times[mark]]
    assert set(stores) - set(kept) == {
        mark for mark in stores if 0 < 10**12 - times[mark] < 10**12 - times[kept[-1]]
    } - set(kept)
    assert set(stores[:6]) < set(kept)
    assert set(stores[-50:]) < set(kept)
    assert all(found.time_of(mark) == 10**12 for mark in stores if mark not in kept)


@pytest.mark.parametrize(
    ("before", "after", "is_legal"),
    [
        (TaskState.CREATED, TaskState.RESTORING, True),
        (TaskState.CREATED, TaskState.RUNNING, False),
        (TaskState.RESTORING, TaskState.RUNNING, True),
        (TaskState.RESTORING, TaskState.CLOSED, True),
        (TaskState.RUNNING, TaskState.FAILED, True),
        (TaskState.RUNNING, TaskState.RESTORING, False),
        (TaskState.FAILED, TaskState.RUNNING, False),
        (TaskState.FAILED, TaskState.CLOSED, True),
        (TaskState.CLOSED, TaskState.RESTORING, False),
    ],
)
def test_tasks_move_only_as_they_may(before: TaskState, after: TaskState, is_legal: bool) -> None:
    if is_legal:
        assert checked_move(TASK, before, after) is after
        return
    with pytest.raises(InvariantError, match=f"from {before.value} to {after.value}"):
        checked_move(TASK, before, after)


def test_how_far_strays_were_forwarded_stands_with_their_topic() -> None:
    known = frozenset({input_mark("in"), input_mark("app-in-strays.layout-2")})
    forwarded = {input_mark("in"): 4_096}
    text = Metadata(17, known, forwarded=forwarded, stray_ms=255, is_quiet=True).encode()
    told = {*known, f"{input_mark('in')}>1000", "!ff", "~"}
    assert set(text.removeprefix("2:17:").split(",")) == told
    assert Metadata.decode(text) == Metadata(
        17, known, forwarded=forwarded, stray_ms=255, is_quiet=True
    )
    never = Metadata(17, known).encode()
    assert set(never) & {"!", ">", "~"} == set()
    assert Metadata.decode(never).stray_ms == -1
