"""A record that nobody can read stops who reads again, and retention takes what it has yet to read:
both are named, a second replay is refused meanwhile, and what is taken back leaves the live
application as it was."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_record
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from tests.broker.conftest import Read
from tests.broker.feeder import Feeder
from tests.broker.folds import Conductor, does, running, told
from tests.broker.workers import Application
from tests.thorough import thorough

pytestmark = pytest.mark.long

NO_NUMBER = b"not a number"
SKIPS = ("--set", "deserialization_error=skip")


@pytest.fixture
def made(application: Any) -> Application:
    return application("tally", outputs=("totals",), partitions=4)  # type: ignore[no-any-return]


def held_by(made: Application, operation: str) -> str:
    steps = told(made, operation)["steps"]
    return " ".join(str((step.get("progress") or {}).get("held_by", "")) for step in steps)


def left(made: Application, operation: str) -> list[str]:
    own = f"{made.name}.{operation}"
    return [topic for topic in Admin(config_of(made)).topics() if topic.startswith(own)]


def config_of(made: Application) -> Config:
    return Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)


@thorough
def test_the_live_application_is_as_it_was(
    made: Application, conductor: Conductor, wait_until: Any
) -> None:
    config = config_of(made)
    admin = Admin(config)
    worker = made.worker("a", deserialization_error="skip")
    worker.wait_started(1)
    with Feeder(made, rate=200) as feeder, Control(config) as control:
        wait_until(lambda: len(running(control)) == 4, what="all tasks")
        made.kafka.produce(made.topic("in"), [("customer-1", NO_NUMBER.decode())])
        wait_until(lambda: feeder.count > 500, what="records around it")

        # Its own policy is to stop, as by default.
        operation = conductor.plan(command="replay")["operation"]
        conductor.starts("apply", operation)
        first = conductor.works(operation)
        wait_until(
            lambda: "which has failed on" in held_by(made, operation), what="the task is named"
        )
        other = conductor.plan(command="replay")["operation"]
        code, _out, err = conductor.ends("apply", other, command="replay")
        assert code == 3, err
        assert operation in err, "who has it"
        does(made, "operations", "cancel", operation)
        first.wait(120)
        assert left(made, operation) == []

        # What it has yet to read is gone, half-way.
        operation = conductor.plan(command="replay")["operation"]
        conductor.starts("apply", operation)
        origin = f"{made.name}.{operation}"
        inputs = [TopicPartition(made.topic("in"), number) for number in range(4)]
        second = conductor.works(operation, *SKIPS)
        wait_until(
            lambda: min(admin.committed(origin, inputs).values(), default=0) > 0,
            what="something of each partition",
        )
        second.kill()
        second.wait()
        known = admin.committed(origin, inputs)
        wait_until(
            lambda: all(
                at > known[place] for place, at in admin.committed(made.name, inputs).items()
            ),
            what="more of each partition",
        )
        # Not beyond what is read here: more comes meanwhile.
        gone = admin.committed(made.name, inputs)
        early = made.kafka.read(made.topic("in"))
        admin.delete_before(gone)
        third = conductor.works(operation, *SKIPS, output=True)
        _out, err = third.communicate(timeout=240)
        assert third.returncode == 3, err
        assert "the input does not reach back so far any more" in err
        does(made, "operations", "cancel", operation)
        assert left(made, operation) == []
        assert current_record(config, admin).number == 1  # type: ignore[union-attr]
        assert len(running(control)) == 4
        feeder.stop()
    made.wait_until_done(made.topic("in"), watch=[worker])
    judge(made, early, feeder.count + 1)
    assert worker.stop() == 0


def judge(made: Application, early: list[Read], count: int) -> None:
    """Totals of all records, those included that were deleted since they were read early."""
    records = {
        (one.partition, one.offset): one for one in (*early, *made.kafka.read(made.topic("in")))
    }
    assert len(records) == count
    wanted: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for one in records.values():
        if one.value != NO_NUMBER:
            name, amount = (one.key or b"").decode(), json.loads(one.value or b"0")
            wanted[name] = (wanted[name][0] + 1, wanted[name][1] + amount)
    found = {}
    for one in made.kafka.read(made.topic("totals")):
        row = json.loads(one.value or b"null")
        found[(one.key or b"").decode()] = (row["count"], row["sum"])
    assert found == wanted
