"""What does the control of a fleet cost: bytes for a change of one worker, bytes when nothing
changes, and the time until every task of a lost zone runs again?

On a real broker, three zones, a process for each; the workers process nothing. In fleets of more
than a hundred most workers share clients with others (see ``bench.systems.fleet_zone``).

Bytes are counted twice: as batches of control records, once written and as often as they are read,
and as those of the loopback interface, all of TCP included, so the machine must be quiet. Both in
windows of equal length: what a window with a change has above one without. `noise_bytes` is by how
much the windows without a change differ among each other on the interface.
"""

from __future__ import annotations

import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from bench.broker import HEAP_MIB
from bench.light import Fleet, processes
from bench.measure import MeasureError, cpu_s
from bench.options import Options, UsageError
from bench.report import Column, Row
from bench.run import failure, say
from bench.statuses import Statuses
from bench.windows import Windows
from streamer.config import Config
from streamer.control.client import Control
from streamer.control.topics import ControlTopics
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.sandbox import Sandbox

TITLE = "fleet"
COLUMNS = (
    Column("workers", "workers", ","),
    Column("tasks", "tasks", ","),
    Column("clients", "clients"),
    Column("start_s", "start, s", ".1f", spread=True),
    Column("bytes_per_worker_s", "bytes per worker and s", ",.0f", spread=True),
    Column("bytes_per_change", "records per change, bytes", ",.0f", spread=True),
    Column("loopback_per_change", "loopback per change, bytes", ",.0f", spread=True),
    Column("noise_bytes", "noise, bytes", ",.0f", spread=True),
    Column("converge_s", "zone lost, s", ".1f", spread=True),
    Column("cpu_s_per_worker_min", "CPU s per worker and minute", ".2f", spread=True),
    Column("correct", "correct"),
)
ZONES, PER_HOST, TASKS_PER_WORKER = "abc", 3, 10
HOSTS_PER_ZONE = (2, 8, 133)
# More members with clients of their own than this are more than a small machine can hold.
MEMBERS_MAX = 100
LONE = ("lone 1", "lone 2", "lone 3")
# Of those that start at once more stand for election than stay; each looks about every 15 s.
CANDIDATES_LEAVE_S = 40.0


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
                with Sandbox(heap_mib=HEAP_MIB) as sandbox:
                    rows.append({**shape, **_measured(sandbox, hosts)})
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
    return len(ZONES) * hosts * PER_HOST + len(LONE)


def _measured(sandbox: Sandbox, hosts: int) -> dict[str, object]:
    workers = _workers(hosts)
    fleet = Fleet(workers * TASKS_PER_WORKER)
    application = f"bench-{uuid.uuid4().hex[:8]}"
    common = {
        "application": application,
        "bootstrap": sandbox.bootstrap_servers,
        "fleet": workers,
        "tasks": fleet.tasks,
    }
    of_zone = {"hosts": hosts, "per_host": PER_HOST, "is_shared": workers > MEMBERS_MAX}
    logs, config = sandbox.directory / "data", _config(sandbox, application)
    with processes() as start:
        began = time.time()
        children = {zone: start(zone, {**common, **of_zone, "zone": zone}, fleet) for zone in ZONES}
        # Those that are going to change have a process each.
        for number, name in enumerate(LONE):
            lone = {"zone": "a", "hosts": 1, "per_host": 1, "first_host": hosts + number}
            children[name] = start(name, {**common, **lone}, fleet)
        start_s = fleet.settle(children) - began
        say("waiting until surplus candidates have left")
        time.sleep(CANDIDATES_LEAVE_S)
        windows = Windows(logs, application, Statuses(config, logs))
        busy_s, since = _cpu_s(children), time.monotonic()
        windows.watch_quiet()
        windows.watch_quiet()
        busy_s, quiet_s = _cpu_s(children) - busy_s, time.monotonic() - since
        for name in LONE:
            windows.watch(partial(_lose, children, name, fleet))
            fleet.settle(children)
            windows.watch_quiet()
        moved = windows.records_per_change(_readers(config, fleet.has))
        zone = _controller(config)[0]
        converged, curve = _zone_lost(children, fleet, zone)
    return {
        "start_s": start_s,
        "bytes_per_worker_s": windows.bytes_per_s / workers,
        "bytes_per_change": moved,
        "loopback_per_change": windows.loopback_per_change,
        "noise_bytes": windows.noise_bytes,
        "converge_s": converged,
        "cpu_s_per_worker_min": busy_s / workers / quiet_s * 60,
        "curve": curve[:: max(len(curve) // 12, 1)] + curve[-1:],
        "correct": fleet.is_whole,
    }


def _readers(config: Config, workers: Iterable[str]) -> dict[TopicPartition, int]:
    """An assignment is read by every worker whose assignments are in its partition."""
    topics = ControlTopics.find(config, Admin(config))
    return Counter(topics.assignment(worker) for worker in workers)


def _config(sandbox: Sandbox, application: str) -> Config:
    return Config(application_id=application, bootstrap_servers=sandbox.bootstrap_servers)


def _controller(config: Config) -> str:
    """Its zone is the one that is lost: the worst case, since another has to be elected first."""
    with Control(config) as control:
        for one in control.workers():
            if one.is_controller:
                return one.worker
    raise MeasureError("there is no controller")


def _zone_lost(
    children: dict[str, subprocess.Popen[str]], fleet: Fleet, zone: str
) -> tuple[float, list[tuple[float, float]]]:
    """Seconds until all is whole again, and the share of tasks with an owner meanwhile."""
    fleet.curve.clear()
    lost_at = time.time()
    _lose(children, zone, fleet)
    lost_share = fleet.share
    converged = fleet.settle(children) - lost_at
    return converged, [(0.0, lost_share), *((at - lost_at, share) for at, share in fleet.curve)]


def _lose(children: dict[str, subprocess.Popen[str]], name: str, fleet: Fleet) -> None:
    child = children.pop(name)
    child.kill()
    child.wait()
    while not fleet.said.empty():
        fleet.hear(0)
    fleet.lose(name)


def _cpu_s(children: dict[str, subprocess.Popen[str]]) -> float:
    return sum(cpu_s(child.pid) for child in children.values())
