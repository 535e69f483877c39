"""Does an event cost the same with more events, more keys, more partitions and more processes?

Each series varies one thing alone: how many events, over how many customers, over how many
partitions, by how many processes. Cost and rate of a point are compared with those of the first of
its series right before and after it: of two processes with one. Events and customers are counted
with a core for the worker and the others for the broker, so that only what is varied differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import fmean

from bench import quota
from bench.broker import running_broker
from bench.events import Workload
from bench.options import Options, UsageError
from bench.report import Column, Row
from bench.run import Source, say
from bench.systems import System, probe, streamer
from bench.throughput import measured_row

TITLE = "scale"
COLUMNS = (
    Column("system", "system"),
    Column("series", "series"),
    Column("events", "events", ","),
    Column("customers", "customers", ","),
    Column("partitions", "partitions", ","),
    Column("processes", "processes", ","),
    Column("results_per_event", "results per event", ".2f", spread=True),
    Column("events_per_s_warm", "events/s", ",.0f", spread=True),
    Column("cpu_s_per_million", "CPU s per million", ".2f", spread=True),
    Column("gauge_ms", "fixed work, ms", ".2f", spread=True),
    Column("cost_ratio", "cost to the first", ".2f", spread=True),
    Column("even_ratio", "at equal speed", ".2f", spread=True),
    Column("rate_ratio", "rate to the first", ".2f", spread=True),
    Column("peak_mib", "peak MiB", ",.0f", spread=True),
    Column("own_cores", "own cores", ".2f", spread=True),
    Column("machine_cores", "machine's cores", ".2f", spread=True),
    Column("correct", "correct"),
)
# Without --only the first alone: the others say what the plain parts do at the same points.
SYSTEMS: tuple[System, ...] = (
    streamer.row("built_in", 1_000),
    streamer.row("fold", 1_000),
    *(system for system in probe.SYSTEMS if "packed" in system.name),
)


@dataclass(frozen=True)
class Point:
    """One row: how much, over how many partitions, by how many processes."""

    series: str
    events: int
    customers: int
    partitions: int = 4
    zipf: float = 1.1
    processes: int = 1
    cores: float | None = None
    is_apart: bool = False

    @property
    def workload(self) -> Workload:
        return Workload(
            events=self.events,
            customers=self.customers,
            partitions=self.partitions,
            zipf=self.zipf,
        )


# As many keys as the largest point needs: with fewer at the small ones, two things would vary.
MANY = 5_000_000
# No customer outweighs the others: two processes are as fast as the one that has more to do.
EVEN = Point("processes", 8_000_000, 200_000, partitions=8, zipf=0.5)
# Leaves room for the broker on a machine of two cores.
HALF = replace(EVEN, series="half a core each", events=4_000_000, cores=0.5)
POINTS = (
    *(
        Point("events", events, MANY, is_apart=True)
        for events in (1_000_000, 10_000_000, 50_000_000)
    ),
    *(Point("customers", 10_000_000, count, is_apart=True) for count in (100_000, 1_000_000, MANY)),
    *(Point("partitions", 4_000_000, 400_000, partitions=count) for count in (4, 16, 64)),
    *(replace(EVEN, processes=count) for count in (1, 2)),
    *(replace(HALF, processes=count) for count in (1, 2)),
)


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs of each point of a series as soon as the series is done.

    ``events`` and ``partitions`` of the options leave out the points above them, and ``only`` those
    of other series, where it names some.
    """
    names = {point.series for point in POINTS}
    series = names.intersection(options.only) or names
    points = [
        point
        for point in POINTS
        if point.series in series
        and (not options.events or point.events <= options.events)
        and (not options.partitions or point.partitions <= options.partitions)
    ]
    if not points:
        raise UsageError("no point is as small as that; the smallest has 1,000,000 events")
    points = _possible(points)
    only = tuple(text for text in options.only if text not in names)
    systems = replace(options, only=only).chosen(SYSTEMS if only else SYSTEMS[:1])
    for system in systems:
        system.prepare()
    with running_broker(options.bootstrap) as bootstrap:
        for name in dict.fromkeys(point.series for point in points):
            own = [point for point in points if point.series == name]
            for runs in _measured(own, systems, bootstrap=bootstrap, count=options.runs):
                emit(runs)


