"""What processing loses while snapshots are made: a state of 1 GB, and more to do than can be done.

A worker restores its state and works off events that were written before, as fast as it can. Rounds
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
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.request import urlopen

from bench.broker import running_broker
from bench.changelog import Changelog, value
from bench.events import BLOCK_EVENTS, SCATTER, key_of
from bench.measure import Child, MeasureError
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
    Column("pause_p99_ms", "pause p99 at most, ms", ".1f", spread=True),
    Column("checkpoints", "checkpoints", ","),
    Column("seconds", "seconds of snapshots", ".1f", spread=True),
    Column("stored_mib", "repository, MiB", ",.0f"),
    Column("correct", "correct"),
)
ROUNDS = 3
QUIET_S = 8.0
_START_S = 600.0
_MIB = 1 << 20
_ADDRESS = re.compile(r"""queries, health and metrics at (http://[^\s"]+)""")
_PROCESSED = "streamer_records_processed_total"
_PAUSES = "streamer_snapshot_checkpoint_seconds_bucket"


class Busy:
    """The one case; its title is what `--only` finds."""

    title = "a worker that is busy"


SYSTEMS = (Busy(),)


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs when they are done."""
    options.chosen(SYSTEMS)
    keys = options.customers or 2_000_000
    changelog = Changelog(records=keys, keys=keys, partitions=options.partitions or 4)
    rows: list[Row] = []
    with running_broker(options.bootstrap) as bootstrap:
        for turn in range(1, options.runs + 1):
            say(f"run {turn} of {options.runs}: {keys:,} keys")
            row: dict[str, object] = {"case": Busy.title}
            try:
                row |= _Run(bootstrap, changelog, events=options.events or 6_000_000).row()
            except Exception as error:
                row |= {"correct": False, "error": failure(error)}
            rows.append(row)
    emit(rows)


@dataclass
class Work:
    """Events over seconds, summed up over several stretches of time."""

    events: float = 0.0
    seconds: float = 0.0

    def add(self, before: tuple[float, float], after: tuple[float, float]) -> None:
        """Two looks, each a time and how many events were processed by then."""
        self.seconds += after[0] - before[0]
        self.events += after[1] - before[1]

    @property
    def per_s(self) -> float:
        return self.events / self.seconds


def percentile_ms(buckets: dict[float, float], share: float) -> float:
    """The upper end, in ms, of the bucket of a cumulative histogram in which the share lies."""
    count = max(buckets.values(), default=0.0)
    return 1000 * min((end for end, below in buckets.items() if below >= share * count), default=0)


class _Run:
    """One application with its topics, one worker, and a repository in a directory."""

    def __init__(self, bootstrap: str, changelog: Changelog, *, events: int) -> None:
        self._changelog = changelog
        self._events = events
        self._home = Path(tempfile.mkdtemp(prefix="streamer-bench-"))
        self._name = f"bench-{uuid.uuid4().hex[:8]}"
        self._topics = Topics(bootstrap)
        self._config = Config(
            application_id=self._name,
            bootstrap_servers=bootstrap,
            snapshot_repository=f"file://{self._home / 'repository'}",
        )
        self._address = ""

    def row(self) -> dict[str, object]:
        try:
            fill(self._topics, self._name, changelog=self._changelog)
            self._write_events()
            return self._measured()
        finally:
            self._topics.remove(self._name)
            self._topics.close()
            shutil.rmtree(self._home, ignore_errors=True)

    def _write_events(self) -> None:
        """To keys all over the state, which stays as large as it is."""
        say(f"sending {self._events:,} events")
        filler, keys = Filler(self._topics.bootstrap, f"{self._name}-events"), self._changelog.keys
        for begin in range(0, self._events, BLOCK_EVENTS):
            numbers = range(begin, min(begin + BLOCK_EVENTS, self._events))
            chosen = [number * SCATTER % keys for number in numbers]
            filler.send(
                [key_of(number) for number in chosen],
                [value(number, 1)[ROW_HEAD_BYTES:] for number in chosen],
            )
        filler.finish()

    def _measured(self) -> dict[str, object]:
        case = self._case()
        worker = self._restored(case)
        quiet, busy = Work(), Work()
        try:
            look = self._look()
            for number in range(1, ROUNDS + 1):
                time.sleep(QUIET_S)
                after = self._look()
                quiet.add(look, after)
                say(f"snapshots of {self._changelog.partitions} tasks, round {number}")
                self._snapshot()
                look = self._look()
                busy.add(after, look)
                worker.check()
            if look[1] >= self._events:
                raise MeasureError(f"{self._events:,} events were too few: give more with --events")
            pauses = dict(self._pauses())
        finally:
            worker.terminate()
            worker.wait()
        faults = self._faults()
        for fault in faults:
            say(f"snapshot: {fault}")
        sizes = (path.stat().st_size for path in case.state.rglob("*.sst"))
        stored = (p.stat().st_size for p in (self._home / "repository").rglob("*") if p.is_file())
        return {
            "state_mib": sum(sizes) / _MIB,
            "events_per_s": quiet.per_s,
            "events_per_s_during": busy.per_s,
            "throughput_percent": 100 * busy.per_s / quiet.per_s,
            "pause_p99_ms": percentile_ms(pauses, 0.99),
            "checkpoints": int(max(pauses.values(), default=0.0)),
            "seconds": busy.seconds,
            "stored_mib": sum(stored) / _MIB,
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
        self._address = found[1]
        return child

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

    def _look(self) -> tuple[float, float]:
        events = sum(number for _labels, number in self._lines(_PROCESSED))
        return time.monotonic(), events

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
