"""An application that was folded under load goes back, and nothing that was processed since is
lost. What its former layouts have left is deleted then, topics and directories, where nobody else
reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_record
from streamer.kafka.admin import Admin
from tests.broker.commands import answer
from tests.broker.feeder import Feeder
from tests.broker.folds import Conductor, does, judge, own, running, told, where
from tests.broker.workers import Application
from tests.thorough import thorough

pytestmark = pytest.mark.long

# Nobody dies here of whom others would have to hear: a busy machine may hold a process up.
LENIENT = {"session_timeout_ms": 30_000}


@pytest.fixture
def made(application: Any) -> Application:
    return application("folding", outputs=("totals", "groups"), partitions=4, **LENIENT)  # type: ignore[no-any-return]


def commit(made: Application, group: str, topic: str) -> None:
    """As a reader of that topic does who is somewhere else by now."""
    consumer = Consumer({**made.kafka.settings, "group.id": group})
    try:
        consumer.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    finally:
        consumer.close()


def states(made: Application, *hosts: str) -> set[str]:
    """The directories of tasks on the disks of these hosts."""
    found: set[str] = set()
    for host in hosts:
        tasks: Path = made.state_dir(host) / made.name / "worker-0" / "tasks"
        found |= {path.name for path in tasks.iterdir() if (path / "CURRENT").exists()}
    return found


def topics(made: Application, admin: Admin) -> set[str]:
    """Those that the application has made for itself."""
    return {topic for topic in admin.topics() if topic.startswith(f"{made.name}-")}


def fold(made: Application, conductor: Conductor, *wanted: str) -> str:
    operation: str = conductor.plan(*wanted)["operation"]
    does(made, "repartition", "apply", operation)
    return operation


@thorough
def test_it_goes_back_under_load_and_what_is_left_is_deleted(
    made: Application, conductor: Conductor, wait_until: Any
) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    admin = Admin(config)
    workers = [made.worker("a"), made.worker("b")]
    workers[0].wait_started(1)
    with Feeder(made, rate=200) as feeder, Control(config) as control:
        wait_until(lambda: len(running(control)) == 8, what="all tasks of layout 1")
        first = fold(made, conductor, "0=2", "1=2")
        assert f"{first} can be reverted" in does(made, "repartition", "status", first)
        assert f"{first} can be reverted" in does(made, "show", "layout")

        # Somebody else has read a changelog, which a completion has to name.
        audit = f"audit-of-{made.name}"
        commit(made, audit, made.changelog("totals"))

        back = conductor.revert(first)
        assert (back["reverts"], back["next_layout"]) == (first, 3)
        does(made, "repartition", "apply", back["operation"])
        recorded = current_record(config, admin)
        assert recorded is not None
        assert [one.tasks for one in recorded.subtopologies] == [4, 4]
        assert "layout 3 was recorded after it" in conductor.refused("revert", first)
        wait_until(lambda: len(running(control)) == 8, what="all tasks of layout 3")

        assert f"group {audit} (a position, no members)" in conductor.refused("complete")
        plan = answer("repartition", "complete", "--despite", audit, *where(made))
        assert plan["completes"] == [first, back["operation"]]
        assert sum(one["bytes"] or 0 for one in plan["topics"]) > 0
        assert sum(plan["disks"].values()) > 0
        before = topics(made, admin)
        does(made, "repartition", "apply", plan["operation"])
        gone = before - topics(made, admin)
        assert gone == {one["topic"] for one in plan["topics"]}
        assert {name.rpartition(".layout-")[2] for name in topics(made, admin)} == {"3"}
        assert all(name.endswith(".layout-3") for name in states(made, "a", "b"))
        assert "has completed it" in does(made, "repartition", "status", back["operation"])
        feeder.stop()
    made.wait_until_done(made.topic("in"), own(made, 3), watch=workers)
    judge(made, config)
    assert [worker.stop() for worker in workers] == [0, 0]


@thorough
def test_a_completion_that_is_killed_is_finished_and_who_was_away_removes_its_own(
    made: Application, conductor: Conductor, wait_until: Any
) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    admin = Admin(config)
    workers = [made.worker(host, standby_replicas=1) for host in ("a", "b")]
    workers[0].wait_started(1)
    with Feeder(made, rate=200) as feeder, Control(config) as control:
        wait_until(lambda: len(running(control)) == 8, what="all tasks of layout 1")
        wait_until(
            lambda: all(len(states(made, host)) == 8 for host in ("a", "b")),
            what="a copy of each task on the other worker",
        )
        fold(made, conductor, "0=2", "1=2")
        # One is away, and the other has all tasks.
        assert workers[1].stop() == 0
        wait_until(lambda: len(running(control)) == 4, what="all tasks on one worker")
        assert sum(".layout-" not in name for name in states(made, "b")) == 8

        plan = answer("repartition", "complete", *where(made))
        conductor.dies("completion.after_topics", plan["operation"])
        assert {name.rpartition(".layout-")[2] for name in topics(made, admin)} == {"2"}
        assert any(".layout-" not in name for name in states(made, "a"))
        does(made, "operations", "resume", plan["operation"], "--take-over")
        assert told(made, plan["operation"])["state"] == "done"
        assert all(name.endswith(".layout-2") for name in states(made, "a"))

        workers[1] = made.worker("b", standby_replicas=1)
        wait_until(
            lambda: all(name.endswith(".layout-2") for name in states(made, "b")),
            what="the other worker's former state to go",
        )
        feeder.stop()
    made.wait_until_done(made.topic("in"), own(made, 2), watch=workers)
    judge(made, config)
    assert [worker.stop() for worker in workers] == [0, 0]
