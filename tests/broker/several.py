"""One of three brokers is killed under busy workers and comes back; see the scenarios for the rest.

The one that is killed leads part of everything: assignments, statuses, changelogs, inputs; and it
coordinates the election and part of the transactions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from streamer.sandbox import Sandbox, SandboxCluster
from tests.broker.away import is_owners
from tests.broker.conftest import Kafka
from tests.broker.exact import assert_exact
from tests.broker.feeder import OUTPUTS, Feeder
from tests.broker.workers import Application, Worker

ZONES = "abc"
PARTITIONS = 6
TASKS = {f"0_{number}" for number in range(PARTITIONS)}


class Watch:
    """Looks at workers all the time, from a thread: who runs which tasks, and since when each has
    processed nothing."""

    def __init__(self, workers: Iterable[Worker]) -> None:
        self._workers = list(workers)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.failure: BaseException | None = None
        self.running: list[set[str]] = []
        """All that each was seen to run, one set for each different answer, in their order."""
        self.gap_s = dict.fromkeys(range(len(self._workers)), 0.0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._thread.join(60)
        assert self.failure is None, self.failure

    def _run(self) -> None:
        try:
            moved = [time.monotonic()] * len(self._workers)
            before = [worker.processed() for worker in self._workers]
            while not self._stopping.wait(0.1):
                for at, worker in enumerate(self._workers):
                    count, now = worker.processed(), time.monotonic()
                    self.gap_s[at] = max(self.gap_s[at], now - moved[at])
                    if count > before[at]:
                        before[at], moved[at] = count, now
                seen = [worker.running() for worker in self._workers]
                if not self.running or self.running[-len(seen) :] != seen:
                    self.running += seen
        except BaseException as error:
            self.failure = error


def coordinator(kafka: Kafka, group: str) -> int:
    [described] = kafka.admin.describe_consumer_groups([group]).values()
    return int(described.result(30).coordinator.id)


def assert_copies(kafka: Kafka, application: Application, copies: int) -> None:
    """Every topic has them, those included that workers have made; all are in sync again."""
    found = kafka.admin.list_topics(timeout=30).topics
    ours = {name: topic for name, topic in found.items() if name.startswith(application.name)}
    kinds = ("assignments", "status", "operations", "orders", "layout", "members")
    wanted = {application.topic(kind) for kind in (*kinds, "in", *OUTPUTS)}
    assert ours.keys() >= wanted | {application.changelog("totals")}
    for name, topic in ours.items():
        for partition in topic.partitions.values():
            assert len(partition.replicas) == len(partition.isrs) == copies, (name, partition)


def whole(workers: list[Worker]) -> bool:
    """An owner and a copy for every task, and as many for every worker: nothing is on the move."""
    owned, copies = ([*map(kind, workers)] for kind in (Worker.running, Worker.standbys))
    share = PARTITIONS // len(workers)
    is_even = {len(each) for each in (*owned, *copies)} == {share}
    return is_even and set().union(*owned) == set().union(*copies) == TASKS


def outlive(
    own: SandboxCluster,
    application: Callable[..., Application],
    *,
    rounds: int,
    gap_s_max: float,
    wait_until: Callable[..., None],
    **settings: Any,
) -> None:
    """So many times, each a broker that coordinates at that time."""
    made = application(
        "counts",
        outputs=OUTPUTS,
        partitions=PARTITIONS,
        standby_replicas=1,
        replication_factor=3,
        # As it is by default: a broker that is killed is given up in half that time.
        session_timeout_ms=6_000,
        **settings,
    )
    workers = [_start(made, zone) for zone in ZONES]
    wait_until(lambda: whole(workers), what="an owner and a copy for every task")
    with Feeder(made, rate=400, keys=200) as feeder:
        wait_until(lambda: all(one.processed() > 200 for one in workers), what="some progress")
        for number in range(rounds):
            victim = coordinator(made.kafka, made.topic("members"))
            _outlive_one(victim, own.brokers[victim], made, workers, gap_s_max, wait_until)
            print(f"round {number + 1}: broker {victim} was away")
        written = feeder.stop()
    made.wait_until_done(watch=workers)
    verdict = assert_exact(made)
    print(verdict)
    assert verdict.inputs == written
    wait_until(lambda: whole(workers), what="an owner and a copy for every task")
    assert_copies(made.kafka, made, copies=3)
    assert [one.stop() for one in workers] == [0, 0, 0]


def _outlive_one(
    victim: int,
    broker: Sandbox,
    made: Application,
    workers: list[Worker],
    gap_s_max: float,
    wait_until: Callable[..., None],
) -> None:
    with _nobody_loses(workers, gap_s_max):
        broker.kill()
        killed = time.monotonic()
        wait_until(lambda: victim not in _leading(made), what="other leaders")
        print(f"others lead after {time.monotonic() - killed:.1f} s")
        _progress(workers, wait_until)
        # Statuses and their acknowledgements come through again.
        wait_until(
            lambda: all(is_owners(one, "customer-0") for one in workers), what="answers of owners"
        )
        print(f"answers of owners after {time.monotonic() - killed:.1f} s")
    _hand_over(made, workers, wait_until)
    with _nobody_loses(workers, gap_s_max):
        broker.restart()
        wait_until(lambda: _is_in_sync(made), what="all copies in sync")
        wait_until(lambda: victim in _leading(made), what="what it led before")
        _progress(workers, wait_until)


@contextmanager
def _nobody_loses(workers: list[Worker], gap_s_max: float) -> Iterator[None]:
    """No task leaves its owner, not for a moment; so nobody was taken for dead or began anew."""
    before = [worker.running() for worker in workers]
    with Watch(workers) as watch:
        yield
    print("nothing was processed for", [f"{gap:.1f} s" for gap in watch.gap_s.values()])
    assert watch.running == before
    assert max(watch.gap_s.values()) < gap_s_max
    for worker in workers:
        assert worker.metric("streamer_fenced_total") == 0, worker.tail()


def _hand_over(made: Application, workers: list[Worker], wait_until: Callable[..., None]) -> None:
    """A worker leaves and comes back: the others hear of it, and it of them."""
    last = workers.pop()
    began = time.monotonic()
    assert last.stop() == 0
    wait_until(
        lambda: {task for one in workers for task in one.running()} == TASKS,
        what="all tasks with those who are left",
    )
    print(f"the tasks of one that left run after {time.monotonic() - began:.1f} s")
    workers.append(_start(made, ZONES[-1]))
    began = time.monotonic()
    wait_until(lambda: whole(workers), what="a share for one that came")
    print(f"one that came has its share after {time.monotonic() - began:.1f} s")


def _start(made: Application, zone: str) -> Worker:
    worker = made.worker(zone, zone=f"region=r,az={zone}")
    worker.wait_for("queries, health and metrics at")
    return worker


def _progress(workers: list[Worker], wait_until: Callable[..., None]) -> None:
    counts = [worker.processed() for worker in workers]
    wait_until(
        lambda: all(one.processed() > n + 50 for one, n in zip(workers, counts, strict=True)),
        what="progress of every worker",
    )


def _leading(made: Application) -> set[int]:
    """The brokers that lead a partition of the application's own topics."""
    topics = made.kafka.admin.list_topics(timeout=30).topics
    return {
        partition.leader
        for name, topic in topics.items()
        if name.startswith(made.name)
        for partition in topic.partitions.values()
    }


def _is_in_sync(made: Application) -> bool:
    topics = made.kafka.admin.list_topics(timeout=30).topics
    return all(
        len(each.isrs) == len(each.replicas)
        for topic in topics.values()
        for each in topic.partitions.values()
    )
