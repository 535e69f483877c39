"""A small real operation, and a process that carries it out.

It makes a topic with the operation's id in its name, copies numbers into it, each once, and then
names the topic in a control topic, after which there is no way back. Every number is written under
the lock, so a process that was replaced writes none.

    python -m tests.broker.copying SETTINGS VERB OPERATION     SETTINGS is JSON
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streamer import failpoints
from streamer.config import Config
from streamer.control.operations import OperationRecord
from streamer.control.plans import PLAN_FORMAT, Plan, PlannedStep
from streamer.errors import StreamerError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin, TopicSpec
from streamer.kafka.table import TableReader
from streamer.operations.executor import Executor
from streamer.operations.kinds import Kinds
from streamer.operations.ports import Effect
from streamer.operations.table import KafkaTable
from streamer.operations.work import Work

NUMBERS = 8


class World:
    """The topics of one application."""

    def __init__(self, config: Config, pause_s: float) -> None:
        self.config = config
        self.admin = Admin(config)
        self.pause_s = pause_s
        self.home = TopicPartition(f"{config.application_id}.home", 0)

    def copy(self, operation: str) -> TopicPartition:
        return TopicPartition(f"{self.config.application_id}.copy.{operation}", 0)

    def rows(self, place: TopicPartition) -> dict[str, bytes]:
        with TableReader(self.config, [place]) as reader:
            ends = self.admin.ends([place], "read_uncommitted")
            found = reader.read_to(ends, timeout_s=120)
        return {row.key: row.value for row in found if row.value is not None}


@dataclass(frozen=True)
class Make:
    topic: str
    id: str = "make"

    def is_done(self, world: World) -> bool:
        return self.topic in world.admin.topics()

    def run(self, world: World, work: Work) -> str:
        world.admin.create([TopicSpec(self.topic, 1)])
        return f"{self.topic} is there"

    def undo(self, world: World, work: Work) -> str:
        # Nothing of the product deletes topics; the test does so.
        return f"{self.topic} stays"


@dataclass(frozen=True)
class Copy:
    place: TopicPartition
    id: str = "copy"

    def is_done(self, world: World) -> bool:
        return self.place.topic in world.admin.topics() and len(world.rows(self.place)) == NUMBERS

    def run(self, world: World, work: Work) -> str:
        there = world.rows(self.place)
        for number in range(NUMBERS):
            if str(number) in there:
                continue
            work.write([Effect(self.place, str(number), str(work.epoch).encode())])
            work.progress(records_done=number + 1, records_total=NUMBERS)
            print(f"copied {number}", flush=True)
            time.sleep(world.pause_s)
        return f"{NUMBERS} numbers are copied"

    def undo(self, world: World, work: Work) -> str:
        there = world.rows(self.place)
        work.write([Effect(self.place, key, None) for key in there])
        return f"{len(there)} numbers are away"


@dataclass(frozen=True)
class Switch:
    topic: str
    id: str = "switch"

    def is_done(self, world: World) -> bool:
        return world.rows(world.home).get("home") == self.topic.encode()

    def run(self, world: World, work: Work) -> str:
        work.write([Effect(world.home, "home", self.topic.encode())])
        return f"home is {self.topic}"

    def undo(self, world: World, work: Work) -> str:
        return "home is what it was"


class Copying:
    name = "copy"

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s

    @contextmanager
    def open(self, config: Config, request: Mapping[str, Any]) -> Iterator[World]:
        yield World(config, self.pause_s)

    def plan(self, world: World, request: Mapping[str, Any]) -> Plan:
        topic = world.copy(request["name"]).topic
        return Plan(
            format=PLAN_FORMAT,
            kind=self.name,
            steps=tuple(
                PlannedStep(id=name, summary=name, parameters={"topic": topic})
                for name in ("make", "copy", "switch")
            ),
            no_return="switch",
            no_return_when="done",
            seen={"home": str(world.rows(world.home).get("home"))},
        )

    def steps(self, plan: Plan) -> list[Make | Copy | Switch]:
        topic = plan.steps[0].parameters["topic"]
        return [Make(topic), Copy(TopicPartition(topic, 0)), Switch(topic)]


def executor(config: Config, *, lease_ms: int = 30_000, pause_s: float = 0.0) -> Executor:
    kinds = Kinds([Copying(pause_s)])
    return Executor(config, KafkaTable(config), kinds, lease_ms=lease_ms)


def main(settings: str, verb: str, operation: str) -> int:
    given = json.loads(settings)
    failpoints.arm(given.pop("failpoints", ""))
    pause_s, lease_ms = given.pop("pause_s", 0.0), given.pop("lease_ms", 30_000)
    with executor(Config(**given), lease_ms=lease_ms, pause_s=pause_s) as one:
        try:
            record: OperationRecord = getattr(one, verb)(operation)
        except StreamerError as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            return 1
    print(record.state, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
