"""An application goes from 4 tasks to 2 and back while events come: for how long is nothing
processed, how long does it take, and what has become of the events?

Two workers, rows of 500 bytes, all settings that matter the defaults. ``streamer repartition`` does
it, as its users do. Then the only way that users of Kafka Streams have, beside the same load: an
application of another name reads all of the input again, until it has caught up.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.broker import running_broker
from bench.load import Load, read_back
from bench.measure import ROOT, Child, MeasureError, bound
from bench.options import Options
from bench.report import Column, Row
from bench.run import failure, say
from bench.systems import Case, System
from bench.topics import Topics, count
from bench.traffic import percentile

TITLE = "repartition"
COLUMNS = (
    Column("mode", "mode"),
    Column("state_mib", "state, MiB", ",.0f"),
    Column("rate", "events/s", ",.0f"),
    Column("folds", "times"),
    Column("pause_s", "pause, p50, s", ".2f", spread=True),
    Column("pause_p99_s", "p99", ".2f", spread=True),
    Column("gap_s", "as seen, p50, s", ".2f", spread=True),
    Column("gap_p99_s", "p99", ".2f", spread=True),
    Column("total_s", "in all, s", ".1f", spread=True),
    Column("rows_per_cpu_s", "rows per CPU s", ",.0f", spread=True),
    Column("reprocess_s", "read again, s", ".1f", spread=True),
    Column("lost", "lost"),
    Column("doubled", "doubled"),
    Column("reordered", "reordered"),
    Column("correct", "correct"),
)
# That of a row of `bench.systems.repartition_application` with its key.
ROW_BYTES = 500
PARTITIONS, TASKS = 4, (2, 4)
RATE, FOLDS, WORKERS = 1_000, 2, 2
LIMIT_S = 900.0
_TARGET = "bench.systems.repartition_application:app"
_CALM_S = 1.0
_LOOK_S = 0.1
_PAUSED = re.compile(r"nothing was processed for (\d+) ms")
_WORKER = System(
    name="Streamer",
    command=lambda _: [sys.executable, "-m", "streamer.cli.main", "run", _TARGET],
    commit_ms=100,
)


@dataclass(frozen=True)
class State:
    """A row; its title is what `--only` finds."""

    mib: int

    @property
    def title(self) -> str:
        return f"{self.mib} MiB"

    @property
    def keys(self) -> int:
        return self.mib * (1 << 20) // ROW_BYTES


SYSTEMS = (State(10), State(100))


@dataclass
class Folds:
    """Figures of each time."""

    pause: list[float] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    def row(self) -> dict[str, object]:
        return {
            "folds": len(self.total),
            "pause_s": percentile(self.pause, 0.5),
            "pause_p99_s": percentile(self.pause, 0.99),
            "gap_s": percentile(self.gap, 0.5),
            "gap_p99_s": percentile(self.gap, 0.99),
            "total_s": percentile(self.total, 0.5),
            "rows_per_cpu_s": percentile(self.rate, 0.5),
        }


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs of a size; each run has an application of its own."""
    states = options.chosen(tuple(map(State, options.state_mib)) or SYSTEMS)
    rate, folds = options.rate or RATE, options.folds or FOLDS
    rows: dict[State, list[Row]] = {state: [] for state in states}
    with running_broker(options.bootstrap) as bootstrap:
        for turn in range(1, options.runs + 1):
            for state in states:
                say(f"run {turn} of {options.runs}: {state.title}")
                shape = {"mode": "fold", "state_mib": state.mib, "rate": rate}
                try:
                    with _prepared(bootstrap, state, rate) as bench:
                        rows[state].append({**shape, **bench.measured(folds)})
                except Exception as error:
                    rows[state].append({**shape, "correct": False, "error": failure(error)})
    for found in rows.values():
        emit(found)


