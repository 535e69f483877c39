"""One of three brokers is killed under busy workers and comes back; see the scenarios for the rest.

The one that is killed leads part of everything: assignments, statuses, changelogs, inputs; and it
coordinates the election and part of the transactions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from confluent_kafka.admin import AdminClient

from streamer.kafka.attempts import Attempts
from streamer.sandbox import Sandbox, SandboxCluster
from tests.broker.away import is_owners
from tests.broker.exact import assert_exact
from tests.broker.feeder import OUTPUTS, Feeder
from tests.broker.workers import PATIENCE_S, Application, Worker

ZONES = "abc"
PARTITIONS = 6
TASKS = {f"0_{number}" for number in range(PARTITIONS)}
# Each look asks every worker for its metrics and tasks.
_LOOK_S = 0.3
_RESTART_S = 720.0


class Watch:
    """Looks at workers all the time, from a thread: what each runs, and for how long at most it has
    processed nothing."""

    def __init__(self, workers: list[Worker]) -> None:
        self._workers = workers
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._failure: BaseException | None = None
        self.seen: list[list[set[str]]] = []
        """What they were seen to run, without repetitions."""
        self.gaps_s = [0.0] * len(workers)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._thread.join(240)
        assert self._failure is None, self._failure

    def _run(self) -> None:
        try:
            self._look()
        except BaseException as error:
            self._failure = error

    def _look(self) -> None:
        before = [worker.processed() for worker in self._workers]
        moved_s = [time.monotonic()] * len(before)
        while not self._stopping.wait(_LOOK_S):
            for at, worker in enumerate(self._workers):
                count, now_s = worker.processed(), time.monotonic()
                self.gaps_s[at] = max(self.gaps_s[at], now_s - moved_s[at])
                if count > before[at]:
                    before[at], moved_s[at] = count, now_s
            running = [worker.running() for worker in self._workers]
            if self.seen[-1:] != [running]:
                self.seen.append(running)


class Fleet:
    """A worker in each zone, each with its share of the tasks and of their copies."""

    def __init__(self, made: Application, wait_until: Callable[..., None]) -> None:
        self._made = made
        self._wait_until = wait_until
        self.workers = [self._start(zone) for zone in ZONES]
        self.settle()

    def _start(self, zone: str) -> Worker:
        worker = self._made.worker(zone, zone=f"region=r,az={zone}")
        worker.wait_for("queries, health and metrics at")
        return worker

    def settle(self) -> None:
        self._wait_until(self._is_whole, what="an owner and a copy for every task")

    def _is_whole(self) -> bool:
        """As many for every worker, too: nothing is on the move."""
        owned, copies = ([*map(kind, self.workers)] for kind in (Worker.running, Worker.standbys))
        share = PARTITIONS // len(self.workers)
        is_even = {len(each) for each in (*owned, *copies)} == {share}
        return is_even and set().union(*owned) == set().union(*copies) == TASKS

    def lose(self, node: int, broker: Sandbox) -> None:
        """Kill this broker; back when all goes on without it."""
        began = time.monotonic()
        with self._nobody_loses_a_task():
            broker.kill()
            self._wait_until(lambda: node not in self._leading(), what="other leaders")
            print(f"others lead after {time.monotonic() - began:.1f} s")
            self._progress()
            # Statuses and their acknowledgements come through again.
            self._wait_until(
                lambda: all(is_owners(one, "customer-0") for one in self.workers),
                what="answers of owners",
            )
            print(f"owners answer after {time.monotonic() - began:.1f} s")

    def regain(self, node: int, broker: Sandbox) -> None:
        """Start it again; back when it leads what it led."""
        with self._nobody_loses_a_task():
            broker.restart(timeout=_RESTART_S)
            self._wait_until(lambda: node in self._leading(), what="what it led before")
            self.assert_copies()
            self._progress()

    def hand_over(self) -> None:
        """A worker leaves and comes back: the others hear of it, and it of them."""
        began = time.monotonic()
        assert self.workers.pop().stop() == 0
        self._wait_until(
            lambda: set().union(*map(Worker.running, self.workers)) == TASKS,
            what="all tasks with those who are left",
        )
        print(f"the tasks of one that left run after {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        self.workers.append(self._start(ZONES[-1]))
        self.settle()
        print(f"one that came has its share after {time.monotonic() - began:.1f} s")

    @contextmanager
    def _nobody_loses_a_task(self) -> Iterator[None]:
        """Not for a moment: so nobody was taken for dead, or began anew."""
        before = [worker.running() for worker in self.workers]
        with Watch(self.workers) as watch:
            yield
        print("nothing was processed for", ", ".join(f"{gap:.1f} s" for gap in watch.gaps_s))
        assert watch.seen == [before]
        for worker in self.workers:
            assert worker.metric("streamer_fenced_total") == 0, worker.tail()

    def _progress(self) -> None:
        counts = [worker.processed() for worker in self.workers]
        self._wait_until(
            lambda: all(
                worker.processed() > count + 50
                for worker, count in zip(self.workers, counts, strict=True)
            ),
            what="progress of every worker",
        )

    def _leading(self) -> set[int]:
        """The brokers that lead a partition of the application's own topics."""
        topics = self._made.kafka.admin.list_topics(timeout=120).topics
        return {
            partition.leader
            for name, topic in topics.items()
            if name.startswith(self._made.name)
            for partition in topic.partitions.values()
        }

    def assert_copies(self) -> None:
        """Every topic has three, those included that workers have made; all are in sync."""
        made, kafka = self._made, self._made.kafka

        def found() -> dict[str, list[tuple[int, int]]]:
            return {
                name: [(len(each.replicas), len(each.isrs)) for each in topic.partitions.values()]
                for name, topic in kafka.admin.list_topics(timeout=120).topics.items()
                if name.startswith(made.name)
            }

        kinds = ("assignments", "status", "operations", "orders", "layout", "members")
        wanted = {made.topic(kind) for kind in (*kinds, "in", *OUTPUTS)}
        assert found().keys() >= wanted | {made.changelog("totals")}
        self._wait_until(
            lambda: {pair for pairs in found().values() for pair in pairs} == {(3, 3)},
            what="three copies in sync",
        )


