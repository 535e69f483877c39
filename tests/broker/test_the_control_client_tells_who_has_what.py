"""What the command line and schedulers see of a running application."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.control.client import Control
from streamer.errors import TopicMissingError
from tests.broker.cluster import cluster_of
from tests.broker.conftest import Kafka, Names, wait_until


def test_workers_tasks_and_lag_of_a_running_application(
    kafka: Kafka, names: Names, tmp_path: Path
) -> None:
    with cluster_of(
        kafka.bootstrap_servers, names.application, results="none", log=tmp_path / "log"
    ) as cluster:
        with pytest.raises(TopicMissingError, match="none of its workers has run there"):
            Control(cluster.config)
        cluster.settings["zone"] = "region=eu,az=eu-1"
        controller, other = cluster.start_two()
        with Control(cluster.config) as control:
            wait_until(lambda: {each.state for each in control.tasks()} == {"running"})
            tasks = control.tasks()
            assert [each.task for each in tasks] == cluster.every
            assert {each.task for each in tasks if each.worker == "w1"} == set(
                (controller if controller.worker == "w1" else other).tasks
            )
            assert not any(each.is_moving for each in tasks)
            assert control.lag() == {f"0_{number}": number for number in range(6)}
            workers = {each.worker: each for each in control.workers()}
            assert workers.keys() == {"w1", "w2"}
            assert all(each.is_alive and each.tasks == each.assigned for each in workers.values())
            assert workers[controller.worker].is_controller
            assert not workers[other.worker].is_controller
            assert workers["w1"].address == "w1:80"
            assert workers["w1"].zone == "region=eu,az=eu-1"

            other.order("leave")
            controller.wait(lambda event: event["tasks"] == cluster.every)
            wait_until(lambda: {each.worker for each in control.tasks()} == {controller.worker})
            gone = {each.worker: each for each in control.workers()}[other.worker]
            assert not gone.is_alive
            assert gone.tasks == gone.assigned == ()
