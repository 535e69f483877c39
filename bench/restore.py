"""An empty worker takes in a changelog of 2,000,000 records of 500 bytes: how fast, at what cost?

All systems read the same changelog; each run starts with an empty directory. Rates count from the
first sign of restoring, costs from the start of the process.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from bench.broker import running_broker
from bench.changelog import RECORD_BYTES, Changelog, blocks
from bench.measure import Measurement, measure
from bench.options import Options
from bench.report import Column, Row
from bench.run import Progress, failure, say, start
from bench.stores import check_stores
from bench.systems import Case, System, kafka_streams_restore, restore_parts, streamer_restore
from bench.topics import CHANGELOG, Filler, Topics

TITLE = "restore"
COLUMNS = (
    Column("system", "way"),
    Column("records_per_s", "records/s", ",.0f", spread=True),
    Column("mb_per_s", "MB/s of log", ",.0f", spread=True),
    Column("cpu_s_per_million", "CPU s per million", ".2f", spread=True),
    Column("cpu_s_per_million_warm", "second half", ".2f", spread=True),
    Column("peak_mib", "peak MiB", ",.0f", spread=True),
    Column("seconds", "seconds in all", ".1f", spread=True),
    Column("correct", "correct"),
)
SYSTEMS: tuple[System, ...] = (
    *streamer_restore.SYSTEMS,
    *kafka_streams_restore.SYSTEMS,
    *restore_parts.SYSTEMS,
)
WITHOUT_A_STORE = "parts: only reading"


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs of a way as soon as they are done."""
    systems = options.chosen(SYSTEMS)
    for system in systems:
        system.prepare()
    changelog = Changelog(
        records=options.events or 2_000_000,
        keys=options.customers or 200_000,
        partitions=options.partitions or 4,
    )
    application = f"bench-{uuid.uuid4().hex[:8]}"
    rows: dict[str, list[Row]] = {system.name: [] for system in systems}
    with running_broker(options.bootstrap) as bootstrap:
        topics = Topics(bootstrap)
        try:
            fill(topics, application, changelog=changelog)
            for turn in range(1, options.runs + 1):
                for system in systems:
                    say(f"run {turn} of {options.runs}: {system.name}")
                    case = _case(bootstrap, application, changelog.partitions)
                    rows[system.name].append(measured_row(system, case, changelog=changelog))
                    if turn == options.runs:
                        emit(rows[system.name])
        finally:
            topics.remove(application)


def fill(topics: Topics, application: str, *, changelog: Changelog) -> None:
    """An input topic without records, and the changelog as a crashed worker leaves it."""
    name = f"{application}-stats-changelog"
    topics.create(f"{application}-events", partitions=changelog.partitions)
    topics.create(name, partitions=changelog.partitions, settings=CHANGELOG)
    say(f"sending {changelog.records:,} records to {name}")
    # State without a committed position would have lost it: Streamer refuses to guess one.
    source = f"{application}-events"
    topics.commit_start(application, topic=source, partitions=changelog.partitions)
    filler = Filler(topics.bootstrap, name)
    for keys, values in blocks(changelog):
        filler.send(keys, values)
    filler.finish()


def measured_row(system: System, case: Case, *, changelog: Changelog) -> dict[str, object]:
    row: dict[str, object] = {"system": system.name}
    try:
        measured = measure(
            lambda: start(system, case),
            progress=lambda: (system.progress or printed)(case),
            total=changelog.records,
            on_sample=Progress(system.name),
        )
        without = system.name == WITHOUT_A_STORE
        faults = () if without else check_stores(case.state, changelog)
    except Exception as error:
        return {**row, "correct": False, "error": failure(error)}
    finally:
        shutil.rmtree(case.state, ignore_errors=True)
    for fault in faults:
        say(f"{system.name}: {fault}")
    figures = _figures(measured)
    if system.progress is not None:
        # Told once per task: too coarse to see where the second half began.
        figures.pop("cpu_s_per_million_warm", None)
    return {**row, **figures, "correct": None if without else not faults}


def printed(case: Case) -> int:
    """The number in the last whole line ``restored N`` of the output; -1 before the first."""
    with (case.state / "process-0.log").open("rb") as log:
        log.seek(max(0, log.seek(0, 2) - 4_096))
        lines = log.read().split(b"\n")[:-1]
    numbers = [line.split()[1] for line in lines if line.startswith(b"restored ")]
    return int(numbers[-1]) if numbers else -1


def _figures(measured: Measurement) -> dict[str, object]:
    idle_s = max((s.wall_s for s in measured.samples if s.events < 0), default=0.0)
    records_per_s = measured.last.events / (measured.last.wall_s - idle_s)
    warm = measured.warm()
    return {
        "records_per_s": records_per_s,
        "mb_per_s": records_per_s * RECORD_BYTES / 1e6,
        "cpu_s_per_million": measured.cpu_s_per_million,
        **({"cpu_s_per_million_warm": warm[1]} if warm else {}),
        "peak_mib": measured.peak_mib,
        "seconds": measured.last.wall_s,
    }


def _case(bootstrap: str, application: str, partitions: int) -> Case:
    return Case(
        bootstrap=bootstrap,
        application=application,
        source=f"{application}-events",
        target=f"{application}-results",
        state=Path(tempfile.mkdtemp(prefix="streamer-bench-")),
        commit_ms=1_000,
        partitions=partitions,
    )