def remarks(rows: list[Row]) -> list[str]:
    """Memory and cost along every run of the series of events."""
    lines = []
    for row in rows:
        name = f"{row['system']}, {row['events']:,} events"
        curve, costs = row.get("curve"), row.get("cost_curve")
        if row["series"] == "events" and isinstance(curve, list):
            points = ", ".join(f"{events / 1e6:.1f} M: {mib:,}" for events, mib in curve if events)
            lines.append(f"{name}, resident MiB after {points}")
        if row["series"] == "events" and isinstance(costs, list):
            parts = ", ".join(
                f"{events / 1e6:.1f} M: {cost:.2f}" + (f" ({gauge:.2f})" if gauge else "")
                for events, cost, gauge in costs
            )
            lines.append(f"{name}, CPU s per million (fixed work, ms) up to {parts}")
    return lines


def _possible(points: list[Point]) -> list[Point]:
    """Without the points that this user may not measure, each of which is told."""
    try:
        quota.check()
    except quota.QuotaError as error:
        for point in (point for point in points if point.cores is not None):
            say(f"not run: {point}: {error}")
        return [point for point in points if point.cores is None]
    return points


def _measured(
    points: list[Point], systems: list[System], *, bootstrap: str, count: int
) -> list[list[Row]]:
    """All runs of each point of one series and each system, in turns."""
    rows: dict[tuple[str, Point], list[Row]] = {
        (system.title, point): [] for point in points for system in systems
    }
    with ExitStack() as stack:
        sources: dict[Workload, Source] = {}
        for workload in dict.fromkeys(point.workload for point in points):
            sources[workload] = Source.make(bootstrap, workload)
            stack.callback(sources[workload].remove)
        for turn in range(1, count + 1):
            for system in systems:
                say(f"run {turn} of {count}: {system.title}, {points[0].series}")
                for point, row in _turn(points, system, sources):
                    rows[system.title, point].append(row)
    return list(rows.values())


def _turn(
    points: list[Point], system: System, sources: Mapping[Workload, Source]
) -> Iterator[tuple[Point, Row]]:
    """Each point between two runs of the first: a machine that others share is twice as slow for
    half an hour, and between is what is measured minutes before and minutes after."""
    first = points[0]
    before = _row(system, first, source=sources[first.workload])
    yield first, _with_ratios(before, [before])
    for point in points[1:]:
        row = _row(system, point, source=sources[point.workload])
        after = _row(system, first, source=sources[first.workload])
        yield point, _with_ratios(row, [before, after])
        yield first, _with_ratios(after, [after])
        before = after


def _row(system: System, point: Point, *, source: Source) -> Row:
    say(f"{system.title}, {point}")
    row = measured_row(
        system,
        source,
        processes=point.processes,
        cores=point.cores,
        is_apart=point.is_apart,
    )
    shape = {
        "series": point.series,
        "events": point.events,
        "customers": point.customers,
        "partitions": point.partitions,
        "processes": point.processes,
    }
    return {**row, **shape}


def _with_ratios(row: Row, firsts: list[Row]) -> Row:
    """Compares with the mean of runs of the first point; costs also in units of the fixed work that
    was done beside them."""
    ratios = {}
    for ratio, figure in (("cost_ratio", _cost), ("even_ratio", _even_cost), ("rate_ratio", _rate)):
        own, bases = figure(row), [figure(first) for first in firsts]
        known = [base for base in bases if base is not None]
        if own is not None and known:
            ratios[ratio] = own / fmean(known)
    return {**row, **ratios}


def _cost(row: Row) -> float | None:
    return _number(row, "cpu_s_per_million")


def _even_cost(row: Row) -> float | None:
    cost, gauge = _cost(row), _number(row, "gauge_ms")
    return cost / gauge if cost is not None and gauge else None


def _rate(row: Row) -> float | None:
    return _number(row, "events_per_s_warm")


def _number(row: Row, key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else None
