"""Light workers of one zone in one process: real members of a real cluster that process nothing.

What they are told to own they own at once, and every copy is warm. Each change goes to standard
output as a line of JSON. They die with the process, as a zone does.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass

from streamer.clock import SystemClock
from streamer.cluster.member import Member
from streamer.cluster.plan import Policy
from streamer.cluster.steps import Limits
from streamer.cluster.work import Work
from streamer.config import Config
from streamer.control.messages import StandbyReport, TaskReport
from streamer.errors import FencedError
from streamer.ids import TaskId

TURN_S = 0.02
STATE_BYTES = 1 << 20


@dataclass(frozen=True)
class Zone:
    """What the parent says on the command line. Workers are `<zone>-<host>-<slot>`."""

    application: str
    bootstrap: str
    zone: str
    hosts: int
    per_host: int
    tasks: int
    fleet: int
    first_host: int = 0


class LightWorker:
    """One member, and what it owns."""

    def __init__(self, zone: Zone, host: str, slot: int) -> None:
        self.name = f"{host}-{slot}"
        config = Config(
            application_id=zone.application,
            bootstrap_servers=zone.bootstrap,
            worker_id=self.name,
            zone=f"az={zone.zone}",
            host=host,
            assignment_partitions=zone.fleet,
        )
        # Copies are warm at once here: what is measured is the control, not the restores.
        limits = Limits(building_max=zone.tasks, building_per_worker_max=zone.tasks)
        policy = Policy(standby_replicas=1, limits=limits)
        tasks = frozenset(TaskId(0, number) for number in range(zone.tasks))
        work = Work(tasks, policy=policy)
        self.member = Member(config, work=work, clock=SystemClock(), address=f"{host}:80")
        self._seen = 0

    def turn(self) -> None:
        """Do what was assigned, and tell."""
        try:
            desired = self.member.desired()
        except FencedError:
            self._seen = 0
            self.member.rejoin()
            self._tell([], [])
            return
        if failure := self.member.failure():
            raise failure
        if desired is None or desired.version == self._seen:
            return
        self._seen = desired.version
        tasks = {
            task: TaskReport(
                state="running",
                positions={f"input/{task.partition}": desired.version * 1_000_003},
                bytes=STATE_BYTES,
                rate=100,
            )
            for task in desired.tasks
        }
        copies = {
            task: StandbyReport(is_current=True, bytes=STATE_BYTES) for task in desired.standbys
        }
        self.member.report(desired.version, tasks, copies)
        self._tell([str(task) for task in desired.tasks], [str(task) for task in desired.standbys])

    def _tell(self, tasks: list[str], copies: list[str]) -> None:
        told = {"at": time.time(), "worker": self.name, "tasks": tasks, "copies": copies}
        print(json.dumps(told), flush=True)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    zone = Zone(**json.loads(sys.argv[1]))
    workers = [
        LightWorker(zone, f"{zone.zone}-{host}", slot)
        for host in range(zone.first_host, zone.first_host + zone.hosts)
        for slot in range(zone.per_host)
    ]
    for worker in workers:
        worker.member.start()
    while True:
        began = time.monotonic()
        for worker in workers:
            worker.turn()
        time.sleep(max(TURN_S - (time.monotonic() - began), 0.001))


if __name__ == "__main__":
    main()
