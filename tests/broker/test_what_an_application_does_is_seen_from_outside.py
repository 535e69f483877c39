"""Whoever shows an application follows its topics, changelogs and snapshots from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamer.config import Config
from streamer.errors import TopicMissingError
from streamer.operations.catalog import all_kinds
from streamer.operations.executor import Executor
from streamer.operations.table import KafkaTable
from streamer.overview.alarms import alarms
from streamer.overview.fleet import Fleet
from streamer.overview.follow import Follower, View
from streamer.overview.inventory import Surveyor
from streamer.overview.watch import Watch
from streamer.sandbox import Sandbox
from tests.broker.cluster import Cluster, cluster_of
from tests.broker.conftest import Kafka, Names, wait_until
from tests.broker.workers import ROOT, Application
from tests.thorough import thorough

pytestmark = pytest.mark.long

PARTITIONS = 4
UNREADABLE = (("status", "w9"), ("operations", "lock/application"))


@pytest.fixture
def cluster(kafka: Kafka, names: Names, tmp_path: Path) -> Iterator[Cluster]:
    with cluster_of(
        kafka.bootstrap_servers, names.application, results="none", log=tmp_path / "log"
    ) as made:
        yield made


def test_workers_tasks_and_alarms_of_a_running_application(cluster: Cluster) -> None:
    with pytest.raises(TopicMissingError, match="none of its workers has run there"):
        Watch(cluster.config)
    cluster.settings["zone"] = "region=eu,az=eu-1"
    controller, other = cluster.start_two()
    with Watch(cluster.config) as watch:
        assert watch.look().assignments is None
        watch.read_assignments()
        wait_until(lambda: Fleet(watch.look()).totals.running == len(cluster.every))
        fleet = Fleet(watch.look())
        assert {each.task for each in fleet.tasks} == set(cluster.every)
        assert fleet.rows[controller.worker].is_controller
        assert [row.zone for row in fleet.zones()] == ["region=eu,az=eu-1"]
        assert [one.kind for one in alarms(fleet)] == []

        other.kill()
        wait_until(lambda: "gone_workers" in {one.kind for one in alarms(Fleet(watch.look()))})
        (gone,) = (one for one in alarms(Fleet(watch.look())) if one.kind == "gone_workers")
        assert gone.examples == (other.worker,)
        # What it had is given to the other one, and the assignments of that come by themselves.
        wait_until(lambda: not Fleet(watch.look()).missing)
        wait_until(lambda: Fleet(watch.look()).totals.running == len(cluster.every))


@thorough
def test_records_that_cannot_be_read_are_told_by_their_keys(kafka: Kafka, cluster: Cluster) -> None:
    cluster.start_two()
    name = cluster.config.application_id
    with Watch(cluster.config) as watch:
        watch.read_assignments()
        for kind, key in UNREADABLE:
            kafka.produce(f"{name}.{kind}", [(key, "nonsense")], partition=0)
        wait_until(lambda: watch.look().refused.keys() == {"w9", "lock/application"})
        (alarm,) = (one for one in alarms(Fleet(watch.look())) if one.kind == "unreadable")
        assert alarm.count == 2
        for kind, key in UNREADABLE:
            kafka.produce(f"{name}.{kind}", [(key, None)], partition=0)
        wait_until(lambda: not watch.look().refused)


@thorough
def test_a_broker_that_is_away_is_told_and_found_again(tmp_path: Path) -> None:
    with (
        Sandbox() as own,
        cluster_of(own.bootstrap_servers, "away", results="none", log=tmp_path / "log") as cluster,
        Follower(lambda: cluster.config) as follower,
    ):
        cluster.start_two()

        def view() -> View:
            return follower.view()

        wait_until(lambda: view().fleet is not None and view().fleet.totals.running == 6)  # type: ignore[union-attr]
        heard_ms = view().heard_ms
        own.pause()
        wait_until(lambda: view().trouble is not None, timeout=240)
        told = view()
        assert told.fleet is not None
        assert told.fleet.totals.workers == 2
        assert told.heard_ms >= heard_ms
        own.resume()
        wait_until(lambda: view().trouble is None and view().heard_ms > told.heard_ms, timeout=240)


@thorough
def test_changelogs_and_snapshots_are_told_with_their_sizes(
    application: Callable[..., Application], tmp_path: Path
) -> None:
    shop = application(
        "counts",
        outputs=("totals", "closed", "every"),
        partitions=PARTITIONS,
        snapshot_repository=f"file://{tmp_path}/snapshots",
    )
    shop.kafka.produce(shop.topic("in"), [(f"key-{at % 400}", str(at)) for at in range(4_000)])
    shop.run("a")
    config = Config(
        application_id=shop.name,
        bootstrap_servers=shop.kafka.bootstrap_servers,
        snapshot_repository=f"file://{tmp_path}/snapshots",
    )
    with Watch(config) as watch, Executor(config, KafkaTable(config), all_kinds()) as executor:
        wait_until(lambda: all(_durable(watch)))
        found = Surveyor().survey(config, watch.look())
        assert [row.count for row in found.tasks] == [0] * PARTITIONS
        totals = {row.store: row for row in found.stores}["totals"]
        assert (totals.topic, totals.partitions) == (shop.changelog("totals"), PARTITIONS)
        assert totals.records >= 400
        # A key and a total are some tens of bytes.
        assert 20 * totals.records < totals.bytes < 400 * totals.records

        executor.start(executor.propose("snapshot", {"order": "s1"}, operation="s1").id)
        again = Surveyor().survey(config, watch.look())
    assert again.is_complete
    assert [row.count for row in again.tasks] == [1] * PARTITIONS
    assert all(row.bytes > 0 and row.files > 0 for row in again.tasks)
    assert {row.kind for row in again.stores} == {"key-value", "window"}


def _durable(watch: Watch) -> list[bool]:
    statuses = watch.look().statuses.values()
    reports = [report for status in statuses for report in status.tasks.values()]
    return [bool(report.durable) for report in reports] or [False]


def test_the_command_line_tells_the_same(cluster: Cluster) -> None:
    controller, other = cluster.start_two()
    other.kill()
    command = [
        *(sys.executable, "-m", "streamer.cli.main", "show", "alarms", "--json"),
        *("--app", cluster.config.application_id),
        *("--bootstrap-servers", cluster.config.bootstrap_servers),
        *("--set", f"session_timeout_ms={cluster.config.session_timeout_ms}"),
        *("--set", f"heartbeat_interval_ms={cluster.config.heartbeat_interval_ms}"),
    ]

    def told() -> list[str]:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        return [one["kind"] for one in json.loads(done.stdout)]

    wait_until(lambda: "gone_workers" in told(), timeout=120)
    assert controller.worker != other.worker
