"""Kill -9 with a transaction open: it is aborted before anyone else gets the tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from tests.broker.cluster import SESSION_MS, cluster_of
from tests.broker.conftest import Kafka, Names
from tests.thorough import thorough_but


@pytest.mark.parametrize(
    "victim", thorough_but(["the controller"], ["the controller", "the other one"])
)
def test_the_open_transaction_is_aborted_first(
    kafka: Kafka, names: Names, tmp_path: Path, victim: str
) -> None:
    results = names.topic("results")
    kafka.create(results, partitions=1)
    place = TopicPartition(results, 0)
    with cluster_of(
        kafka.bootstrap_servers, names.application, results=results, log=tmp_path / "log"
    ) as cluster:
        admin = Admin(cluster.config)
        controller, other = cluster.start_two()
        dies, lives = (controller, other) if victim == "the controller" else (other, controller)
        dies.do("open", "opened")
        sent = admin.ends([place], "read_uncommitted")[place]
        assert sent == 3
        assert admin.ends([place], "read_committed")[place] == 0

        killed_at = dies.kill()
        event = lives.wait(lambda event: event["tasks"] == cluster.every)
        # The transaction's own timeout of 60 s is far away: only fencing can have aborted it.
        assert admin.ends([place], "read_committed")[place] == sent + 1
        assert kafka.read(results) == []
        assert len(kafka.read(results, isolation="read_uncommitted")) == sent
        seconds = event["at"] - killed_at
        print(f"{victim} killed: its tasks had a new owner after {seconds:.2f} s")
        assert seconds < SESSION_MS / 1000 + 20
