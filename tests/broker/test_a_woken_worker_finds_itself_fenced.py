"""A process that stood still for longer than its session can commit nothing when it wakes."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.broker.cluster import cluster_of
from tests.broker.conftest import Kafka, Names


def test_a_stopped_process_wakes_up_fenced_and_joins_anew(
    kafka: Kafka, names: Names, tmp_path: Path
) -> None:
    results = names.topic("results")
    kafka.create(results, partitions=1)
    with cluster_of(
        kafka.bootstrap_servers, names.application, results=results, log=tmp_path / "log"
    ) as cluster:
        awake, sleeper = cluster.start_two()
        sleeper.do("open", "opened")
        before = sleeper.events[-1]["incarnation"]
        sleeper.send(signal.SIGSTOP)
        sleeper.order("commit")  # the first thing it will try when it wakes
        awake.wait(lambda event: event["tasks"] == cluster.every)

        sleeper.send(signal.SIGCONT)
        fenced = sleeper.wait(lambda event: event["event"] == "fenced")
        assert fenced["incarnation"] == before.replace(".0", ".1")
        assert not [event for event in sleeper.events if event["event"] == "committed"]
        cluster.wait_shared(awake, sleeper)
        assert kafka.read(results) == []

        sleeper.do("open", "opened")
        sleeper.do("commit", "committed")
        assert sorted(str(row.key, "ascii") for row in kafka.read(results) if row.key) == (
            sleeper.tasks
        )
