"""What lies before the snapshots is gone from the changelogs: feeds begin with the snapshots' rows.
Their process is killed while they do, and another one goes on, under load."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.config import Config
from streamer.control.client import Control
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from tests.broker.feeder import Feeder
from tests.broker.folds import Conductor, does, judge, own, running, told
from tests.broker.snapshots import Snapshots
from tests.broker.workers import Application
from tests.thorough import thorough

pytestmark = pytest.mark.long


@pytest.fixture
def made(application: Any) -> Application:
    return application("folding", outputs=("totals", "groups"), partitions=4)  # type: ignore[no-any-return]


@thorough
def test_all_of_the_state_is_in_the_next_layout(
    made: Application, conductor: Conductor, wait_until: Any
) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    admin = Admin(config)
    repository = f"file://{made.directory / 'snapshots'}"
    workers = [made.worker(host, snapshot_repository=repository) for host in "ab"]
    workers[0].wait_started(1)
    with Feeder(made, rate=300) as feeder, Control(config) as control:
        wait_until(lambda: len(running(control)) == 8, what="all tasks of layout 1")
        wait_until(lambda: feeder.count > 1_500, what="a state that is worth a snapshot")
        snapshots = Snapshots(made, snapshot_repository=repository)
        snapshots.run("create")
        cut = {
            TopicPartition(one.topic, one.partition): one.position
            for manifest in snapshots.manifests()
            for one in manifest.changelog
        }
        admin.delete_before({place: at for place, at in cut.items() if at > 0})
        starts = admin.starts(cut)
        assert starts == cut

        without = conductor.refused("plan", "0=2", "1=2")
        assert "were trimmed" in without
        assert "snapshot_repository" in without
        named = ("--set", f"snapshot_repository={repository}")
        plan = conductor.plan("0=2", "1=2", *named)
        (copied,) = [step["what"] for step in plan["steps"] if step["step"] == "copy"]
        trimmed = {(place.topic, place.partition) for place, at in starts.items() if at > 0}
        assert f", {len(trimmed)} of which begin with a snapshot" in copied
        conductor.dies("feed.after_commit", plan["operation"])
        does(made, "operations", "resume", plan["operation"], "--take-over")
        record = told(made, plan["operation"])
        assert record["state"] == "done", record
        assert running(control) == {"0_0", "0_1", "1_0", "1_1"}
        feeder.stop()
    made.wait_until_done(made.topic("in"), own(made, 2), watch=workers)
    judge(made, config)
    assert [one.stop() for one in workers] == [0, 0]
