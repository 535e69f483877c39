"""What of an application is not as it should be, the worst first, each with what to do. Pure.

`alarm`: something is not processed, or the next loss of a worker or zone stops something.
`warning`: it goes on, and somebody should look. `note`: worth knowing, nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

from streamer.control.messages import ChoreReport
from streamer.control.requests import ModeRecord
from streamer.operations.words import STILL_MS, step_line
from streamer.overview.fleet import Fleet
from streamer.overview.inventory import Inventory
from streamer.overview.seen import Seen
from streamer.overview.work import advice, moved_ms, state_of

__all__ = ["Alarm", "alarms"]

Level = Literal["alarm", "warning", "note"]
_ORDER: tuple[Level, ...] = ("alarm", "warning", "note")

_NAMED = 5
# A status is written every few seconds; an election takes a session's time at the most.
_CONTROLLER_MS = 30_000
# Workers that are gone are remembered for days, in case that their disks come back.
_GONE_MS = 24 * 3_600_000
# One that failed holds the application; those of single tasks can be many, for one reason.
_OPERATIONS_MAX = 3
# Of two intervals one may be missed: somebody restarted the worker.
_INTERVALS = 3

# The ways in which a placement is less than it should be, as the controller names them.
_MODES: dict[str, tuple[Level, str]] = {
    "no_workers": ("alarm", "tasks have no place, since no worker is ready"),
    "one_worker_left": ("alarm", "one worker is left: there is no copy of anything"),
    "one_zone_left": ("alarm", "one zone is left: copies share its fate"),
    "zone_violations": ("alarm", "tasks have two copies in one zone or on one host"),
    "too_few_zones": ("warning", "there are fewer zones than copies"),
    "too_few_hosts": ("warning", "there are fewer hosts than copies"),
    "unplaced_standbys": ("warning", "tasks have fewer copies than they should"),
    "untagged_workers": ("warning", "workers have other zone tags than the rest, and get nothing"),
}


_COUNTED = ("tasks", "workers")


class Alarm(Struct, kw_only=True, omit_defaults=True):
    """One thing. `what` is a sentence, `count` how many it concerns and `examples` some of them;
    `todo` is the next step, `link` leads to where it is shown: `zone`, `worker`, `task`,
    `operation` or `store` with a name."""

    level: Level
    kind: str
    what: str
    count: int = 1
    examples: tuple[str, ...] = ()
    todo: str = ""
    link: tuple[str, str] | None = None
    since_ms: int = 0


def alarms(fleet: Fleet, inventory: Inventory | None = None) -> list[Alarm]:
    """Of what was seen, and of what lies on disks, as far as that was looked at."""
    seen = fleet.seen
    found = [
        *_tasks(fleet),
        *_workers(fleet),
        *_placement(seen),
        *_operations(seen),
        *_still_operations(seen),
        *_orders(fleet),
        *_refused(seen),
        *(_snapshots(inventory, seen.at_ms) if inventory is not None else ()),
    ]
    found.sort(key=lambda one: _ORDER.index(one.level))
    return found


def _tasks(fleet: Fleet) -> Iterator[Alarm]:
    failed = [
        (name, worker)
        for worker, info in fleet.workers.items()
        if info.is_alive
        for name, report in fleet.seen.statuses[worker].tasks.items()
        if report.state == "failed"
    ]
    if failed:
        yield _alarm(
            "alarm",
            "failed_tasks",
            "tasks have stopped at an error, and process nothing",
            (f"{task} at {worker}" for task, worker in sorted(failed)),
            todo="the log of the worker has the reason and what to do",
            link=("task", failed[0][0]),
        )
    if fleet.missing:
        yield _alarm(
            "alarm",
            "missing_tasks",
            "tasks run nowhere",
            (each.task for each in fleet.missing),
            todo="a moment of it is normal while workers start or change: else see that as many"
            " workers live as you started, and what the controller's log says",
            link=("task", fleet.missing[0].task),
        )
    copies = [
        f"{name} at {worker}"
        for worker, info in fleet.workers.items()
        if info.is_alive
        for name, report in fleet.seen.statuses[worker].standbys.items()
        if report.state == "failed"
    ]
    if copies:
        yield _alarm(
            "warning",
            "failed_copies",
            "copies have stopped at an error: their tasks have one copy less",
            sorted(copies),
            todo="the log of the worker has the reason; a copy is made anew by"
            " streamer rebuild --task TASK --on WORKER",
        )


def _workers(fleet: Fleet) -> Iterator[Alarm]:
    seen = fleet.seen
    away = set(seen.plan.away) if seen.plan else set()
    gone = [each for each in fleet.workers.values() if not each.is_alive]
    recent = [each for each in gone if each.status_age_ms < _GONE_MS or each.worker in away]
    if recent:
        is_waited = any(each.worker in away for each in recent)
        yield _alarm(
            "warning",
            "gone_workers",
            "workers are gone without a word",
            (each.worker for each in recent),
            todo="the controller waits for them before it builds their copies elsewhere: start"
            " them again"
            if is_waited
            else "what they had was given to others; start them again, or leave them: they are"
            " forgotten after some days",
            link=("worker", recent[0].worker),
            since_ms=max(_heard_ms(seen, each.worker) for each in recent),
        )
    alive = [each for each in fleet.workers.values() if each.is_alive]
    if not alive:
        yield _alarm(
            "alarm", "no_workers", "no worker lives: nothing is processed", (), todo="start workers"
        )
    elif not any(each.is_controller for each in alive):
        told = seen.plan.at_ms if seen.plan else 0
        yield _alarm(
            "alarm" if seen.at_ms - told > _CONTROLLER_MS else "note",
            "no_controller",
            "no worker is the controller: nothing is given to others",
            (),
            todo="an election takes seconds; if it lasts, see that Kafka answers, and the logs"
            " of the workers",
            since_ms=told,
        )
    shapes = {seen.statuses[each.worker].shape for each in alive if each.worker in seen.statuses}
    if len(shapes - {""}) > 1:
        yield _alarm(
            "warning",
            "two_topologies",
            "workers run different topologies: one of them is given nothing",
            (),
            todo="let all workers run one release of the application",
        )


def _heard_ms(seen: Seen, worker: str) -> int:
    status = seen.statuses.get(worker)
    return status.at_ms if status is not None else 0


def _placement(seen: Seen) -> Iterator[Alarm]:
    if seen.plan is None:
        return
    for mode in seen.plan.modes:
        yield _of_mode(mode)
    if seen.plan.draining:
        is_stopped = bool(seen.drain.stopped(seen.plan.halted))
        again = (
            "" if seen.plan.moves_left else "streamer drain --undo lets them be given tasks again"
        )
        yield _alarm(
            "note",
            "draining",
            "workers are drained, and keep what they have: that was stopped"
            if is_stopped
            else "workers are drained",
            seen.plan.draining,
            todo="the same streamer drain goes on with it, --undo ends it" if is_stopped else again,
            link=("worker", seen.plan.draining[0]),
            since_ms=seen.drain.at_ms,
        )


def _of_mode(mode: ModeRecord) -> Alarm:
    level, what = _MODES.get(mode.name, ("warning", mode.name.replace("_", " ")))
    return Alarm(
        level=level,
        kind=mode.name,
        what=what,
        # Else the sentence says how many: what is counted are the zones or workers that are left.
        count=mode.concerns if what.startswith(_COUNTED) else 1,
        examples=mode.examples[:_NAMED],
        todo=f"it needs {mode.until}" if mode.until else "",
        since_ms=mode.since_ms,
    )


def _operations(seen: Seen) -> Iterator[Alarm]:
    standing = [
        record
        for record in seen.books.operations.values()
        if not (record.is_finished or record.state == "planned")
        and not seen.books.is_live(record.id, seen.at_ms)
    ]
    standing.sort(key=lambda record: (record.state == "paused", -record.at_ms, record.id))
    for record in standing[:_OPERATIONS_MAX]:
        trouble = record.trouble
        yield Alarm(
            level="note" if record.state == "paused" else "alarm",
            kind="operation",
            what=f"operation {record.id} is {state_of(record, is_live=False)}"
            + (f": {trouble.message}" if trouble else ""),
            todo=". ".join(
                filter(None, (trouble.hint if trouble else "", advice(record, is_live=False)))
            ),
            link=("operation", record.id),
            since_ms=trouble.at_ms if trouble else record.at_ms,
        )
    if more := standing[_OPERATIONS_MAX:]:
        yield _alarm(
            "alarm",
            "operations",
            "more operations stand still",
            (record.id for record in more),
            todo="streamer operations list has all of them",
            link=("operation", more[0].id),
        )


def _still_operations(seen: Seen) -> Iterator[Alarm]:
    """Somebody carries them out, and they come no further: what they wait for does not happen, and
    others wait for them."""
    still = [
        record
        for record in seen.books.operations.values()
        if not (record.is_finished or record.state == "planned")
        and seen.books.is_live(record.id, seen.at_ms)
        and seen.at_ms - moved_ms(record) >= STILL_MS
    ]
    still.sort(key=lambda record: (moved_ms(record), record.id))
    for record in still[:_OPERATIONS_MAX]:
        yield Alarm(
            level="warning",
            kind="still_operation",
            what=f"operation {record.id} has not moved for long: {step_line(record)}",
            todo="see to what it waits for; or take it back, so that others can go on:"
            f" streamer operations cancel {record.id}",
            link=("operation", record.id),
            since_ms=moved_ms(record),
        )
    if more := still[_OPERATIONS_MAX:]:
        yield _alarm(
            "warning",
            "still_operations",
            "more operations have not moved for long",
            (record.id for record in more),
            todo="streamer operations list has all of them",
            link=("operation", more[0].id),
        )


def _orders(fleet: Fleet) -> Iterator[Alarm]:
    """Snapshots and rebuilds that workers could not make; they try again while the order stands."""
    failed: list[tuple[str, str, ChoreReport]] = []
    for worker, info in fleet.workers.items():
        if not info.is_alive:
            continue
        status = fleet.seen.statuses[worker]
        chores = [
            *((name, report.chore) for name, report in status.tasks.items()),
            *((name, report.chore) for name, report in status.standbys.items()),
        ]
        for name, chore in chores:
            if chore is not None and chore.state == "failed":
                failed.append((name, worker, chore))
    if failed:
        task, _worker, first = failed[0]
        yield _alarm(
            "warning",
            "failed_chores",
            "workers could not make or fetch snapshots",
            (f"{name} at {worker}: {one.why}" for name, worker, one in failed),
            todo="they try again while it is asked for; mend the reason",
            link=("operation", first.operation) if first.operation else ("task", task),
        )


def _refused(seen: Seen) -> Iterator[Alarm]:
    if seen.refused:
        yield _alarm(
            "warning",
            "unreadable",
            "records of the control topics cannot be read",
            (f"{key}: {why}" for key, why in sorted(seen.refused.items())),
            todo="docs/security.md says how to take such a record out",
        )


def _snapshots(inventory: Inventory, now_ms: int) -> Iterator[Alarm]:
    if inventory.trouble:
        yield Alarm(
            level="warning",
            kind="repository",
            what=f"the repository does not tell what snapshots there are: {inventory.trouble}",
            todo=inventory.hint,
            since_ms=inventory.looked_ms,
        )
    without = [row.task for row in inventory.tasks if not row.count and not row.trouble]
    if without and inventory.is_complete and len(without) < len(inventory.tasks):
        yield _alarm(
            "warning",
            "no_snapshot",
            "tasks have no snapshot, while others have one",
            without,
            todo="streamer snapshot create, or the DAG snapshot_stores",
            link=("task", without[0]),
        )
    late_ms = _INTERVALS * inventory.interval_ms
    old = [row for row in inventory.tasks if row.count and now_ms - row.created_ms > late_ms]
    if inventory.interval_ms and old:
        yield _alarm(
            "warning",
            "old_snapshots",
            f"the newest snapshot is older than {_INTERVALS} intervals",
            (row.task for row in old),
            todo="docs/operations.md, 'A snapshot is not made'",
            link=("task", old[0].task),
            since_ms=min(row.created_ms for row in old),
        )
    for row in inventory.stores:
        if row.trouble:
            yield Alarm(
                level="warning",
                kind="changelog",
                what=f"the changelog of {row.store} cannot be looked at: {row.trouble}",
                link=("store", row.store),
            )


def _alarm(
    level: Level,
    kind: str,
    what: str,
    concerned: Iterable[str],
    *,
    todo: str = "",
    link: tuple[str, str] | None = None,
    since_ms: int = 0,
) -> Alarm:
    names = list(concerned)
    return Alarm(
        level=level,
        kind=kind,
        what=what,
        count=max(len(names), 1),
        examples=tuple(name[:200] for name in names[:_NAMED]),
        todo=todo,
        link=link,
        since_ms=since_ms,
    )