@contextmanager
def _prepared(bootstrap: str, state: State, rate: int) -> Iterator[Bench]:
    """Topics, one of which has an event for each key; all of it goes with the block."""
    application = f"bench-{uuid.uuid4().hex[:8]}"
    directory = Path(tempfile.mkdtemp(prefix="streamer-bench-"))
    topics = Topics(bootstrap)
    case = Case(
        bootstrap=bootstrap,
        application=application,
        source=f"{application}-events",
        target=f"{application}-results",
        state=directory,
        commit_ms=_WORKER.commit_ms,
        partitions=PARTITIONS,
        processes=WORKERS,
    )
    load = Load(
        bootstrap,
        source=case.source,
        target=case.target,
        partitions=PARTITIONS,
        keys=state.keys,
        rate=rate,
    )
    try:
        for name in (case.source, case.target, _again(case).target):
            topics.create(name, partitions=PARTITIONS)
        load.fill()
        yield Bench(case, load, topics, slack=rate)
    finally:
        topics.remove(application)
        topics.close()
        shutil.rmtree(directory, ignore_errors=True)


def _again(case: Case) -> Case:
    """The same under another name."""
    name = f"{case.application}-again"
    return replace(case, application=name, target=f"{name}-results", state=case.state / "again")


class Bench:
    """One run. Whoever is less than ``slack`` events behind has caught up."""

    def __init__(self, case: Case, load: Load, topics: Topics, *, slack: int) -> None:
        self._case = case
        self._load = load
        self._topics = topics
        self._slack = slack

    def measured(self, folds: int) -> dict[str, object]:
        case, load, found = self._case, self._load, Folds()
        with working(case) as children, load:
            self._catch_up(case, children, slack=self._slack)
            for number in range(folds):
                tasks = TASKS[number % len(TASKS)]
                say(f"to {tasks} tasks")
                self._fold(tasks, found)
            say("reading all of the input again")
            began = time.monotonic()
            with working(again := _again(case)) as others:
                self._catch_up(again, [*children, *others], slack=self._slack)
                reprocess_s = time.monotonic() - began
            load.round_off()
            self._catch_up(case, children, slack=0)
        faults = read_back(case.bootstrap, case.target).faults(load.sent)
        return {
            **found.row(),
            "reprocess_s": reprocess_s,
            **faults,
            "correct": not any(faults.values()),
        }

    def _fold(self, tasks: int, found: Folds) -> None:
        planned = json.loads(self._told("plan", f"0={tasks}", "--json"))
        began, used_s = time.time(), _used_s()
        said = self._told("apply", planned["operation"])
        found.total.append(time.time() - began)
        paused = _PAUSED.search(said)
        if paused is None:
            raise MeasureError(f"no pause was told of: {said}")
        found.pause.append(int(paused[1]) / 1000)
        found.rate.append(planned["records"] / (_used_s() - used_s))
        time.sleep(_CALM_S)
        found.gap.append(self._load.gap(began).seconds)

    def _told(self, *words: str) -> str:
        """What `streamer repartition` prints. Raises MeasureError where it fails."""
        command = [
            *(sys.executable, "-m", "streamer.cli.main", "repartition", *words),
            *("--app", _TARGET, "--bootstrap-servers", self._case.bootstrap),
        ]
        done = subprocess.run(
            [*bound(), *command],
            env=_WORKER.environment(self._case),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise MeasureError(f"{words[0]} ended with code {done.returncode}\n{done.stderr}")
        return done.stdout

    def _catch_up(self, case: Case, children: Sequence[Child], *, slack: int) -> None:
        """Until nothing more than ``slack`` events is left to be committed."""
        deadline = time.monotonic() + LIMIT_S
        while self._left(case) > slack:
            for child in children:
                child.check()
            if time.monotonic() > deadline:
                tails = "\n".join(child.tail(5) for child in children)
                raise MeasureError(f"{case.application} does not catch up\n{tails}")
            time.sleep(_LOOK_S)

    def _left(self, case: Case) -> int:
        done = self._topics.committed(
            case.application, topic=case.source, partitions=case.partitions
        )
        return count(case.bootstrap, case.source) - done


def _used_s() -> float:
    """CPU seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def working(case: Case) -> Iterator[list[Child]]:
    """The workers of an application; they end with the block."""
    case.state.mkdir(exist_ok=True)
    children: list[Child] = []
    try:
        for number in range(case.processes):
            own = replace(case, process=number)
            command = [*_WORKER.command(own), "--set", f"host={'ab'[number]}"]
            command += ["--set", "log_format=json"]
            children.append(
                Child(command, environment=_WORKER.environment(own), log=_WORKER.log(own))
            )
        yield children
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
