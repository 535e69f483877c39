"""Light workers of one zone in one process: real members of a real cluster that process nothing.

What they are told to own they own at once, and every copy is warm. Each change goes to standard
output as a line of JSON. They die with the process, as a zone does.

With `is_shared` only the first two are members with all clients of their own, and candidates for
the controller. The others have the product's seat, and each its own group that says that it lives;
but they speak through one writer, and ten of them listen through one reader: a thousand workers
with four clients each are more than a small machine can hold. A reader names all its partitions
whenever it asks, so one for all of them would cost far more than one for each.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from dataclasses import dataclass
from typing import Protocol

from streamer.clock import SystemClock
from streamer.cluster.member import Member
from streamer.cluster.plan import Policy
from streamer.cluster.seat import Desired, Seat
from streamer.cluster.steps import Limits
from streamer.cluster.work import Work
from streamer.config import Config
from streamer.control.identity import Incarnation, Listed, fresh_session
from streamer.control.messages import StandbyReport, TaskReport, decode_assignment, encode
from streamer.control.topics import ControlTopics
from streamer.errors import FencedError
from streamer.ids import TaskId
from streamer.kafka.admin import Admin
from streamer.kafka.group import Membership
from streamer.kafka.settings import FOLLOW_WAIT_MS
from streamer.kafka.table import TableReader, TableWriter, newest

TURN_S = 0.02
STATE_BYTES = 1 << 20
MEMBERS = 2
POLLS_PER_TURN = 8
READER_CHAIRS, READ_S = 10, 0.5


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
    is_shared: bool = False

    def config(self, host: str, slot: int) -> Config:
        """The settings of one worker."""
        return Config(
            application_id=self.application,
            bootstrap_servers=self.bootstrap,
            worker_id=f"{host}-{slot}",
            zone=f"az={self.zone}",
            host=host,
            assignment_partitions=self.fleet,
        )

    def member(self, config: Config) -> Member:
        """One with clients of its own, not yet started."""
        # Copies are warm at once here: what is measured is the control, not the restores.
        limits = Limits(building_max=self.tasks, building_per_worker_max=self.tasks)
        policy = Policy(standby_replicas=1, limits=limits)
        tasks = frozenset(TaskId(0, number) for number in range(self.tasks))
        work = Work(tasks, policy=policy)
        return Member(config, work=work, clock=SystemClock(), address=f"{config.host}:80")


class Place(Protocol):
    """What a worker does with its place in the cluster: a member's methods, or a seat's."""

    def desired(self) -> Desired | None: ...

    def report(
        self,
        seen: int,
        tasks: dict[TaskId, TaskReport],
        standbys: dict[TaskId, StandbyReport],
    ) -> None: ...

    def rejoin(self) -> None: ...


class Chair:
    """A seat whose clients its zone looks after."""

    def __init__(self, config: Config) -> None:
        self.seat = Seat(
            config.worker_id or "",
            Incarnation(fresh_session()),
            zone=config.zone,
            host=config.host,
            address=f"{config.host}:80",
        )

    def desired(self) -> Desired | None:
        """As `Member.desired`."""
        if self.seat.is_fenced:
            raise FencedError(f"{self.seat.incarnation} of {self.seat.worker} was fenced")
        return self.seat.desired

    def report(
        self,
        seen: int,
        tasks: dict[TaskId, TaskReport],
        standbys: dict[TaskId, StandbyReport],
    ) -> None:
        """As `Member.report`."""
        self.seat.report(seen, tasks, standbys)

    def rejoin(self) -> None:
        """As `Member.rejoin`."""
        self.seat.rejoin()


class Chairs:
    """Speaks and listens for the chairs of a zone, and keeps them alive."""

    def __init__(self, config: Config, chairs: list[Chair]) -> None:
        self._topics = ControlTopics.prepare(config, Admin(config))
        self._config = config
        self._lock = threading.Lock()
        self._chairs = {chair.seat.worker: chair for chair in chairs}
        self._lifelines = [self._lifeline(chair.seat) for chair in chairs]
        self._writer = TableWriter(config)
        self._polled = 0
        for at in range(0, len(chairs), READER_CHAIRS):
            some = chairs[at : at + READER_CHAIRS]
            threading.Thread(target=self._listen, args=(some,), daemon=True).start()

    def turn(self) -> None:
        """Show that they live, and say what is due."""
        # The client library sends the heartbeats; it wants to be polled now and then besides.
        for _ in range(POLLS_PER_TURN):
            self._lifelines[self._polled % len(self._lifelines)].poll(0)
            self._polled += 1
        clock = SystemClock()
        now_ms, wall_ms = clock.monotonic_ms(), clock.now_ms()
        interval_ms = self._config.status_interval_ms
        for worker, chair in self._chairs.items():
            with self._lock:
                said = chair.seat.status(now_ms, interval_ms=interval_ms, wall_ms=wall_ms)
            if said is not None:
                self._writer.put(self._topics.status(worker), worker, encode(said))

    def _listen(self, chairs: list[Chair]) -> None:
        """As a member does in a thread of its own: a reader that hears nothing for long asks its
        broker whether it is there, and waits for the answer."""
        places = {self._topics.assignment(chair.seat.worker) for chair in chairs}
        reader = TableReader(self._config, sorted(places), wait_ms=FOLLOW_WAIT_MS)
        while True:
            for row in newest(reader.read(READ_S)):
                if row.key in self._chairs and row.value is not None:
                    record = decode_assignment(row.place.topic, row.key, row.value)
                    with self._lock:
                        self._chairs[row.key].seat.hear(record)

    def _lifeline(self, seat: Seat) -> Membership:
        named = Listed(seat.worker, seat.incarnation.session, seat.zone)
        group = self._topics.lifeline(seat.worker)
        return Membership.of_worker(self._config, group, client_id=str(named))


class LightWorker:
    """Does what its place says, and tells."""

    def __init__(self, name: str, place: Place) -> None:
        self.name = name
        self._place = place
        self._seen = 0

    def turn(self) -> None:
        """Do what was assigned, and tell."""
        try:
            desired = self._place.desired()
        except FencedError:
            self._seen = 0
            self._place.rejoin()
            self._tell([], [])
            return
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
        self._place.report(desired.version, tasks, copies)
        self._tell([str(task) for task in desired.tasks], [str(task) for task in desired.standbys])

    def _tell(self, tasks: list[str], copies: list[str]) -> None:
        told = {"at": time.time(), "worker": self.name, "tasks": tasks, "copies": copies}
        print(json.dumps(told), flush=True)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    zone = Zone(**json.loads(sys.argv[1]))
    configs = [
        zone.config(f"{zone.zone}-{host}", slot)
        for host in range(zone.first_host, zone.first_host + zone.hosts)
        for slot in range(zone.per_host)
    ]
    alone = configs[:MEMBERS] if zone.is_shared else configs
    members = [zone.member(config) for config in alone]
    chairs = [Chair(config) for config in configs[len(alone) :]]
    shared = Chairs(configs[0], chairs) if chairs else None
    places: list[Place] = [*members, *chairs]
    workers = [
        LightWorker(config.worker_id or "", place)
        for config, place in zip(configs, places, strict=True)
    ]
    for member in members:
        member.start()
    while True:
        began = time.monotonic()
        if shared is not None:
            shared.turn()
        for worker in workers:
            worker.turn()
        for member in members:
            if failure := member.failure():
                raise failure
        time.sleep(max(TURN_S - (time.monotonic() - began), 0.001))


if __name__ == "__main__":
    main()
