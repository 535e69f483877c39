"""Counts, sums and last times of 200,000 customers from 2,000,000 events: what do they cost?

All systems read the same topic on the same broker, one after the other; several runs go in turns.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.gauge import Gauge
from bench.measure import Measurement
from bench.options import Options
from bench.report import Column, Row
from bench.run import Source, failure, in_turns, run_system, say
from bench.systems import System, kafka_streams, probe, quix, streamer

TITLE = "throughput"
COLUMNS = (
    Column("system", "system"),
    Column("guarantee", "guarantee"),
    Column("commit_ms", "commit ms", ","),
    Column("results_per_event", "results per event", ".2f", spread=True),
    Column("events_per_s", "events/s", ",.0f", spread=True),
    Column("cpu_s_per_million", "CPU s per million", ".2f", spread=True),
    Column("cpu_s_per_million_warm", "second half", ".2f", spread=True),
    Column("peak_mib", "peak MiB", ",.0f", spread=True),
    Column("correct", "correct"),
)
SYSTEMS: tuple[System, ...] = (
    *streamer.SYSTEMS,
    *kafka_streams.SYSTEMS,
    *quix.SYSTEMS,
    *probe.SYSTEMS,
)


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs of a system as soon as they are done."""
    in_turns(options.chosen(SYSTEMS), options, emit=emit, row=measured_row)


def cost_curve(
    measured: Measurement, gauge: Gauge, count: int = 20
) -> list[tuple[int, float, float | None]]:
    """Of parts of a run up to how many events each went, what a million of them cost, in CPU s, and
    the fixed work meanwhile, in ms."""
    return [
        (
            last.events,
            round((last.cpu_s - first.cpu_s) / (last.events - max(first.events, 0)) * 1e6, 2),
            gauge.between_ms(measured.began_s + first.wall_s, measured.began_s + last.wall_s),
        )
        for first, last in measured.parts(count)
    ]


def measured_row(
    system: System,
    source: Source,
    *,
    processes: int = 1,
    cores: float | None = None,
    is_apart: bool = False,
) -> dict[str, object]:
    """One run as a row; a run that failed has ``error`` in place of figures."""
    row: dict[str, object] = {
        "system": system.name,
        "guarantee": system.guarantee,
        "commit_ms": system.commit_ms,
    }
    try:
        outcome = run_system(system, source, processes=processes, cores=cores, is_apart=is_apart)
    except Exception as error:
        return {**row, "correct": False, "error": failure(error)}
    for fault in outcome.verdict.faults:
        say(f"{system.title}: {fault}")
    measured = outcome.measurement
    row |= {
        "results_per_event": outcome.verdict.results / source.workload.events,
        "events_per_s": measured.events_per_s,
        "cpu_s_per_million": measured.cpu_s_per_million,
        "peak_mib": measured.peak_mib,
        "correct": outcome.verdict.correct,
        "seconds": measured.last.wall_s,
        "own_cores": measured.own_cores,
        "machine_cores": measured.machine_cores,
        "gauge_ms": outcome.gauge.mean_ms,
        "curve": measured.curve(),
        "cost_curve": cost_curve(measured, outcome.gauge),
    }
    warm = measured.warm()
    if warm is not None:
        row |= {"events_per_s_warm": warm[0], "cpu_s_per_million_warm": warm[1]}
    return row
