"""A supervisor restarts a killed worker within its session: same id, same disk, same tasks."""

from __future__ import annotations

from pathlib import Path

from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from tests.broker.cluster import cluster_of
from tests.broker.conftest import Kafka, Names


def test_nobody_waits_for_the_session_of_the_predecessor(
    kafka: Kafka, names: Names, tmp_path: Path
) -> None:
    results = names.topic("results")
    kafka.create(results, partitions=1)
    with cluster_of(
        kafka.bootstrap_servers, names.application, results=results, log=tmp_path / "log"
    ) as cluster:
        cluster.settings["session_timeout_ms"] = 60_000
        stays, dies = cluster.start_two()
        had = dies.tasks
        dies.do("open", "opened")
        told = len(stays.events)
        killed_at = dies.kill()
        back = cluster.start(dies.worker)
        event = back.wait(lambda event: event["tasks"] == had)
        print(f"killed, restarted, and with its tasks again after {event['at'] - killed_at:.2f} s")
        assert event["at"] - killed_at < 20  # a third of the session, a process start included
        place = TopicPartition(results, 0)
        ends = [Admin(cluster.config).ends([place], level)[place] for level in LEVELS]
        assert ends[0] == ends[1] == 4  # three records and the marker of the abort

        # Its tasks never went to the other one, who kept its own all the time.
        assert not [event for event in stays.events[told:] if event["event"] == "tasks"]


LEVELS = ("read_committed", "read_uncommitted")
