"""A restored task begins to process: where it goes on, at which stream time, with which code."""

from __future__ import annotations

from streamer.changelog.format import Positions
from streamer.kafka.api import InputReader
from streamer.split.move import closing_lags
from streamer.task.active import ActiveTask
from streamer.task.build import Plan, grown_topics
from streamer.task.input import TaskInput
from streamer.topology.partitions import Partitions
from streamer.worker.parents import known_of_parents
from streamer.worker.positions import resolve_start

__all__ = ["start_task"]


def start_task(
    active: ActiveTask,
    plan: Plan,
    planned: Partitions,
    *,
    reader: InputReader,
    restored_records: int,
    recent_bytes: int,
) -> None:
    """Raises what `resolve_start` raises, and what user code does that opens its processors."""
    # What a restore, or a copy before it, took in has marked the input positions as passed.
    stored = Positions.decode(active.database.metadata())
    lags = closing_lags(plan.topology.subtopologies[active.task.subtopology])
    start = resolve_start(
        active.task,
        active.partitions,
        reader=reader,
        stored=stored,
        restored_records=restored_records,
        stores=active.database.specs.values(),
        filled=[name for name in active.changelogs if active.database.has_rows(name)],
        internal=planned.repartition,
        grown=dict(grown_topics(plan.topology, active.task, plan.layout)),
        lags=lags,
        config=plan.config,
    )
    passed, rows = known_of_parents(active.database, start, lags)
    pipeline = plan.pipeline(
        active.task,
        active.database,
        stream_time_ms=start.stream_time_ms,
        times=start.times,
        closings=start.closings,
        passed=rows,
        recent_bytes=recent_bytes,
    )
    crossings = plan.crossings(
        active.task,
        start.positions,
        forwarded=start.forwarded,
        stray_ms=start.stray_ms,
        is_quiet=start.is_quiet,
    )
    task_input = TaskInput(
        active.partitions,
        records_max=plan.config.max_poll_records,
        idle_ms=plan.config.task_idle_ms,
        gated=[one.source for one in crossings],
    )
    active.start(
        pipeline,
        task_input,
        positions=start.positions,
        changelog_ends=stored.changelogs,
        crossings=crossings,
        passed=passed,
        limits=plan.limits,
    )
    active.refresh_positions = start.is_new
