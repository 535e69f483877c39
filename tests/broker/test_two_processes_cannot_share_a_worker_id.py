"""One id, two living processes: the later one goes on, the earlier one ends and says why."""

from __future__ import annotations

from pathlib import Path

from tests.broker.cluster import cluster_of
from tests.broker.conftest import Kafka, Names


def test_the_earlier_process_ends_with_a_clear_error(
    kafka: Kafka, names: Names, tmp_path: Path
) -> None:
    with cluster_of(
        kafka.bootstrap_servers, names.application, results="none", log=tmp_path / "log"
    ) as cluster:
        stays, earlier = cluster.start_two()
        later = cluster.start(earlier.worker)
        failed = earlier.wait(lambda event: event["event"] == "failed")
        assert f"another process has taken over the worker id '{earlier.worker}'" in failed["error"]
        assert "give every worker its own worker_id" in failed["error"]
        assert earlier.child.wait(240) == 1
        cluster.wait_shared(stays, later)
        assert len([event for event in later.events if event["event"] == "failed"]) == 0
