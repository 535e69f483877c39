"""A topic is given a third partition and its tasks become three, under load; those that count its
records under other keys, behind a topic of the application's own, stay two and go on."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.client import Control
from tests.broker.applications.folding import group
from tests.broker.feeder import Feeder
from tests.broker.folds import Conductor, does, running
from tests.broker.workers import Application


@pytest.fixture
def made(application: Any) -> Application:
    return application("folding", outputs=("totals", "groups"), partitions=2)  # type: ignore[no-any-return]


def test_each_record_counts_once(made: Application, conductor: Conductor, wait_until: Any) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    worker = made.worker()
    worker.wait_started(4)
    with Feeder(made, rate=200) as feeder, Control(config) as control:
        wait_until(lambda: feeder.count > 200, what="a state")
        does(made, "repartition", "apply", conductor.plan("0=3")["operation"])
        assert running(control) == {"0_0", "0_1", "0_2", "1_0", "1_1"}
        before = feeder.count
        wait_until(lambda: feeder.count > before + 200, what="records after it")
        feeder.stop()
    own = f"{made.name}-by-group-repartition"
    made.wait_until_done(made.topic("in"), own, watch=[worker])
    wanted = Counter[str]()
    for record in made.kafka.read(made.topic("in")):
        key = (record.key or b"").decode()
        wanted.update([f"totals {key}", f"groups {group(key, 0)}"])
    found = {
        f"{topic} {(record.key or b'').decode()}": json.loads(record.value or b"{}")["count"]
        for topic in ("totals", "groups")
        for record in made.kafka.read(made.topic(topic))
    }
    assert found == wanted
    assert worker.stop() == 0
