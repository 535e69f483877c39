"""The loop's own decisions: when slow code gets a transaction of its own, and when to give up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from streamer.clock import ManualClock
from streamer.config import Config
from streamer.engine.closing import Room
from streamer.errors import FencedError, KafkaUnavailableError
from streamer.ids import FIRST_LAYOUT, Layout, TaskId, TopicPartition
from streamer.kafka.api import AbortableError, Committed, Fetched, RefusedError
from streamer.kafka.fake import FakeBroker, FakeProducer, FakeReader
from streamer.task.active import ActiveTask
from streamer.topology.partitioner import partition_of
from streamer.worker.loop import Loop
from streamer.worker.pausing import Pausing

TIMEOUT_MS = 60_000


class Input:
    """`waiting` is how many records wait for the task's turn."""

    waiting = 1


class Pipeline:
    has_punctuation = False
    held_bytes = 0


class Task:
    """Sends one result a turn, and takes `pace_ms` for it."""

    def __init__(self, number: int, clock: ManualClock, producer: FakeProducer) -> None:
        self.task = TaskId(0, number)
        self.pace_ms = 10
        self.input = Input()
        self.pipeline = Pipeline()
        self.refresh_positions = False
        self.needs_commit = False
        self.is_closing = False
        self.aborted = 0
        self.fenced: FencedError | None = None
        self._turns = 0
        self._clock = clock
        self._producer = producer

    def process(self, _now_ms: int) -> int:
        if not self.input.waiting:
            return 0
        self._clock.advance(self.pace_ms)
        if self.fenced is not None:
            raise self.fenced
        self._turns += 1
        self._producer.send("out", [None], [f"{self.task}@{self._turns}".encode()], timestamps=[0])
        self.needs_commit = True
        return 1

    def flush(self, _room: Any) -> dict[str, Any]:
        return {}

    def offsets(self) -> dict[TopicPartition, Committed]:
        return {TopicPartition("in", self.task.partition): Committed(self._turns)}

    def store(self, *_args: object, **_keywords: object) -> None:
        self.needs_commit = False

    def abort(self) -> None:
        self.aborted += 1
        self.needs_commit = False


class Copies:
    """There are none."""

    tasks = frozenset[TaskId]()

    def keep(self, _wanted: frozenset[TaskId]) -> bool:
        return False

    def has_warmed(self, _lag_max: int) -> bool:
        return False

    def reports(self) -> dict[TaskId, Any]:
        return {}


class Snapshots:
    """Nothing is restored from one."""

    def hear(self, _orders: object) -> None: ...


class Tasks:
    """All of them run here all the time."""

    standbys = Copies()
    bootstrapping = Snapshots()

    def __init__(self, running: Sequence[Task]) -> None:
        self.running = running
        self.owned = frozenset(one.task for one in running)

    def take(self, _fetched: Fetched, _now_ms: int) -> None: ...

    poll_ms = 0

    def balance_input(self) -> None: ...

    def start_restored(self) -> bool:
        return False

    def reports(self) -> dict[TaskId, Any]:
        return {}

    def rewind(self) -> None:
        for task in self.running:
            task.abort()


def never() -> Layout:
    raise AssertionError("nobody has paused")


class Alone:
    """A membership that never changes."""

    def desired(self) -> None:
        return None

    def report(self, *_said: object, pause: tuple[str, str]) -> None: ...

    def orders(self) -> tuple[()]:
        return ()

    def failure(self) -> None:
        return None


