"""Fleets as control records tell them, written and read by the codecs that workers use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from msgspec.structs import replace as changed

from streamer.control.messages import (
    AssignmentRecord,
    StandbyReport,
    StatusRecord,
    TaskReport,
    decode_assignment,
    decode_status,
    encode,
)
from streamer.control.requests import DrainRecord, PlanRecord
from streamer.control.view import workers_of
from streamer.operations.books import Books
from streamer.overview.seen import Seen

NOW_MS = 1_800_000_000_000
APPLICATION = "shop"
MIB = 1 << 20


@dataclass
class Drawn:
    """A fleet that a test changes as it likes before it looks."""

    statuses: dict[str, StatusRecord] = field(default_factory=dict)
    assignments: dict[str, AssignmentRecord] | None = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    controller: str = ""
    plan: PlanRecord | None = None
    drain: DrainRecord = field(default_factory=DrainRecord)
    books: Books = field(default_factory=Books)
    refused: dict[str, str] = field(default_factory=dict)

    def task(self, worker: str, task: str, report: TaskReport) -> None:
        status = self.statuses[worker]
        self.statuses[worker] = changed(status, tasks={**status.tasks, task: report})

    def copy(self, worker: str, task: str, report: StandbyReport) -> None:
        status = self.statuses[worker]
        self.statuses[worker] = changed(status, standbys={**status.standbys, task: report})

    def seen(self) -> Seen:
        statuses = {
            name: decode_status(f"{APPLICATION}.status", name, encode(one))
            for name, one in self.statuses.items()
        }
        assignments = {
            name: decode_assignment(f"{APPLICATION}.assignments", name, encode(one))
            for name, one in (self.assignments or {}).items()
        }
        members = {
            (name, f"{name}s"): name == self.controller
            for name in statuses
            if name not in self.gone
        }
        return Seen(
            application=APPLICATION,
            at_ms=NOW_MS,
            workers=workers_of(assignments, statuses, members=members, now_ms=NOW_MS),
            statuses=statuses,
            assignments=None if self.assignments is None else assignments,
            plan=self.plan,
            drain=self.drain,
            books=self.books,
            refused=self.refused,
            warm_lag=100,
        )


def fleet_of(zones: Mapping[str, int], *, per_worker: int = 10, hosts_of: int = 3) -> Drawn:
    """So many workers in each zone. Each runs tasks of its own and keeps a copy of as many tasks of
    the worker that has its number in the next zone."""
    names = {
        zone: [f"{_short(zone)}-{at:04}" for at in range(count)] for zone, count in zones.items()
    }
    flat = [(zone, name) for zone, each in names.items() for name in each]
    owned = {
        name: tuple(f"0_{at * per_worker + number}" for number in range(per_worker))
        for at, (_zone, name) in enumerate(flat)
    }
    order = list(names)
    drawn = Drawn(controller=flat[0][1])
    for zone, name in flat:
        following = names[order[(order.index(zone) + 1) % len(order)]]
        other = following[names[zone].index(name) % len(following)]
        drawn.statuses[name] = _status(zone, name, owned[name], owned[other], hosts_of=hosts_of)
        assert drawn.assignments is not None
        drawn.assignments[name] = AssignmentRecord(
            format=1, version=1, worker=name, incarnation=f"{name}s.0",
            tasks=owned[name], standbys=owned[other],
        )  # fmt: skip
    drawn.plan = PlanRecord(controller=drawn.controller, at_ms=NOW_MS - 5_000)
    return drawn


def _status(
    zone: str, name: str, tasks: tuple[str, ...], copies: tuple[str, ...], *, hosts_of: int
) -> StatusRecord:
    number = int(name.rpartition("-")[2])
    running = {
        task: TaskReport(
            state="running",
            lag_records=3,
            positions={f"purchases/{task[2:]}": 1_000},
            bytes=5 * MIB,
            rate=40,
            durable={"totals": 900},
        )
        for task in tasks
    }
    standbys = {
        task: StandbyReport(lag_records=0, is_current=True, bytes=5 * MIB, durable={"totals": 890})
        for task in copies
    }
    return StatusRecord(
        format=1,
        number=7,
        worker=name,
        incarnation=f"{name}s.0",
        tasks=running,
        standbys=standbys,
        zone=zone,
        host=f"host-{_short(zone)}-{number // hosts_of}",
        address=f"10.0.0.1:{8_000 + number}",
        at_ms=NOW_MS - 1_000,
    )


def _short(zone: str) -> str:
    values = (tag.partition("=")[2] for tag in zone.split(","))
    return "-".join("".join(filter(str.isalnum, value)) for value in values) or "none"


def without_assignments(drawn: Drawn) -> Drawn:
    return replace(drawn, assignments=None)


LARGE = {f"cloud=a,region=eu,az=eu-{az}": 400 for az in (1, 2, 3)}
