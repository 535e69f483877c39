"""What the loss of a worker, and of a zone, makes a controller and the others write in a fleet.

Bytes are those of batches as a broker stores them, once written and as often as they are read, as
`make bench NAME=fleet` counts them: zlib stands for zstd, assignments have a batch each, and what
the workers of a zone say in one turn is in one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from zlib import compress, crc32

import pytest
from msgspec.structs import replace

from streamer.cluster.attendance import SETTLE_MS
from streamer.cluster.core import step, tell
from streamer.cluster.events import Event, Fence, Fenced, Members, Status, Tell, Write
from streamer.cluster.plan import Policy
from streamer.cluster.state import load
from streamer.cluster.steps import Limits
from streamer.cluster.work import Work
from streamer.control.goals import encode_goal
from streamer.control.messages import (
    AssignmentRecord,
    StandbyReport,
    StatusRecord,
    TaskReport,
    encode,
)
from streamer.control.requests import encode as encode_answer
from streamer.control.topics import ControlTopics
from streamer.ids import TaskId

BYTES_MAX = 64 * 1024
TASKS_PER_WORKER, PER_HOST = 10, 3
# The head of a batch, and the batch that ends a transaction in each partition.
HEAD, MARKER = 61, 78
TURN_MS = 50


class Fleet:
    """Three zones of hosts with three workers. What they are told they do at once, and say so."""

    def __init__(self, hosts: int) -> None:
        self.alive = [
            f"{zone}-{host}-{slot}"
            for zone in "abc"
            for host in range(hosts)
            for slot in range(PER_HOST)
        ]
        every = len(self.alive) * TASKS_PER_WORKER
        limits = Limits(building_max=every, building_per_worker_max=every)
        tasks = frozenset(TaskId(0, number) for number in range(every))
        work = Work(tasks, policy=Policy(standby_replicas=1, limits=limits))
        self.state = load("boss", work, assignments=(), statuses=())
        self.topics = ControlTopics("shop", len(self.alive), 1)
        self.log: dict[str, AssignmentRecord] = {}
        self.writes: list[Write] = []
        self.said = Counter[str]()
        self.bytes = Counter[str]()
        self.now_ms = 0
        self.fenced: list[Fenced] = []
        self.hear(self.members(), *map(self.status, self.alive))
        self.now_ms += SETTLE_MS
        self.settle(set())
        assert self.owned() == tasks

    def members(self) -> Members:
        return Members(frozenset((worker, session(worker)) for worker in self.alive))

    def owned(self) -> set[TaskId]:
        told = [self.log[worker].tasks for worker in self.alive]
        assert sum(map(len, told)) == len(set().union(*told))
        return {TaskId.parse(task) for tasks in told for task in tasks}

    def lose(self, lost: Iterable[str]) -> None:
        gone = set(lost)
        self.alive = [worker for worker in self.alive if worker not in gone]
        self.writes, self.bytes = [], Counter()
        self.settle(self.hear(self.members()))

    def settle(self, told: set[str]) -> None:
        """Those who were told something say so, and so on, until nothing was to be done for as long
        as a plan may take to be told."""
        quiet_ms = 0
        while quiet_ms < 2_000:
            fenced, self.fenced = self.fenced, []
            told = self.hear(*fenced, *(self.status(worker) for worker in sorted(told)))
            quiet_ms = 0 if told or self.fenced else quiet_ms + TURN_MS

    def status(self, worker: str) -> Status:
        told = self.log.get(worker)
        self.said[worker] += 1
        record = StatusRecord(
            format=1,
            number=self.said[worker],
            worker=worker,
            incarnation=f"{session(worker)}.0",
            seen=told.version if told else 0,
            tasks={
                name: TaskReport(
                    state="running", positions={f"input/{name[2:]}": 7_654_321}, bytes=1, rate=1
                )
                for name in (told.tasks if told else ())
            },
            standbys={
                name: StandbyReport(is_current=True, bytes=1)
                for name in (told.standbys if told else ())
            },
            zone=f"az={worker[0]}",
            host=worker.rpartition("-")[0],
            address=f"{worker}:80",
            at_ms=self.now_ms,
            application="shop",
        )
        return Status(record)

    def hear(self, *events: Event) -> set[str]:
        """The workers that were told something and live."""
        self.now_ms += TURN_MS
        spoken: dict[str, list[bytes]] = defaultdict(list)
        for event in events:
            if isinstance(event, Status):
                spoken[event.record.zone].append(encode(event.record))
        self.bytes["statuses"] += sum(2 * stored(*values) for values in spoken.values())
        actions = step(self.state, events, now_ms=self.now_ms, wall_ms=self.now_ms)
        actions += tell(self.state, now_ms=self.now_ms, wall_ms=self.now_ms)
        told: set[str] = set()
        for action in actions:
            match action:
                case Fence(worker, incarnations):
                    self.fenced.append(Fenced(worker, incarnations))
                case Write(records):
                    self._write(action)
                    told |= {each.worker for each in records}
                case Tell(answer):
                    self.bytes["operations"] += 2 * (stored(encode_answer(answer)) + MARKER)
        return told.intersection(self.alive)

    def _write(self, written: Write) -> None:
        self.writes.append(written)
        self.log |= {each.worker: each for each in written.records}
        readers = Counter(map(self.topics.assignment, self.alive))
        for one in written.records:
            size = stored(encode(replace(one, application="shop"))) + MARKER
            self.bytes["assignments"] += size * (1 + readers[self.topics.assignment(one.worker)])
        values = [encode_goal(piece) or b"" for piece in written.goal.values()]
        values += [encode_answer(written.plan)] if written.plan else []
        if values:
            self.bytes["operations"] += 2 * (stored(*values) + MARKER)


def session(worker: str) -> str:
    return f"{crc32(worker.encode()):012x}"


def stored(*values: bytes) -> int:
    """In one batch; a record has a few bytes of its own besides its key and value."""
    return HEAD + len(compress(b"".join(b"a-100-1" + value for value in values)))


@pytest.mark.slow
def test_the_loss_of_one_of_1200_workers_costs_little() -> None:
    fleet = Fleet(133)
    fleet.lose(["b-100-1"])
    assert len(fleet.owned()) == len(fleet.state.plan.tasks)
    assert fleet.bytes.total() <= BYTES_MAX, fleet.bytes


@pytest.mark.slow
def test_the_loss_of_a_zone_is_one_assignment_for_each_worker_and_a_few_more() -> None:
    fleet = Fleet(15)
    everybody = len(fleet.alive)
    fleet.lose([worker for worker in fleet.alive if worker.startswith("b")])
    assert len(fleet.owned()) == len(fleet.state.plan.tasks)
    first, *later = fleet.writes
    assert len(first.records) <= everybody
    assert sum(len(each.records) for each in later) <= everybody // 3
    # Where most tasks are granted at once, there is little for the next controller to know.
    named = sum(len(piece.copies) for piece in first.goal.values())
    assert named <= len(fleet.state.plan.tasks) // 20
