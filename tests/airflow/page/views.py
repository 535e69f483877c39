"""Views of fleets that no small machine can run, made by the codecs of control records."""

from __future__ import annotations

from typing import Any

from streamer.control.messages import TaskReport
from streamer.control.requests import ModeRecord, MoveRecord, PlanRecord
from streamer.overview.fleet import Fleet
from streamer.overview.follow import View
from streamer.overview.inventory import Inventory, SnapshotRow, StoreRow
from tests.unit.overview.fleets import NOW_MS, Drawn
from tests.unit.overview.records import books_of, operation


def view_of(drawn: Drawn, **more: Any) -> View:
    return View(version=1, fleet=Fleet(drawn.seen()), heard_ms=NOW_MS, **more)


def troubled(drawn: Drawn) -> Drawn:
    """All that a bad day has: a third of the workers lost, tasks failed, moves, many operations."""
    names = sorted(drawn.statuses)
    drawn.gone = set(names[:400])
    for at in range(400, 500):
        task = next(iter(drawn.statuses[names[at]].tasks))
        drawn.task(names[at], task, TaskReport(state="failed", lag_records=9_000))
    moves = tuple(
        MoveRecord(task=f"0_{at}", kind="standby", source="a" * 30, target="b" * 30, why="x" * 80)
        for at in range(200)
    )
    modes = tuple(
        ModeRecord(name=name, concerns=4_000, examples=("az=eu-1",) * 5, until="workers in 3 zones")
        for name in ("one_zone_left", "unplaced_standbys", "zone_violations")
    )
    drawn.plan = PlanRecord(
        controller=names[500],
        moves=moves,
        moves_left=4_000,
        modes=modes,
        away=tuple(names[:400]),
        idle=dict.fromkeys(names[:400], "is away and has no copy to keep"),
        at_ms=NOW_MS,
    )
    drawn.books = books_of(
        *(operation(f"trim-{at}", state="done") for at in range(60)),
        *(operation(f"snapshot-{at}", state="failed", kind="snapshot") for at in range(30)),
    )
    return drawn


def large_inventory() -> Inventory:
    rows = tuple(
        SnapshotRow(task=f"0_{at}", count=5, stem=f"{at:010}-{'a' * 32}", created_ms=NOW_MS - at)
        for at in range(12_000)
    )
    stores = tuple(
        StoreRow(store=f"store-{at}", topic=f"shop-store-{at}-changelog", partitions=12_000)
        for at in range(20)
    )
    return Inventory(
        looked_ms=NOW_MS, repository="s3://b", stores=stores, tasks=rows, is_complete=True
    )
