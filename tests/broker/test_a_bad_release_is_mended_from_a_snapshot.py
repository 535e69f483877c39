"""A release counts twice for a while. With the next one the state is computed once more, from the
snapshots that were made before: the input does not reach back to its begin any more. While the rows
of the snapshots are written, the conductor is killed; all of it under load."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.client import Control
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.record import Record
from tests.broker.applications.mended import BAD
from tests.broker.feeder import Feeder
from tests.broker.folds import Conductor, running, told
from tests.broker.snapshots import Snapshots
from tests.broker.workers import Application, Worker
from tests.thorough import thorough

pytestmark = pytest.mark.long


@pytest.fixture
def made(application: Any) -> Application:
    return application("mended", outputs=("totals", "came"), partitions=4)  # type: ignore[no-any-return]


def released(made: Application, worker: Worker | None, *, bad: bool, **settings: Any) -> Worker:
    """The worker of the next release, once the former one has left."""
    if worker is not None:
        assert worker.stop() == 0
    made.environment = {BAD: "1"} if bad else {}
    return made.worker("a", **settings)


def totals(made: Application) -> dict[str, tuple[int, int]]:
    """The last result of each key."""
    found = {}
    for record in made.kafka.read(made.topic("totals")):
        row = json.loads(record.value or b"null")
        found[(record.key or b"").decode()] = (row["count"], row["sum"])
    return found


def check_results(made: Application, records: Iterable[Record]) -> None:
    """The last ones of each key, as if each of its records had counted once."""
    wanted: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for one in records:
        name, amount = (one.key or b"").decode(), json.loads(one.value or b"0")
        wanted[name] = (wanted[name][0] + 1, wanted[name][1] + amount)
    assert totals(made) == wanted
    last = {
        (one.key or b"").decode(): json.loads(one.value or b"0")
        for one in made.kafka.read(made.topic("came"))
    }
    assert last == {name: count for name, (count, _sum) in wanted.items()}


def check_hints(conductor: Conductor, *named: str) -> None:
    """What is refused names the first time that will do, which then does as it stands."""
    for since, why in (
        ((), "the input does not reach back to its begin any more"),
        (("--from", "2001-01-01T00:00Z"), "that was made by 2001-01-01T00:00:00+00:00"),
    ):
        code, _out, err = conductor.ends("plan", *since, *named, command="replay")
        assert code == 3, err
        assert why in err
        first = err.split("the first time that will do is --from ")[1].split()[0]
        assert conductor.plan("--from", first, *named, command="replay")["base"]


@thorough
def test_its_state_is_as_if_that_had_never_been(
    made: Application, conductor: Conductor, wait_until: Any
) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    admin = Admin(config)
    repository = f"file://{made.directory / 'snapshots'}"
    named = ("--set", f"snapshot_repository={repository}")
    release = {"snapshot_repository": repository}
    worker = released(made, None, bad=False, **release)
    worker.wait_started(1)
    with Feeder(made, rate=300) as feeder, Control(config) as control:
        wait_until(lambda: len(running(control)) == 4, what="all tasks")
        wait_until(lambda: feeder.count > 1_000, what="a state that is worth a snapshot")
        snapshots = Snapshots(made, snapshot_repository=repository)
        snapshots.run("create")
        good_ms = time.time_ns() // 1_000_000
        begin = {
            TopicPartition(one.topic, one.partition): one.position
            for manifest in snapshots.manifests()
            for one in manifest.input
        }
        early = made.kafka.read(made.topic("in"))
        admin.delete_before(begin)
        assert admin.starts(begin) == begin

        worker = released(made, worker, bad=True, **release)
        before = feeder.count
        wait_until(lambda: len(running(control)) == 4, what="all tasks of the bad release")
        wait_until(lambda: feeder.count > before + 1_000, what="what it counts twice")
        worker = released(made, worker, bad=False, **release)
        wait_until(lambda: len(running(control)) == 4, what="all tasks of the mended release")

        check_hints(conductor, *named)
        since = ("--from", str(good_ms), "--outputs", "on")
        plan = conductor.plan(*since, *named, command="replay")
        operation = plan["operation"]
        conductor.dies("replay.after_rows", operation, *named, command="replay")
        code, out, err = conductor.ends(
            *("diff", operation, "--timeout", "5", *named), command="replay"
        )
        assert code != 0, f"nobody has read anything again yet: {out}\n{err}"
        conductor.works(operation)
        # Whose the rows under other keys are says the code, which an id alone has not.
        code, out, err = conductor.ends(
            "resume", operation, "--take-over", *named, command="operations"
        )
        assert code == 0, f"{out}\n{err}"
        record = told(made, operation)
        assert record["state"] == "done", record
        assert len(running(control)) == 4
        feeder.stop()
    made.wait_until_done(made.topic("in"), watch=[worker])
    records = {
        (one.partition, one.offset): one for one in (*early, *made.kafka.read(made.topic("in")))
    }
    assert len(records) == feeder.count
    check_results(made, records.values())
    sent = [
        dict(one.headers).get("streamer-replay") for one in made.kafka.read(made.topic("totals"))
    ]
    assert set(sent) == {None, operation.encode()}, "what was computed again is marked"
    assert worker.stop() == 0
