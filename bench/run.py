"""One measured run of a system over a filled topic: start, watch, stop, check, tidy up."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.apart import apart
from bench.broker import running_broker
from bench.check import Verdict, check_topic
from bench.events import Expected, Workload
from bench.gauge import Gauge, gauged
from bench.measure import Child, MeasureError, Measurement, Sample, measure
from bench.options import Options
from bench.quota import Quota, quota
from bench.report import Row
from bench.systems import Case, System
from bench.topics import CHANGELOG, Topics, fill


@dataclass(frozen=True)
class Outcome:
    """What one run cost and whether its results are right."""

    measurement: Measurement
    verdict: Verdict
    gauge: Gauge


@dataclass(frozen=True)
class Source:
    """The filled input topic that all systems of a benchmark read."""

    topics: Topics
    name: str
    workload: Workload
    expected: Expected

    @classmethod
    def make(cls, bootstrap: str, workload: Workload) -> Source:
        topics = Topics(bootstrap)
        name = f"bench-events-{uuid.uuid4().hex[:8]}"
        topics.create(name, partitions=workload.partitions)
        say(f"sending {workload.events:,} events to {name}")
        return cls(topics, name, workload, fill(bootstrap, name, workload=workload))

    def remove(self) -> None:
        self.topics.remove(self.name)
        self.topics.close()


def in_turns(
    systems: Sequence[System],
    options: Options,
    *,
    emit: Callable[[list[Row]], None],
    row: Callable[[System, Source], Row],
) -> None:
    """All systems over one topic, a run of each in every turn; ``emit`` gets all runs of a system
    as soon as they are done."""
    for system in systems:
        system.prepare()
    workload = Workload(
        events=options.events or 2_000_000,
        customers=options.customers or 200_000,
        partitions=options.partitions or 4,
    )
    rows: dict[str, list[Row]] = {system.title: [] for system in systems}
    with running_broker(options.bootstrap) as bootstrap:
        source = Source.make(bootstrap, workload)
        try:
            for turn in range(1, options.runs + 1):
                for system in systems:
                    say(f"run {turn} of {options.runs}: {system.title}")
                    rows[system.title].append(row(system, source))
                    if turn == options.runs:
                        emit(rows[system.title])
        finally:
            source.remove()


def run_system(
    system: System,
    source: Source,
    *,
    processes: int = 1,
    cores: float | None = None,
    is_apart: bool = False,
) -> Outcome:
    """``cores`` holds each process to as many; ``is_apart`` gives all of them together one core,
    and the others to the broker.

    Raises MeasureError if the system ends early or stands still, QuotaError without the right to
    hold it to anything.
    """
    application = f"bench-{uuid.uuid4().hex[:8]}"
    state = Path(tempfile.mkdtemp(prefix="streamer-bench-"))
    partitions = source.workload.partitions
    case = Case(
        bootstrap=source.topics.bootstrap,
        application=application,
        source=source.name,
        target=f"{application}-results",
        state=state,
        commit_ms=system.commit_ms,
        partitions=partitions,
        processes=processes,
    )
    try:
        source.topics.create(case.target, partitions=partitions)
        for topic in system.topics:
            name = f"{application}-{topic}"
            source.topics.create(name, partitions=partitions, settings=CHANGELOG)
        with quota(cores) as limit, apart(is_apart) as core, gauged(core) as gauge:
            measurement = measure(
                lambda: start(system, case, limit=limit, core=core),
                progress=lambda: source.topics.committed(
                    application, topic=source.name, partitions=partitions
                ),
                total=source.workload.events,
                on_sample=Progress(system.title),
            )
        verdict = check_topic(case.bootstrap, case.target, expected=source.expected)
        return Outcome(measurement, verdict, gauge)
    finally:
        source.topics.remove(application)
        shutil.rmtree(state, ignore_errors=True)


def start(
    system: System, case: Case, *, limit: Quota | None = None, core: int | None = None
) -> Sequence[Child]:
    children = []
    for process in range(case.processes):
        own = replace(case, process=process)
        command, environment = system.command(own), system.environment(own)
        child = Child(command, environment=environment, log=system.log(own))
        if limit is not None:
            limit.admit(child.pid)
        if core is not None:
            # Before it has threads, which inherit this.
            os.sched_setaffinity(child.pid, {core})
        children.append(child)
    return children


class Progress:
    """One line on a terminal that grows with the run; nothing elsewhere."""

    def __init__(self, title: str) -> None:
        self._title = title

    def __call__(self, sample: Sample) -> None:
        if sys.stderr.isatty():
            line = f"  {self._title}: {sample.events:,} events, {sample.cpu_s:.1f} CPU s"
            print(f"\r{line:<78.78}", end="", file=sys.stderr, flush=True)


def say(line: str) -> None:
    """Tells what goes on; results alone go to standard output."""
    end = "\r" + " " * 78 + "\r" if sys.stderr.isatty() else ""
    print(f"{end}bench: {line}", file=sys.stderr, flush=True)


def failure(error: Exception) -> str:
    """What went wrong, whole on standard error and its last words in a row."""
    text = str(error) if isinstance(error, MeasureError) else repr(error)
    say(f"failed: {text}")
    lines = text.splitlines()
    return lines[0] if len(lines) == 1 else f"{lines[0]}: {lines[-1][:200]}"
