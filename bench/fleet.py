"""What does the control of a fleet cost: bytes for a change of one worker, bytes when nothing
changes, and the time until every task of a lost zone runs again?

On a real broker, three zones, a process for each; the workers process nothing. Bytes are those of
the loopback interface, all of TCP included, so the machine must be quiet. In fleets of more than
a hundred most workers share the clients of their zone (see ``bench.systems.fleet_zone``).
"""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from bench.broker import running_broker
from bench.light import Fleet, processes
from bench.measure import MeasureError, cpu_s
from bench.options import Options, UsageError
from bench.report import Column, Row
from bench.run import failure, say

TITLE = "fleet"
COLUMNS = (
    Column("workers", "workers", ","),
    Column("tasks", "tasks", ","),
    Column("clients", "clients"),
    Column("start_s", "start, s", ".1f", spread=True),
    Column("bytes_per_worker_s", "bytes per worker and s", ",.0f", spread=True),
    Column("bytes_per_change", "bytes per change", ",.0f", spread=True),
    Column("converge_s", "zone lost, s", ".1f", spread=True),
    Column("cpu_s_per_worker_min", "CPU s per worker and minute", ".2f", spread=True),
    Column("correct", "correct"),
)
ZONES, PER_HOST, TASKS_PER_WORKER = "abc", 3, 10
HOSTS_PER_ZONE = (2, 8, 133)
# More members with clients of their own than this are more than a small machine can hold.
MEMBERS_MAX = 100
QUIET_S = 30.0


def run(options: Options, emit: Callable[[list[Row]], None]) -> None:
    """Calls ``emit`` with all runs of a size; ``partitions`` leaves out fleets with more tasks."""
    if options.bootstrap:
        raise UsageError("fleet counts the bytes of its own broker: leave out --bootstrap")
    sizes = [
        hosts
        for hosts in HOSTS_PER_ZONE
        if not options.partitions or _workers(hosts) * TASKS_PER_WORKER <= options.partitions
    ]
    if not sizes:
        smallest = _workers(HOSTS_PER_ZONE[0]) * TASKS_PER_WORKER
        raise UsageError(f"the smallest fleet has {smallest} tasks")
    for hosts in sizes:
        rows: list[Row] = []
        for turn in range(1, options.runs + 1):
            say(f"run {turn} of {options.runs}: {_workers(hosts)} workers")
            shape = {
                "workers": _workers(hosts),
                "tasks": _workers(hosts) * TASKS_PER_WORKER,
                "clients": "shared" if _workers(hosts) > MEMBERS_MAX else "each its own",
            }
            try:
                with running_broker(None) as bootstrap:
                    rows.append({**shape, **_measured(bootstrap, hosts)})
            except Exception as error:
                rows.append({**shape, "correct": False, "error": failure(error)})
        emit(rows)


def remarks(rows: list[Row]) -> list[str]:
    """How the tasks of a lost zone came back."""
    lines = []
    for row in rows:
        curve = row.get("curve")
        if isinstance(curve, list):
            points = ", ".join(f"{at:.1f} s: {share:.0%}" for at, share in curve)
            lines.append(
                f"{row['workers']} workers, tasks with an owner after a zone was lost: {points}"
            )
    return lines


def _workers(hosts: int) -> int:
    return len(ZONES) * hosts * PER_HOST + 1


def _measured(bootstrap: str, hosts: int) -> dict[str, object]:
    workers = _workers(hosts)
    fleet = Fleet(workers * TASKS_PER_WORKER)
    application = f"bench-{uuid.uuid4().hex[:8]}"
    common = {
        "application": application,
        "bootstrap": bootstrap,
        "fleet": workers,
        "tasks": fleet.tasks,
    }
    of_zone = {"hosts": hosts, "per_host": PER_HOST, "is_shared": workers > MEMBERS_MAX}
    with processes() as start:
        began = time.time()
        children = {zone: start(zone, {**common, **of_zone, "zone": zone}, fleet) for zone in ZONES}
        # The one that is going to change has a process to itself.
        children["lone"] = start(
            "lone", {**common, "zone": "a", "hosts": 1, "per_host": 1, "first_host": hosts}, fleet
        )
        start_s = fleet.settle(children) - began
        busy_s, sent, since = _cpu_s(children), _loopback_bytes(), time.monotonic()
        time.sleep(QUIET_S)
        quiet_s = time.monotonic() - since
        per_s = (_loopback_bytes() - sent) / quiet_s
        busy_s = _cpu_s(children) - busy_s

        sent, since = _loopback_bytes(), time.monotonic()
        _lose(children, "lone", fleet)
        fleet.settle(children)
        change = _loopback_bytes() - sent - per_s * (time.monotonic() - since)

        fleet.curve.clear()
        lost_at = time.time()
        _lose(children, "c", fleet)
        lost_share = fleet.share
        converged = fleet.settle(children) - lost_at
        curve = [(0.0, lost_share), *((at - lost_at, share) for at, share in fleet.curve)]
    return {
        "start_s": start_s,
        "bytes_per_worker_s": per_s / workers,
        "bytes_per_change": change,
        "converge_s": converged,
        "cpu_s_per_worker_min": busy_s / workers / quiet_s * 60,
        "curve": curve[:: max(len(curve) // 12, 1)] + curve[-1:],
        "correct": fleet.is_whole,
    }


def _lose(children: dict[str, subprocess.Popen[str]], name: str, fleet: Fleet) -> None:
    child = children.pop(name)
    child.kill()
    child.wait()
    while not fleet.said.empty():
        fleet.hear(0)
    fleet.lose(name)


def _cpu_s(children: dict[str, subprocess.Popen[str]]) -> float:
    return sum(cpu_s(child.pid) for child in children.values())


def _loopback_bytes() -> int:
    """Received bytes of the loopback interface; each is also one that was sent."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, figures = line.partition(":")
        if name.strip() == "lo":
            return int(figures.split()[0])
    raise MeasureError("/proc/net/dev has no loopback interface")
