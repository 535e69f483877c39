"""What the page is sent: JSON documents made of what was seen. Pure.

Times are absolute, so that a document changes only when something has happened: the browser tells
ages. No document grows with the fleet: zones are summed up, lists are cut and say what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamer.errors import OperationRefusedError, StreamerError
from streamer.ids import TaskId
from streamer.overview.alarms import alarms
from streamer.overview.fleet import WORKERS_SHOWN_MAX, Fleet
from streamer.overview.follow import View
from streamer.overview.inventory import Inventory
from streamer.overview.work import details, listed

__all__ = ["MissingError", "operation", "state", "store", "task", "unread", "worker", "zone"]

Document = dict[str, Any]

ZONES_MAX = 60
ALARMS_MAX = 40
MOVES_MAX = 20
SLOWEST_MAX = 10
PAGE = 100


class MissingError(StreamerError):
    """What was asked for is not there, or not any more."""


def unread(view: View) -> Document:
    """While nothing was read: why that is, where it is known."""
    return _told(view)


def state(view: View) -> Document:
    """The whole application, summed up: violations and alarms first."""
    fleet = _fleet(view)
    found = alarms(fleet, view.inventory)
    zones = fleet.zones()
    is_small = len(fleet.rows) <= WORKERS_SHOWN_MAX
    return {
        **_told(view),
        "application": fleet.seen.application,
        "alarms": found[:ALARMS_MAX],
        "alarms_left": max(len(found) - ALARMS_MAX, 0),
        "totals": fleet.totals,
        "zones": sorted(zones, key=_worst_first)[:ZONES_MAX] if len(zones) > ZONES_MAX else zones,
        "zones_left": max(len(zones) - ZONES_MAX, 0),
        "workers": fleet.page() if is_small else [],
        "operations": listed(fleet.seen.books, fleet.seen.at_ms),
        "moves": _moves(fleet),
        "slowest": fleet.slowest(SLOWEST_MAX),
        "stores": _stores(view.inventory),
    }


def zone(view: View, name: str, skip: int) -> Document:
    """The zones and workers inside of one."""
    fleet = _fleet(view)
    zones = fleet.zones(name)
    workers = fleet.page(name, skip=skip, count=PAGE)
    total = sum(row.totals.workers for row in zones)
    if not zones:
        raise MissingError(f"no worker is in zone {name}", hint="look at all zones")
    inner = [row for row in zones if row.zone != name]
    return {
        **_told(view),
        "zone": name,
        "zones": inner[:ZONES_MAX],
        "zones_left": max(len(inner) - ZONES_MAX, 0),
        **_page(workers, skip=skip, total=total),
    }


def worker(view: View, name: str) -> Document:
    """One worker with everything that it has."""
    fleet = _fleet(view)
    row = fleet.rows.get(name)
    if row is None:
        raise MissingError(f"worker {name} is not known", hint="it left, or was forgotten")
    return {**_told(view), "worker": row, "tasks": fleet.of_worker(name)}


def task(view: View, name: str) -> Document:
    """One task with all its copies, and its newest snapshot."""
    fleet = _fleet(view)
    TaskId.parse(name)
    info = next((each for each in fleet.tasks if each.task == name), None)
    if info is None:
        raise MissingError(f"task {name} is not known", hint="streamer show tasks lists all")
    snapshots = view.inventory.tasks if view.inventory else ()
    return {
        **_told(view),
        "task": info,
        "copies": fleet.of_task(name),
        "snapshot": next((row for row in snapshots if row.task == name), None),
        "looked_ms": view.inventory.looked_ms if view.inventory else 0,
    }


def store(view: View, name: str, skip: int) -> Document:
    """One store: its tasks with their newest snapshots, those without or with the oldest first."""
    fleet, inventory = _fleet(view), view.inventory
    row = (
        next((each for each in inventory.stores if each.store == name), None) if inventory else None
    )
    if inventory is None or row is None:
        raise MissingError(f"store {name} is not known", hint="it is looked for every few minutes")
    owners = {
        owned: (worker_id, report)
        for worker_id, info in fleet.workers.items()
        if info.is_alive
        for owned, report in fleet.seen.statuses[worker_id].tasks.items()
        if name in report.durable
    }
    snapshots = {each.task: each for each in inventory.tasks}
    rows = [
        {
            "task": owned,
            "worker": worker_id,
            "state": report.state,
            "bytes": report.bytes,
            "position": report.durable[name],
            "snapshot": snapshots.get(owned),
        }
        for owned, (worker_id, report) in owners.items()
    ]
    rows.sort(key=lambda one: (_created_ms(one["snapshot"]), TaskId.parse(str(one["task"]))))
    return {
        **_told(view),
        "store": row,
        "looked_ms": inventory.looked_ms,
        "repository": inventory.repository,
        **_page(rows, skip=skip, total=len(rows)),
    }


def operation(view: View, name: str) -> Document:
    """One operation: its plan, its steps, how far it is, and what to do where it stopped."""
    fleet = _fleet(view)
    try:
        found = details(fleet.seen.books, name, fleet.seen.at_ms)
    except OperationRefusedError as error:
        raise MissingError(error.message, hint=error.hint) from error
    return {**_told(view), "operation": found}


def _told(view: View) -> Document:
    return {"is_read": view.fleet is not None, "trouble": view.trouble}


def _fleet(view: View) -> Fleet:
    if view.fleet is None:
        raise MissingError("the application is being read", hint="look again in some seconds")
    return view.fleet


def _page(rows: Sequence[Any], *, skip: int, total: int) -> Document:
    shown = rows[skip : skip + PAGE] if len(rows) > PAGE else rows
    return {"rows": shown, "skip": skip, "left": max(total - skip - len(shown), 0), "total": total}


def _moves(fleet: Fleet) -> Document | None:
    plan = fleet.seen.plan
    if plan is None:
        return None
    return {
        "controller": plan.controller,
        "why": plan.why,
        "left": plan.moves_left,
        "building": plan.building,
        "waiting": plan.waiting,
        "moves": plan.moves[:MOVES_MAX],
        "away": plan.away[:MOVES_MAX],
        "draining": plan.draining[:MOVES_MAX],
        "idle": len(plan.idle),
    }


def _stores(inventory: Inventory | None) -> Document | None:
    if inventory is None:
        return None
    having = [row for row in inventory.tasks if row.count]
    return {
        "looked_ms": inventory.looked_ms,
        "repository": inventory.repository,
        "rows": inventory.stores,
        "tasks": len(inventory.tasks),
        "is_complete": inventory.is_complete,
        "with_snapshot": len(having),
        "snapshots": sum(row.count for row in having),
        "snapshot_bytes": sum(row.bytes for row in having),
        "oldest_ms": min((row.created_ms for row in having), default=0),
        "newest_ms": max((row.created_ms for row in having), default=0),
        "verified": sum(row.level in ("contents", "restored") for row in having),
        "trouble": inventory.trouble,
        "hint": inventory.hint,
    }


def _created_ms(snapshot: Any) -> int:
    return int(snapshot.created_ms) if snapshot is not None else 0


def _worst_first(row: Any) -> tuple[int, str]:
    trouble = sum(letter in "xf" for letter in row.letters)
    return -trouble, row.zone
