"""One of three brokers is killed and comes back: no worker is fenced or loses a task, transactions
go on, and who leaves is heard of.

`make chaos` has it three times under load, with the time that Kafka takes by default.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamer.control.topics import ControlTopics
from streamer.kafka.admin import Admin
from streamer.sandbox import SandboxCluster
from tests.broker.cluster import Cluster, WorkerProcess, cluster_of
from tests.broker.conftest import Kafka, Names
from tests.thorough import thorough

pytestmark = pytest.mark.long

PATIENCE_S = 480.0


@pytest.fixture
def own() -> Iterator[SandboxCluster]:
    with SandboxCluster() as running:
        yield running


@thorough
def test_nobody_loses_a_task(
    own: SandboxCluster, names: Names, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    kafka = Kafka(own.bootstrap_servers)
    results = names.topic("results")
    kafka.create(results, partitions=6)
    with cluster_of(
        own.bootstrap_servers, names.application, results=results, log=tmp_path / "log"
    ) as cluster:
        # A broker is given up in half of what a session is by default.
        cluster.settings |= {"replication_factor": 3, "session_timeout_ms": 6_000}
        workers = [cluster.start(name) for name in ("w1", "w2", "w3")]
        cluster.wait_shared(*workers)
        node = _leader_of_assignments(cluster, kafka, "w1")
        seen = [len(each.events) for each in workers]
        _commit(workers)

        own.brokers[node].kill()
        _commit(workers)
        for each in workers:
            _wait_for_lease(each)
        wait_until(
            lambda: _leader_of_assignments(cluster, kafka, "w1") != node, what="another leader"
        )
        _assert_nothing_moved(workers, seen)

        workers.pop().do("leave", "left", timeout=PATIENCE_S)
        cluster.wait_shared(*workers, timeout=PATIENCE_S)
        seen = [len(each.events) for each in workers]
        own.brokers[node].restart(timeout=PATIENCE_S)
        wait_until(
            lambda: _leader_of_assignments(cluster, kafka, "w1") == node,
            timeout=PATIENCE_S,
            what="the leader of before",
        )
        _commit(workers)
        _assert_nothing_moved(workers, seen)

    copies = {
        (len(partition.replicas), len(partition.isrs))
        for name, topic in kafka.admin.list_topics(timeout=120).topics.items()
        if name.startswith(names.application)
        for partition in topic.partitions.values()
    }
    assert copies == {(3, 3)}
    # Twice by three workers, then by two.
    written = [record.key or b"" for record in kafka.read(results)]
    assert sorted(written) == sorted(3 * [task.encode() for task in cluster.every])


def _leader_of_assignments(cluster: Cluster, kafka: Kafka, worker: str) -> int:
    place = ControlTopics.find(cluster.config, Admin(cluster.config)).assignment(worker)
    found = kafka.admin.list_topics(place.topic, timeout=120).topics[place.topic]
    return int(found.partitions[place.partition].leader)


def _commit(workers: list[WorkerProcess]) -> None:
    """A record of each task, in a transaction of each worker."""
    for each in workers:
        assert each.do("open", "opened", "fenced", timeout=PATIENCE_S)["event"] == "opened"
        assert each.do("commit", "committed", "fenced", timeout=PATIENCE_S)["event"] == "committed"


def _wait_for_lease(worker: WorkerProcess) -> None:
    until = time.monotonic() + PATIENCE_S
    while not worker.do("lease", "lease", timeout=PATIENCE_S)["holds"]:
        assert time.monotonic() < until, f"{worker.worker} answers as a copy for ever"
        time.sleep(0.1)


def _assert_nothing_moved(workers: list[WorkerProcess], seen: list[int]) -> None:
    for each, before in zip(workers, seen, strict=True):
        later = each.events[before:]
        assert all(event["tasks"] == each.events[before - 1]["tasks"] for event in later), later
        assert not {event["event"] for event in later} & {"fenced", "failed"}, later
