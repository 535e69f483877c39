"""The broker stands still for longer than a session: nobody fails, every task is owned again."""

from __future__ import annotations

import time
from pathlib import Path

from streamer.sandbox import Sandbox
from tests.broker.cluster import SESSION_MS, cluster_of
from tests.broker.conftest import Kafka, Names


def test_the_cluster_comes_back_by_itself(names: Names, tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        kafka = Kafka(sandbox.bootstrap_servers)
        results = names.topic("results")
        kafka.create(results, partitions=1)
        with cluster_of(
            sandbox.bootstrap_servers, names.application, results=results, log=tmp_path / "log"
        ) as cluster:
            pair = cluster.start_two()
            sandbox.pause()
            until = time.monotonic() + 2 * SESSION_MS / 1000
            while time.monotonic() < until:
                assert all(each.child.poll() is None for each in pair)
                time.sleep(0.1)
            sandbox.resume()
            third = cluster.start("w3")
            cluster.wait_shared(*pair, third, timeout=90)
            for each in (*pair, third):
                each.do("open", "opened", "fenced", timeout=90)
                each.do("commit", "committed", "nothing to commit", "fenced", timeout=90)
                assert not [event for event in each.events if event["event"] == "failed"]
                # It was lost meanwhile, and is back once all that was said then is heard.
                until = time.monotonic() + 90
                while not each.do("lease", "lease")["holds"]:
                    assert time.monotonic() < until, f"{each.worker} answers as a copy for ever"
                    time.sleep(0.1)