def coordinator(made: Application) -> int:
    """The broker that has the group in which the controller is elected."""
    where = made.kafka.bootstrap_servers

    def ask(left_s: float) -> int:
        # A client may go on to ask a broker that has the group no more.
        client = AdminClient({"bootstrap.servers": where, "log_level": 2})
        asked = client.describe_consumer_groups([made.topic("members")], request_timeout=left_s)
        [described] = asked.values()
        return int(described.result(left_s + 1).coordinator.id)

    return Attempts(PATIENCE_S, where)("asking for a coordinator", ask)


def outlive(
    own: SandboxCluster,
    application: Callable[..., Application],
    *,
    rounds: int,
    wait_until: Callable[..., None],
    hands_over: bool = False,
) -> None:
    """So many times, each a broker that coordinates at that time. Where it `hands_over`, a worker
    leaves and comes back while the broker is away."""
    made = application(
        "counts",
        outputs=OUTPUTS,
        partitions=PARTITIONS,
        standby_replicas=1,
        replication_factor=3,
        session_timeout_ms=6_000,  # as by default
    )
    fleet = Fleet(made, wait_until)
    with Feeder(made, rate=200, keys=200) as feeder:
        for _ in range(rounds):
            node = coordinator(made)
            print(f"broker {node} goes away")
            fleet.lose(node, own.brokers[node])
            if hands_over:
                fleet.hand_over()
            fleet.regain(node, own.brokers[node])
        written = feeder.stop()
    made.wait_until_done(watch=fleet.workers)
    verdict = assert_exact(made)
    print(verdict)
    assert verdict.inputs == written
    fleet.settle()
    assert [one.stop() for one in fleet.workers] == [0, 0, 0]
