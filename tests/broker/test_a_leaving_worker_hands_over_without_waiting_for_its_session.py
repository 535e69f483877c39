"""A graceful stop waits for no session: the good-bye is enough, the controller's own too."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.broker.cluster import cluster_of
from tests.broker.conftest import Kafka, Names
from tests.thorough import thorough, thorough_but


@pytest.mark.parametrize(
    "leaver", thorough_but(["the controller"], ["the controller", "the other one"])
)
def test_the_tasks_have_a_new_owner_at_once(
    kafka: Kafka, names: Names, tmp_path: Path, leaver: str
) -> None:
    with cluster_of(
        kafka.bootstrap_servers, names.application, results="none", log=tmp_path / "log"
    ) as cluster:
        cluster.settings["session_timeout_ms"] = 60_000
        controller, other = cluster.start_two()
        goes, stays = (controller, other) if leaver == "the controller" else (other, controller)
        began = time.time()
        goes.order("leave")
        event = stays.wait(lambda event: event["tasks"] == cluster.every)
        seconds = event["at"] - began
        left = goes.wait(lambda event: event["event"] == "left")
        print(
            f"{leaver} leaves: new owner after {seconds:.3f} s, gone after {left['seconds']:.3f} s"
        )
        # A sixth of the session.
        assert seconds < 10
        assert left["seconds"] < 10
        assert goes.child.wait(240) == 0

        # The one that stays is, or becomes, the controller, and goes on as such.
        stays.wait(lambda event: event["is_controller"])
        back = cluster.start(goes.worker)
        cluster.wait_shared(stays, back)


@thorough
def test_a_controller_that_is_held_up_at_its_work_leaves_all_the_same(
    application: Any, wait_until: Any
) -> None:
    made = application("counts", outputs=("totals", "closed", "every"), session_timeout_ms=60_000)
    # It is about to make room for the second worker, and does not come to it.
    held_up = made.worker("a", failpoints="control.before_assignment=sleep:300000@2")
    held_up.wait_started(2)
    second = made.worker("b")
    wait_until(lambda: "before_assignment" in held_up.text, what="a controller that is held up")

    assert held_up.stop() == 0
    began = time.monotonic()
    second.wait_started(2)
    assert time.monotonic() - began < 30, "half of the session"
    assert second.stop() == 0
