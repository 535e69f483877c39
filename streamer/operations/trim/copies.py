"""Which disks have a copy of which task, as assignments and statuses tell together: pure.

A status tells what a worker's disk has. An assignment tells who has, or is about to have, a copy
that no status tells of yet: of those nothing is known, and a trim waits. Statuses of workers that
are gone count until they are forgotten, since those disks may come back. One that is back tells of
no task until it is given some: in between its last assignment tells what its disk has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from streamer.control.identity import Incarnation
from streamer.control.messages import AssignmentRecord, StandbyReport, StatusRecord, TaskReport
from streamer.control.orders import Order, RebuildOrder
from streamer.errors import StreamerError
from streamer.ids import Layout, TaskId, TopicPartition, changelog_topic
from streamer.layout import ApplicationLayout
from streamer.operations.books import Books
from streamer.operations.trim.facts import Cluster, Copy, Unknown

__all__ = ["busy_of", "cluster_of"]

# They read what is there, or are this operation itself, and rely on nothing that a trim takes.
_HARMLESS = frozenset({"snapshot", "trim"})
_MEND = "docs/security.md says how to take such a record out"
_GIVEN = "it was given a copy of the task, and has not told what its disk has"
_BACK = "it is back, had a copy of the task, and has not told what its disk has of it"


def cluster_of(
    application: str,
    assignments: Mapping[str, AssignmentRecord],
    statuses: Mapping[str, StatusRecord],
    *,
    refused: Mapping[str, StreamerError],
    layout: ApplicationLayout | None = None,
) -> Cluster:
    """Every copy that is told of, and what is not known. `refused` are the records that cannot be
    read, by their keys; `layout` tells which changelogs the positions are of."""
    layout = layout or ApplicationLayout()
    copies: dict[TaskId, list[Copy]] = defaultdict(list)
    unknown: dict[TaskId, list[Unknown]] = defaultdict(list)
    for worker, status in sorted(statuses.items()):
        granted = assignments.get(worker)
        is_gone = granted is not None and granted.ended
        for role, reports in (("active", status.tasks), ("standby", status.standbys)):
            for name, report in reports.items():
                task = TaskId.parse(name)
                copies[task].append(
                    Copy(
                        worker,
                        role,  # type: ignore[arg-type]
                        report.state,
                        _positions(application, task, report, layout.since(task.subtopology)),
                        status.at_ms,
                        is_gone,
                    )
                )
    for worker, granted in sorted(assignments.items()):
        for name in _unheard(granted, statuses.get(worker)):
            unknown[TaskId.parse(name)].append(
                Unknown(
                    f"worker {worker}",
                    _BACK if granted.ended else _GIVEN,
                    "it tells within seconds of opening it",
                    granted.at_ms,
                )
            )
    of_all = [
        Unknown(key, f"its record cannot be read: {error}", _MEND)
        for key, error in sorted(refused.items())
    ]
    return Cluster(
        {task: tuple(each) for task, each in copies.items()},
        {task: tuple(each) for task, each in unknown.items()},
        tuple(of_all),
    )


def _positions(
    application: str, task: TaskId, report: TaskReport | StandbyReport, since: Layout
) -> dict[TopicPartition, int]:
    return {
        TopicPartition(changelog_topic(application, store, since), task.partition): at
        for store, at in report.durable.items()
    }


def _unheard(granted: AssignmentRecord, status: StatusRecord | None) -> Iterable[str]:
    """The tasks that this incarnation was given, and has not told of. Of one that has ended, those
    that it had where the worker is back by now: its first words are of no task, until it is given
    some."""
    given = {*granted.tasks, *granted.standbys}
    if granted.ended:
        return sorted(given) if status is not None and _is_back(granted, status) else ()
    if status is None or status.incarnation != granted.incarnation:
        return sorted(given)
    return sorted(given - status.tasks.keys() - status.standbys.keys())


def _is_back(granted: AssignmentRecord, status: StatusRecord) -> bool:
    """Whether a later life of the worker has spoken. Of two sessions nobody knows which came last,
    but a worker's last word is of the one that was granted, or of one that came after it."""
    ended, told = Incarnation.parse(granted.incarnation), Incarnation.parse(status.incarnation)
    is_later = ended.session != told.session or ended.number < told.number
    return is_later and not status.left


def busy_of(
    tasks: Iterable[TaskId],
    books: Books,
    orders: Iterable[Order],
    *,
    refused: Mapping[str, StreamerError],
) -> dict[TaskId, tuple[Unknown, ...]]:
    """The operations that are at work, and the orders that stand, by the tasks that they are
    about. What they will need of a changelog is not known."""
    found: dict[TaskId, tuple[Unknown, ...]] = {}
    for task in tasks:
        at_work = [
            Unknown(
                f"operation {one.id}",
                f"{one.kind}, {one.state}: what it needs is not known",
                f"its end: streamer operations show {one.id}",
                one.started_ms,
            )
            for one in books.operations.values()
            if not (one.is_finished or one.state == "planned" or one.kind in _HARMLESS)
            and one.plan.scope in ("application", f"task/{task}")
        ]
        at_work += [
            Unknown(
                f"worker {order.worker}",
                f"operation {order.operation} has it make its copy anew from {order.source}",
                f"its end: streamer operations show {order.operation}",
                order.at_ms,
            )
            for order in orders
            if isinstance(order, RebuildOrder) and order.task == str(task)
        ]
        at_work += [
            Unknown(key, f"its record cannot be read: {error}", _MEND)
            for key, error in sorted({**books.refused, **refused}.items())
        ]
        if at_work:
            found[task] = tuple(at_work)
    return found
