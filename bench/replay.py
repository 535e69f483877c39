"""What does it cost to compute a state once more, against what it cost the live application?

The live application reads a topic to its end and is stopped; then a worker that reads again follows
what that has committed, as in a replay, to the same end. Nothing else runs meanwhile.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.check import read_committed
from bench.measure import Measurement, measure
from bench.options import Options
from bench.report import Column, Row
from bench.run import Progress, Source, failure, in_turns, start
from bench.systems import Case, System, streamer, streamer_again
from streamer.ids import changelog_topic

TITLE = "replay"
COLUMNS = (
    Column("system", "system"),
    Column("commit_ms", "commit ms", ","),
    Column("live_events_per_s", "live, events/s", ",.0f", spread=True),
    Column("events_per_s", "read again, events/s", ",.0f", spread=True),
    Column("rate_ratio", "times as fast", ".2f", spread=True),
    Column("live_cpu_s_per_million", "live, CPU s per million", ".2f", spread=True),
    Column("cpu_s_per_million", "read again", ".2f", spread=True),
    Column("cost_ratio", "cost to the live", ".2f", spread=True),
    Column("peak_mib", "peak MiB", ",.0f", spread=True),
    Column("correct", "correct"),
)
SYSTEMS: tuple[System, ...] = streamer.SYSTEMS


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs of a system as soon as they are done."""
    in_turns(options.chosen(SYSTEMS), options, emit=emit, row=_row)


def _row(system: System, source: Source) -> Row:
    row: dict[str, object] = {"system": system.name, "commit_ms": system.commit_ms}
    try:
        live, again, is_same = _measured(system, source)
    except Exception as error:
        return {**row, "correct": False, "error": failure(error)}
    return row | {
        "live_events_per_s": live.events_per_s,
        "events_per_s": again.events_per_s,
        "rate_ratio": again.events_per_s / live.events_per_s,
        "live_cpu_s_per_million": live.cpu_s_per_million,
        "cpu_s_per_million": again.cpu_s_per_million,
        "cost_ratio": again.cpu_s_per_million / live.cpu_s_per_million,
        "peak_mib": again.peak_mib,
        "correct": is_same,
    }


def _measured(system: System, source: Source) -> tuple[Measurement, Measurement, bool]:
    """The live one, who reads again, and whether both have the same state."""
    application = f"bench-{uuid.uuid4().hex[:8]}"
    state = Path(tempfile.mkdtemp(prefix="streamer-bench-"))
    case = Case(
        bootstrap=source.topics.bootstrap,
        application=application,
        source=source.name,
        target=f"{application}-results",
        state=state,
        commit_ms=system.commit_ms,
        partitions=source.workload.partitions,
    )
    try:
        source.topics.create(case.target, partitions=case.partitions)
        live = _run(system, case, source, group=application)
        name = next(
            each for each in streamer.APPLICATIONS if streamer.APPLICATIONS[each] in system.name
        )
        other = streamer_again.system(name, system.commit_ms, name=f"{system.name}, again")
        again = _run(
            other,
            replace(case, process=1),
            source,
            group=streamer_again.again(application),
        )
        is_same = _rows(case.bootstrap, application) == _rows(
            case.bootstrap, streamer_again.again(application)
        )
        return live, again, is_same
    finally:
        source.topics.remove(application)
        shutil.rmtree(state, ignore_errors=True)


def _run(system: System, case: Case, source: Source, *, group: str) -> Measurement:
    return measure(
        lambda: start(system, replace(case, processes=1)),
        progress=lambda: source.topics.committed(
            group, topic=source.name, partitions=case.partitions
        ),
        total=source.workload.events,
        on_sample=Progress(system.title),
    )


def _rows(bootstrap: str, application: str) -> dict[bytes, bytes]:
    """The state, as its changelog has it."""
    found: dict[bytes, bytes] = {}
    for keys, values in read_committed(bootstrap, changelog_topic(application, "stats")):
        found.update(zip(keys, values, strict=True))
    return found
