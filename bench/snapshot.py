"""What processing loses while snapshots are made: a state of 1 GB, and more to do than can be done.

A worker restores its state and works off events that were written before, as fast as it can; in the
second case, events that come evenly, seven tenths of what it has just shown to manage. Rounds
follow each other: some seconds without a snapshot, then one of each task, in a directory. In the
first round all of the state is hashed and sent, later what was changed meanwhile, which are keys
all over it. `pause` is for how long the main thread stood still to make a checkpoint, by the
worker's own histogram: the upper end of the bucket that holds 99 of 100.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from bench.broker import running_broker
from bench.changelog import Changelog, value
from bench.events import BLOCK_EVENTS, SCATTER, key_of
from bench.measure import TICKS, Child, MeasureError
from bench.options import Options
from bench.report import Column, Row
from bench.restore import fill
from bench.run import failure, say, start
from bench.systems import Case
from bench.systems.streamer_restore import SYSTEM
from bench.topics import Filler, Topics
from streamer.config import Config
from streamer.operations.catalog import all_kinds
from streamer.operations.executor import Executor
from streamer.operations.table import KafkaTable
from streamer.snapshot.opening import open_repository
from streamer.snapshot.verify import verify
from streamer.store.keys import ROW_HEAD_BYTES

TITLE = "snapshot"
COLUMNS = (
    Column("case", "case"),
    Column("state_mib", "state MiB", ",.0f"),
    Column("events_per_s", "events/s", ",.0f", spread=True),
    Column("events_per_s_during", "during snapshots", ",.0f", spread=True),
    Column("throughput_percent", "%", ".1f", spread=True),
    Column("cpu_s_per_million", "CPU s per million", ".1f", spread=True),
    Column("cpu_s_per_million_during", "during snapshots", ".1f", spread=True),
    Column("pause_p99_ms", "pause p99 at most, ms", ".1f", spread=True),
    Column("checkpoints", "checkpoints", ","),
    Column("seconds", "seconds of snapshots", ".1f", spread=True),
    Column("behind_s", "behind at most, s", ".1f", spread=True),
    Column("cpu_s_per_gb", "CPU s per GB sent", ".1f", spread=True),
    Column("stored_mib", "repository, MiB", ",.0f"),
    Column("correct", "correct"),
)
ROUNDS = 3
QUIET_S = 8.0
_START_S = 600.0
_PULSE_S = 0.05
_MIB = 1 << 20
_ADDRESS = re.compile(r"""queries, health and metrics at (http://[^\s"]+)""")
_PROCESSED = "streamer_records_processed_total"
_PAUSES = "streamer_snapshot_checkpoint_seconds_bucket"


@dataclass(frozen=True)
class Load:
    """A case; its title is what `--only` finds. `share` of what it can do comes, 0 is more."""

    title: str
    share: float = 0.0


SYSTEMS = (Load("a worker that is busy"), Load("a worker at 70 % of that", 0.7))


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs when they are done."""
    loads = options.chosen(SYSTEMS)
    keys = options.customers or 2_000_000
    changelog = Changelog(records=keys, keys=keys, partitions=options.partitions or 4)
    rows: dict[Load, list[Row]] = {load: [] for load in loads}
    with running_broker(options.bootstrap) as bootstrap:
        for turn in range(1, options.runs + 1):
            for load in loads:
                say(f"run {turn} of {options.runs}: {load.title}, {keys:,} keys")
                events = options.events or 8_000_000
                row: dict[str, object] = {"case": load.title}
                try:
                    row |= _Run(bootstrap, changelog, load=load, events=events).row()
                except Exception as error:
                    row |= {"correct": False, "error": failure(error)}
                rows[load].append(row)
                if turn == options.runs:
                    emit(rows[load])


class Feeder:
    """Sends events to keys all over the state, which stays as large as it is: all at once, or so
    many a second by a thread of its own."""

    def __init__(self, bootstrap: str, topic: str, *, keys: int) -> None:
        self._filler = Filler(bootstrap, topic)
        self._keys = keys
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.sent = 0

    def send(self, events: int) -> None:
        """Raises RuntimeError where the broker does not take them."""
        for begin in range(self.sent, self.sent + events, BLOCK_EVENTS):
            end = min(begin + BLOCK_EVENTS, self.sent + events)
            chosen = [number * SCATTER % self._keys for number in range(begin, end)]
            self._filler.send(
                [key_of(number) for number in chosen],
                [value(number, 1)[ROW_HEAD_BYTES:] for number in chosen],
            )
        self.sent += events

    def finish(self) -> None:
        self._filler.finish()

    def begin(self, per_s: float) -> None:
        """Send so many a second until `stop`."""

        def run() -> None:
            began, before = time.monotonic(), self.sent
            while not self._stopping.wait(_PULSE_S):
                due = int((time.monotonic() - began) * per_s) - (self.sent - before)
                self.send(max(due, 0))

        self._thread = threading.Thread(target=run, name="feeder")
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._filler.flush()


class Look(NamedTuple):
    """The time, how many events were processed by then, and what the worker has taken for them:
    user and system time, without that of other processes."""

    at_s: float
    events: float
    cpu_s: float


@dataclass
class Work:
    """Events over seconds, summed up over several stretches of time."""

    events: float = 0.0
    seconds: float = 0.0
    cpu_s: float = 0.0

    def add(self, before: Look, after: Look) -> None:
        self.seconds += after.at_s - before.at_s
        self.events += after.events - before.events
        self.cpu_s += after.cpu_s - before.cpu_s

    @property
    def per_s(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_s_per_million(self) -> float:
        return self.cpu_s / self.events * 1e6


def percentile_ms(buckets: dict[float, float], share: float) -> float:
    """The upper end, in ms, of the bucket of a cumulative histogram in which the share lies."""
    count = max(buckets.values(), default=0.0)
    return 1000 * min((end for end, below in buckets.items() if below >= share * count), default=0)


def _times_s(pid: int) -> tuple[float, float]:
    """User and system time of a process, and of its children that have ended."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, stat[11:13])) / TICKS, sum(map(int, stat[13:15])) / TICKS


class _Run:
    """One application with its topics, one worker, and a repository in a directory."""

    def __init__(self, bootstrap: str, changelog: Changelog, *, load: Load, events: int) -> None:
        self._changelog = changelog
        self._load = load
        self._events = events
        self._home = Path(tempfile.mkdtemp(prefix="streamer-bench-"))
        self._name = f"bench-{uuid.uuid4().hex[:8]}"
        self._topics = Topics(bootstrap)
        self._config = Config(
            application_id=self._name,
            bootstrap_servers=bootstrap,
            snapshot_repository=f"file://{self._home / 'repository'}",
        )
        self._address, self._pid = "", 0
        self._feeder = Feeder(bootstrap, f"{self._name}-events", keys=changelog.keys)

    def row(self) -> dict[str, object]:
        try:
            fill(self._topics, self._name, changelog=self._changelog)
            # To know what it can do takes a part of them.
            self._feeder.send(self._events // 4 if self._load.share else self._events)
            self._feeder.finish()
            return self._measured()
        finally:
            self._feeder.stop()
            self._topics.remove(self._name)
            self._topics.close()
            shutil.rmtree(self._home, ignore_errors=True)

    def _measured(self) -> dict[str, object]:
        case = self._case()
        worker = self._restored(case)
        quiet, busy = Work(), Work()
        behind_s = 0.0
        try:
            if self._load.share:
                self._begin_load()
            look = self._look()
            for number in range(1, ROUNDS + 1):
                time.sleep(QUIET_S)
                after = self._look()
                quiet.add(look, after)
                say(f"snapshots of {self._changelog.partitions} tasks, round {number}")
                self._snapshot()
                look = self._look()
                busy.add(after, look)
                behind_s = max(behind_s, (self._feeder.sent - look.events) / quiet.per_s)
                worker.check()
            if not self._load.share and look.events >= self._events:
                raise MeasureError(f"{self._events:,} events were too few: give more with --events")
            pauses = dict(self._pauses())
            _own_s, children_s = _times_s(worker.pid)
        finally:
            worker.terminate()
            worker.wait()
        faults = self._faults()
        for fault in faults:
            say(f"snapshot: {fault}")
        sizes = (path.stat().st_size for path in case.state.rglob("*.sst"))
        found = (self._home / "repository").rglob("*")
        stored = sum(path.stat().st_size for path in found if path.is_file())
        return {
            "state_mib": sum(sizes) / _MIB,
            "events_per_s": quiet.per_s,
            "events_per_s_during": busy.per_s,
            "throughput_percent": 100 * busy.per_s / quiet.per_s,
            "cpu_s_per_million": quiet.cpu_s_per_million,
            "cpu_s_per_million_during": busy.cpu_s_per_million,
            "pause_p99_ms": percentile_ms(pauses, 0.99),
            "checkpoints": int(max(pauses.values(), default=0.0)),
            "seconds": busy.seconds,
            "stored_mib": stored / _MIB,
            # All of what it has to do comes at once in the first case.
            **({"behind_s": behind_s} if self._load.share else {}),
            "cpu_s_per_gb": children_s / (stored / 1e9),
            "correct": not faults,
        }

    def _case(self) -> Case:
        state = self._home / "state"
        state.mkdir()
        return Case(
            bootstrap=self._topics.bootstrap,
            application=self._name,
            source=f"{self._name}-events",
            target=f"{self._name}-results",
            state=state,
            commit_ms=1_000,
            partitions=self._changelog.partitions,
        )

    def _restored(self, case: Case) -> Child:
        """A worker that runs all its tasks."""
        variable = {"STREAMER_SNAPSHOT_REPOSITORY": self._config.snapshot_repository}
        [child] = start(replace(SYSTEM, settings={**SYSTEM.settings, **variable}), case)
        deadline = time.monotonic() + _START_S
        while (log := child.log.read_text(errors="replace")).count(" runs: ") < case.partitions:
            child.check()
            if time.monotonic() > deadline:
                child.terminate()
                child.wait()
                raise MeasureError(f"not all tasks run after {_START_S:.0f} s\n{child.tail()}")
            time.sleep(0.1)
        found = _ADDRESS.search(log)
        if found is None:
            raise MeasureError(f"the worker does not say where its metrics are\n{child.tail()}")
        self._address, self._pid = found[1], child.pid
        return child

    def _begin_load(self) -> None:
        """Find out how much it can do, let it catch up, and begin to send a share of that."""
        work, look = Work(), self._look()
        time.sleep(QUIET_S)
        work.add(look, self._look())
        say(f"{work.per_s:,.0f} events a second, of which {self._load.share:.0%} will come")
        deadline = time.monotonic() + _START_S
        while self._look().events < self._feeder.sent:
            if time.monotonic() > deadline:
                raise MeasureError(f"{self._feeder.sent:,} events were not processed in time")
            time.sleep(0.5)
        self._feeder.begin(work.per_s * self._load.share)
        time.sleep(QUIET_S)

    def _snapshot(self) -> None:
        """Order one of each task, and wait until they stand."""
        order = f"snapshot-{secrets.token_hex(6)}"
        with Executor(self._config, KafkaTable(self._config), all_kinds()) as executor:
            executor.propose("snapshot", {"order": order}, operation=order)
            done = executor.start(order)
        if done.state != "done":
            raise MeasureError(f"the snapshots are {done.state}: {done.trouble}")

    # -- what the worker tells ---------------------------------------------------------------------

    def _lines(self, name: str) -> Iterator[tuple[str, float]]:
        """Labels and value of each series of a metric."""
        with urlopen(f"{self._address}/metrics", timeout=30) as answer:
            for line in answer.read().decode().splitlines():
                series, _, number = line.rpartition(" ")
                if series.partition("{")[0] == name:
                    yield series, float(number)

    def _look(self) -> Look:
        events = sum(number for _labels, number in self._lines(_PROCESSED))
        return Look(time.monotonic(), events, _times_s(self._pid)[0])

    def _pauses(self) -> Iterator[tuple[float, float]]:
        for labels, below in self._lines(_PAUSES):
            found = re.search(r'le="([^"]+)"', labels)
            if found is not None:
                yield float(found[1]), below

    def _faults(self) -> list[str]:
        """Of the newest snapshot of each task."""
        faults = []
        with open_repository(self._config) as repository:
            shelves = repository.shelves(self._name)
            for shelf in shelves:
                newest = shelf.manifests()[-1]
                verdict = verify(repository, shelf, newest.stem)
                faults += [f"{newest}: {name}: {why}" for name, why in verdict.problems.items()]
        if len(shelves) != self._changelog.partitions:
            faults.append(f"{len(shelves)} tasks have a snapshot")
        return faults
