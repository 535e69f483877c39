"""What happens, in order: start, load, kill, take over, replace, catch up, compare, maintain,
repartition, compare again, stop.

Whatever way it ends, everything that was started is stopped and every file is removed.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from demo import cdnow
from demo.amplify import amplify, key_of, records
from demo.cdnow import Purchase
from demo.conducting import STORY, Conducted, Conductor
from demo.feed import Feed
from demo.moving import MOVES, Moved, Moving, traffic
from demo.progress import Progress
from demo.screen import Screen
from demo.topics import PARTITIONS, Topics
from demo.verdict import Verdict, check_history, compare
from demo.workers import Worker
from examples.profiles import app
from streamer.config import Config, load
from streamer.sandbox import Sandbox

__all__ = ["DemoError", "Options", "Scenario", "Summary"]

INPUT, OUTPUT, GROUP = "purchases", "customer-profiles", "profiles"
# Written before the workers start, as if they had been away.
_BACKLOG = 4
_TICK_S = 0.1
_MOVES_S = 1_800.0
_STILL_S_MAX = 60.0
_LOOKS_MAX = 100


class DemoError(Exception):
    """The demonstration cannot go on."""


@dataclass(frozen=True)
class Options:
    """`copies` times the history's events and customers, written at a pace after a backlog.
    `conducts`: with an Airflow, which makes snapshots, trims, and moves tasks at the end."""

    copies: int = 5
    per_second: int = 12_000
    conducts: bool = True


@dataclass(slots=True)
class Summary:
    events: int
    seconds: float = 0.0
    fastest_per_second: int = 0
    takeover_s: float = 0.0
    processed_twice: int = 0
    conducted: list[Conducted] = field(default_factory=list)
    traffic: int = 0
    moved: list[Moved] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0


class Scenario:
    """Everything that was started, as a context; the methods are the scenes."""

    def __init__(self, options: Options, screen: Screen) -> None:
        self._options = options
        self._screen = screen
        self._stack = ExitStack()
        self._workers: list[Worker] = []
        self._history: list[Purchase] = []
        self._tasks = PARTITIONS
        self._conductor: Conductor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._screen.close()
        self._stack.close()

    @property
    def addresses(self) -> dict[str, str]:
        """What can be looked at while everything is up."""
        found = {"Kafka": self._topics.bootstrap_servers}
        found |= {f"worker {one.name}": one.address for one in self._living}
        return found | (self._conductor.logins if self._conductor else {})

    @property
    def _repository(self) -> str:
        return f"file://{self._directory / 'snapshots'}"

    @property
    def _config(self) -> Config:
        """As whoever conducts has it."""
        keywords = {
            "bootstrap_servers": self._topics.bootstrap_servers,
            "snapshot_repository": self._repository,
        }
        return load(app.application_id, keywords=keywords, environment={})

    @property
    def _living(self) -> list[Worker]:
        return [worker for worker in self._workers if not worker.is_killed]

    # -- scenes --------------------------------------------------------------------------------

    def start(self) -> None:
        """Kafka, its topics, a backlog in them."""
        say = self._screen.say
        self._history = cdnow.history()
        say("starting Apache Kafka (the very first time it is fetched: 44 MB)")
        path = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="streamer-demo-"))
        self._directory = Path(path)
        if self._options.conducts:
            parts = app.topology().subtopologies
            stores = [spec.name for part in parts for spec in part.stores]
            tasks = [f"0_{number}" for number in range(PARTITIONS)]
            self._conductor = Conductor(say, stores=stores, tasks=tasks)
            self._stack.callback(self._conductor.stop)
            self._conductor.begin()
        kafka = self._stack.enter_context(Sandbox())
        self._topics = Topics(kafka.bootstrap_servers)
        self._stack.callback(self._topics.close)
        self._topics.create([INPUT, OUTPUT])
        copies = self._options.copies
        self.summary = Summary(events=copies * len(self._history))
        self._feed = Feed(
            kafka.bootstrap_servers,
            INPUT,
            records(self._history, copies=copies),
            at_once=self.summary.events // _BACKLOG,
            per_second=self._options.per_second,
        )
        self._stack.callback(self._feed.stop)
        shown = [key_of(customer) for customer in _best_customers(self._history)]
        self._progress = Progress(
            self._screen, events=self.summary.events, customers=shown, feed=self._feed
        )
        say(
            f"Kafka answers at {kafka.bootstrap_servers}; writing {self.summary.events:,} purchases"
            f" of {copies * cdnow.CUSTOMERS:,} customers, a quarter of them before anybody reads"
        )
        self._feed.start()
        self._wait(lambda: self._feed.is_waiting, 120, "writing the backlog")

    def run_two_workers(self) -> None:
        self._screen.say("starting workers a and b")
        self._stack.callback(self._stop_workers)
        for name in "ab":
            self._add_worker(name)
        self._wait(lambda: self._progress.done > 0, 60, "the first commit of a worker")
        self._began = time.monotonic()
        self._wait(self._are_all_working, 60, "both workers running their tasks")
        self._screen.say("both workers run their tasks; purchases go on at an even pace")
        self._feed.flow()

    def kill_one(self) -> None:
        """SIGKILL in the middle, and the time until its partitions make progress again."""
        reached = self.summary.events * 2 // 5
        self._wait(lambda: self._progress.done >= reached, 600, "two fifths of the events")
        victim = max(self._living, key=lambda worker: len(worker.tasks()))
        tasks = _in_the_middle_of_work(victim)
        victim.kill()
        killed = time.monotonic()
        self._screen.say(f"SIGKILL to worker {victim.name}, which runs {' '.join(sorted(tasks))}")
        self._wait(lambda: victim.exit_status is not None, 10, "the end of the killed worker")
        partitions = [int(task.partition("_")[2]) for task in tasks]
        before = self._topics.known(GROUP, INPUT)
        self._wait(lambda: self._moved(before, partitions), 60, "somebody else taking over")
        self.summary.takeover_s = time.monotonic() - killed
        done = {f"{INPUT}/{number}": before[number] for number in partitions}
        self.summary.processed_twice = sum(
            max(at - done.get(place, at), 0)
            for task in tasks.values()
            for place, at in task.get("processed", {}).items()
        )
        self._screen.say(
            f"all its tasks run elsewhere, {self.summary.takeover_s:.1f} s after the kill;"
            f" {self.summary.processed_twice:,} records had no commit and were processed again"
        )

    def replace_it(self) -> None:
        self._screen.say("starting worker c, which finds the state that the killed one left behind")
        self._add_worker("c")
        self._wait(self._are_all_working, 60, "the new worker running tasks")
        owners = "; ".join(
            f"{worker.name} has {' '.join(sorted(worker.tasks()))}" for worker in self._living
        )
        self._screen.say(f"the tasks are even again: {owners}")

    def catch_up(self) -> None:
        """Until every event is committed and in the stores."""
        self._wait(lambda: self._feed.is_done, 1_200, "writing the last events")
        if self._feed.written != self.summary.events:
            raise DemoError(f"only {self._feed.written:,} events were written")
        self._wait(lambda: self._progress.done >= self.summary.events, 600, "lag 0")
        self.summary.seconds = time.monotonic() - self._began
        self.summary.fastest_per_second = self._progress.fastest_per_second
        stored = self.summary.events
        self._wait(lambda: _stored(self._living) == stored, 30, "the last rows in the stores")
        self._screen.say("lag 0: every purchase is processed")

    def compare(self) -> Verdict:
        """Every profile with a plain computation, and the whole history of the run."""
        # A million records live at once here, and Python's collector would look at them for ever.
        gc.disable()
        events = self.summary.events + self.summary.traffic
        purchases = amplify(self._history, copies=self._options.copies, events=events)
        verdict = compare(purchases, self._living, tasks=self._tasks, say=self._screen.say)
        self._screen.say("checking the history: inputs, every result, changelog, positions")
        servers = self._topics.bootstrap_servers
        verdict.results, wrong = check_history(servers, events=events)
        verdict.wrong += wrong
        gc.enable()
        self._screen.say("DIFFERENT" if verdict.wrong else "everything is equal")
        return verdict

    def maintain(self) -> None:
        """Snapshots, and a trim of the changelogs, as runs of DAGs in Airflow."""
        if self._conductor is None:
            return
        self._conductor.connect(self._config)
        for scene in STORY:
            self.summary.conducted.append(self._conductor.play(scene))

    def repartition(self) -> None:
        """4 -> 6 -> 3 tasks, while purchases go on."""
        servers, copies = self._topics.bootstrap_servers, self._options.copies
        events = self.summary.events
        self._feed = traffic(servers, INPUT, self._history, copies=copies, after=events)
        self._stack.callback(self._feed.stop)
        self._progress.go_on_with(self._feed)
        moving = Moving(self._config, INPUT, conductor=self._conductor)
        moving.start()
        self._wait(lambda: self._hears(moving), _MOVES_S, "other numbers of tasks")
        self._feed.stop()
        if self._feed.failure or not self._feed.is_done:
            raise DemoError(self._feed.failure or "the last purchases were not acknowledged")
        self.summary.moved = moving.moved
        self.summary.traffic = self._feed.written
        events += self.summary.traffic
        self._progress.expect(events)
        self._wait(lambda: self._progress.done >= events, 120, "lag 0")
        self._wait(self._are_all_working, 60, "all workers running their tasks")
        self._wait(lambda: _stored(self._living) == events, 30, "the last rows in the stores")
        new = self._topics.known(GROUP, INPUT)[PARTITIONS:]
        if not new or not all(new):
            raise DemoError("nothing was written to partitions that the topic was given")

    # -- what the scenes need ------------------------------------------------------------------

    def _hears(self, moving: Moving) -> bool:
        """Whether all has moved. Says what was said meanwhile, and raises what it ended with."""
        # Asked first: what is said and moved until then is heard below.
        is_over = moving.is_over
        for line in moving.heard():
            self._screen.say(line)
        for moved in moving.moved:
            self._tasks = moved.tasks
            self._topics.widths[INPUT] = MOVES[0]
        if is_over:
            moving.check()
        return is_over

    def _add_worker(self, name: str) -> None:
        servers = self._topics.bootstrap_servers
        worker = Worker(
            name,
            bootstrap_servers=servers,
            directory=self._directory,
            repository=self._repository,
        )
        self._workers.append(worker)

    def _stop_workers(self) -> None:
        self._screen.say("stopping")
        with ThreadPoolExecutor(max(len(self._workers), 1)) as pool:
            list(pool.map(Worker.stop, self._workers))

    def _moved(self, before: list[int], partitions: list[int]) -> bool:
        now = self._topics.committed(GROUP, INPUT)
        return now != [] and all(now[number] > before[number] for number in partitions)

    def _are_all_working(self) -> bool:
        """Every worker runs tasks, and together they run them all."""
        running: list[int] = [
            sum(task["state"] == "running" for task in worker.tasks().values())
            for worker in self._living
        ]
        return min(running) > 0 and sum(running) == self._tasks

    def _wait(self, is_true: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            self._progress.update(self._workers, self._topics.committed(GROUP, INPUT))
            if is_true():
                return
            self._check(what)
            if time.monotonic() > deadline or self._progress.still_s > _STILL_S_MAX:
                raise DemoError(f"waited in vain for {what}.{_logs(self._living)}")
            time.sleep(_TICK_S)

    def _check(self, what: str) -> None:
        if self._feed.failure:
            raise DemoError(f"while waiting for {what}: {self._feed.failure}")
        for worker in self._living:
            if worker.exit_status is not None:
                raise DemoError(
                    f"while waiting for {what}: worker {worker.name} ended with"
                    f" {worker.exit_status}. The end of its log:\n{worker.end_of_log}"
                )


def _logs(workers: Sequence[Worker]) -> str:
    return "".join(
        f"\nThe end of the log of worker {worker.name}:\n{worker.end_of_log}" for worker in workers
    )


def _stored(workers: Sequence[Worker]) -> int:
    """How many purchases are behind what lies in the stores."""
    tasks = [task for worker in workers for task in worker.tasks().values()]
    return sum(
        int(at)
        for task in tasks
        for place, at in task["positions"].items()
        if place.startswith(f"{INPUT}/")
    )


def _in_the_middle_of_work(worker: Worker) -> dict[str, Any]:
    """Its tasks at a moment at which it has processed what it has not committed, if there is one
    among many."""
    tasks: dict[str, Any] = {}
    for _ in range(_LOOKS_MAX):
        tasks = worker.tasks()
        if any(task["processed"] != task["positions"] for task in tasks.values()):
            break
    return tasks


def _best_customers(history: list[Purchase]) -> list[int]:
    counts = Counter(purchase.customer for purchase in history)
    return [customer for customer, _count in counts.most_common(3)]