class Worker:
    """A loop with two tasks over a broker in memory. Time passes in `Task.process` alone."""

    def __init__(
        self, guarantee: str = "exactly_once", *, commit_interval_ms: int = TIMEOUT_MS // 2
    ) -> None:
        self.clock = ManualClock()
        self.broker = FakeBroker(partition_of=partition_of, now_ms=self.clock.now_ms)
        self.broker.create("out", 1)
        producer = self.broker.producer("app-1" if guarantee == "exactly_once" else None)
        producer.init()
        self.first, self.second = (Task(number, self.clock, producer) for number in (0, 1))
        tasks: Any = Tasks([self.first, self.second])
        reader: FakeReader = self.broker.reader("app")
        member: Any = Alone()
        self.loop = Loop(
            Config(
                application_id="app",
                processing_guarantee=guarantee,
                commit_interval_ms=commit_interval_ms,
                transaction_timeout_ms=TIMEOUT_MS,
            ),
            clock=self.clock,
            tasks=tasks,
            reader=reader,
            producer=producer,
            member=member,
            pausing=Pausing(tasks, never, running=FIRST_LAYOUT, clock=self.clock),
            held_bytes_max=1_000,
            renew=lambda: None,
        )

    def committed(self) -> list[str]:
        return [(one.value or b"").decode() for one in self.broker.records("out")]


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker by whose clock the loop measures turns, too."""
    made = Worker()
    measure = lambda: made.clock.monotonic_ms() / 1000  # noqa: E731
    monkeypatch.setattr("streamer.worker.loop.time.perf_counter", measure)
    yield made
    made.loop._collector.restore()


def test_fast_tasks_share_a_transaction(paced: Worker) -> None:
    for _ in range(5):
        paced.loop.turn()
    assert paced.committed() == []
    paced.loop.commit()
    assert len(paced.committed()) == 10


def test_a_task_that_was_slow_gets_a_transaction_of_its_own(paced: Worker) -> None:
    paced.second.pace_ms = TIMEOUT_MS // 4 + 1
    paced.loop.turn()
    assert paced.committed() == []
    paced.loop.turn()
    # Too long open already, so the first task's turn began anew; the second one's, as it is slow.
    assert paced.committed() == ["0_0@1", "0_1@1", "0_0@2"]
    # It has nothing to do: nothing is held up for it.
    paced.second.input.waiting = 0
    paced.loop.turn()
    assert paced.committed() == ["0_0@1", "0_1@1", "0_0@2", "0_1@2"]
    paced.loop.turn()
    assert len(paced.committed()) == 4


def test_one_that_is_fast_again_shares_again(paced: Worker) -> None:
    paced.second.pace_ms = TIMEOUT_MS // 4 + 1
    paced.loop.turn()
    paced.second.pace_ms = 10
    paced.loop.turn()
    assert paced.committed() == ["0_0@1", "0_1@1", "0_0@2"]
    for _ in range(5):
        paced.loop.turn()
    assert len(paced.committed()) == 3


def test_many_turns_together_are_slow_as_well(paced: Worker) -> None:
    paced.first.pace_ms = paced.second.pace_ms = TIMEOUT_MS // 10
    for _ in range(2):
        paced.loop.turn()
    # Three turns of 6 s are more than a quarter of a minute.
    assert paced.committed() == ["0_0@1", "0_1@1", "0_0@2"]


def test_the_pace_is_known_also_where_a_fence_ended_the_turn(paced: Worker) -> None:
    paced.first.input.waiting = 500
    paced.first.pace_ms = TIMEOUT_MS + 2_500
    paced.first.fenced = FencedError("the transaction was open for too long")
    with pytest.raises(FencedError):
        paced.loop._process()
    assert paced.loop._appetite.records_max == 8
    assert paced.loop._pace.slow == {paced.first.task}


def test_without_transactions_nothing_times_out() -> None:
    made = Worker("at_least_once", commit_interval_ms=100 * TIMEOUT_MS)
    made.first.pace_ms = made.second.pace_ms = TIMEOUT_MS
    for _ in range(3):
        made.loop.turn()
    made.loop._collector.restore()
    assert len(made.committed()) == 6
    assert made.broker.groups == {}


def test_what_has_closed_is_passed_on_before_more_is_read(paced: Worker) -> None:
    paced.loop.turn()
    assert paced.committed() == []
    paced.second.is_closing = paced.second.needs_commit = True
    paced.loop.turn()
    # Committed at once, whatever the interval, and nothing was processed.
    assert paced.committed() == ["0_0@1", "0_1@1"]
    paced.second.is_closing = False
    paced.loop.turn()
    paced.loop.commit()
    assert paced.committed() == ["0_0@1", "0_1@1", "0_0@2", "0_1@2"]


def test_a_transaction_that_is_old_leaves_what_has_closed_to_the_next(paced: Worker) -> None:
    pages: list[int] = []

    def flush(room: Room) -> dict[str, Any]:
        pages.append(room.page())
        return {}

    paced.first.flush = flush  # type: ignore[method-assign]
    paced.clock.advance(10 * TIMEOUT_MS)
    paced.loop.turn()
    paced.loop.commit()
    # A worker that had nothing to do has no old transaction.
    assert pages.pop() > 0
    paced.first.pace_ms = TIMEOUT_MS // 4 + 1
    paced.second.input.waiting = 0
    paced.loop.turn()
    paced.loop.commit()
    assert pages == [0]


def failing(worker: Worker, error: type[AbortableError], times: int) -> None:
    worker.broker.fail_next("commit", *[error("refused") for _ in range(times)])
    for _ in range(times):
        worker.loop.turn()
        assert not worker.loop.commit()


def test_transactions_that_fail_in_a_row_end_the_worker(
    paced: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("streamer.worker.loop.time.sleep", pauses.append)
    failing(paced, AbortableError, 20)
    assert pauses == pytest.approx([0.05 * count for count in range(1, 21)])
    assert paced.first.aborted == 20
    with pytest.raises(KafkaUnavailableError, match="21 transactions in a row failed"):
        failing(paced, AbortableError, 1)
    assert paced.committed() == []


def test_a_commit_or_a_lesson_learnt_between_them_lets_it_go_on(
    paced: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.worker.loop.time.sleep", lambda _seconds: None)
    failing(paced, AbortableError, 15)
    failing(paced, RefusedError, 30)
    failing(paced, AbortableError, 15)
    paced.loop.turn()
    assert paced.loop.commit()
    failing(paced, AbortableError, 20)
    assert len(paced.committed()) == 2


def test_the_stand_ins_are_like_a_task() -> None:
    for name in vars(Task):
        assert name.startswith("__") or hasattr(ActiveTask, name)
