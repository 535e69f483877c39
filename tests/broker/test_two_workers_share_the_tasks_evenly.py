"""Starting, growing and shrinking: every task always has one owner, and few tasks move."""

from __future__ import annotations

from pathlib import Path

from tests.broker.cluster import cluster_of
from tests.broker.conftest import Kafka, Names


def test_two_workers_share_and_a_third_takes_its_part(
    kafka: Kafka, names: Names, tmp_path: Path
) -> None:
    with cluster_of(
        kafka.bootstrap_servers, names.application, results="none", log=tmp_path / "log"
    ) as cluster:
        first, second = cluster.start_two()
        before = {task: one.worker for one in (first, second) for task in one.tasks}
        assert len(first.tasks) == len(second.tasks) == 3

        told = len(first.events), len(second.events)
        third = cluster.start("w3")
        cluster.wait_shared(first, second, third)
        after = {task: one.worker for one in (first, second, third) for task in one.tasks}
        moved = [task for task in cluster.every if before[task] != after[task]]
        assert len(moved) == 2
        assert all(after[task] == "w3" for task in moved)

        # Each of the two gave up one task at once, and was told nothing else.
        for process, since in zip((first, second), told, strict=True):
            news = [event for event in process.events[since:] if event["event"] == "tasks"]
            assert [len(event["tasks"]) for event in news] == [2]
