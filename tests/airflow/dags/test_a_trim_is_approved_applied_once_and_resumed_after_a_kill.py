"""`trim_changelogs`: by a person, within limits, after a kill, and refused."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from streamer import failpoints
from streamer.ids import TaskId, TopicPartition
from streamer.operations.trim.kind import open_world
from streamer.operations.trim.surveying import surveyed
from streamer_airflow.runs import Asked
from tests.airflow.dags.conftest import STORES, Runs, states, xcom
from tests.broker.copying import executor as copying
from tests.broker.trims import Snapshots
from tests.thorough import thorough

pytestmark = [pytest.mark.broker, pytest.mark.long]

# Beyond the cap somebody is always asked. The connection's own cap here is none.
ALL = {"beyond_cap": True}


def starts(here: Runs) -> dict[str, int]:
    places = [TopicPartition(here.made.changelog(store), 0) for store in STORES]
    found = here.made.kafka.requests.starts(places)
    return {place.topic: at for place, at in found.items()}


def trimmable(runs: Callable[..., Runs]) -> Runs:
    """An application with two snapshots whose contents were read, and records after each."""
    here = runs(partitions=1)
    here.made.worker()
    snapshots = Snapshots(here.made)
    for number in (1, 4):
        here.send(range(number, number + 3))
        snapshots.make(TaskId(0, 0))
    here.send(range(7, 9))
    # Workers tell every half second how far their disks are.
    deadline = time.monotonic() + 120
    with open_world(here.config) as world:
        while not surveyed(here.config, world, is_capped=False).chosen:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    return here


def trims(here: Runs) -> list[Any]:
    return [one for one in here.operations().values() if one.kind == "trim"]


def test_it_goes_within_its_limits_and_is_killed_in_the_middle(runs: Callable[..., Runs]) -> None:
    here = trimmable(runs)
    before = starts(here)
    at = datetime.now(tz=UTC)
    code = here.killed("trim_changelogs", "trim.after_delete=kill", at=at)
    assert code == -signal.SIGKILL
    [left] = trims(here)
    assert left.state == "running"
    half = starts(here)
    assert half != before

    resumed = here.run("trim_changelogs", at=at)
    assert resumed.state == "success", states(resumed)
    [done] = trims(here)
    assert done.id == left.id == Asked("trim", "trim_changelogs", resumed.run_id).operation()
    assert (done.state, done.epoch) == ("done", 2)
    cuts = done.request["cut"]["0_0"]
    assert starts(here) == {topic: to for topic, (_start, to) in cuts.items()}
    assert xcom(resumed, "apply")["operation"] == done.id

    # Nothing is left to be trimmed: the run ends, skipped, and is no failure.
    nothing = here.run("trim_changelogs")
    assert nothing.state == "success"
    assert states(nothing) == {
        "plan": "skipped",
        "approve": "skipped",
        "apply": "skipped",
        "settle": "success",
    }
    assert [one.id for one in trims(here)] == [done.id]


@thorough
def test_it_is_shown_rejected_approved_and_found_done(runs: Callable[..., Runs]) -> None:
    here = trimmable(runs)
    before = starts(here)
    rejected = here.run("trim_changelogs", answers={"approve": "Reject"}, **ALL)
    assert rejected.state == "failed"
    assert states(rejected)["approve"] == "failed"
    assert states(rejected)["apply"] == "upstream_failed"
    assert trims(here) == [], "a plan that was rejected leaves no trace"
    assert starts(here) == before

    at = datetime.now(tz=UTC)
    approved = here.run("trim_changelogs", at=at, answers={"approve": "Approve"}, **ALL)
    assert approved.state == "success", states(approved)
    [done] = trims(here)
    # Cleared from any stage on, it finds what is done: nobody is asked, and nothing more goes.
    for task in ("approve", "apply"):
        again = here.again_from("trim_changelogs", task, at=at)
        assert again.state == "success", (task, states(again))
        assert trims(here) == [done]


@thorough
def test_a_world_that_moved_before_the_answer_is_planned_anew_and_asked_again(
    runs: Callable[..., Runs],
) -> None:
    here = trimmable(runs)
    shown: list[str] = []

    def approve_late() -> str:
        """What the first plan is about is gone by the time somebody says yes."""
        [planned] = trims(here)
        shown.append(planned.plan_id)
        cut = planned.request["cut"]["0_0"]
        topic, (start, _to) = next(iter(cut.items()))
        here.made.kafka.requests.delete_before({TopicPartition(topic, 0): start + 1})
        return "Approve"

    def approve() -> str:
        shown.append(trims(here)[0].plan_id)
        return "Approve"

    said = {"approve": [approve_late, approve]}
    done = here.run("trim_changelogs", answers=said, approval="ask")
    assert done.state == "success", states(done)
    assert len(set(shown)) == 2
    [operation] = trims(here)
    assert (operation.state, operation.plan_id) == ("done", shown[1])
    assert xcom(done, "approve")[0]["approved_by"] == "Ann"


def test_a_structural_operation_that_holds_the_application_refuses_it_by_name(
    runs: Callable[..., Runs],
) -> None:
    here = runs(partitions=1)
    here.made.worker().wait_started(1)
    here.made.kafka.create(f"{here.made.name}.home", partitions=1)
    with copying(here.config) as other:
        name = other.propose("copy", {"name": "one"}).id
        with failpoints.armed("operations.after_step", "error"):
            assert other.start(name).state == "failed"
    refused = here.run("trim_changelogs")
    assert refused.state == "failed"
    assert states(refused)["plan"] == "failed", "it is not taken for nothing to do"
    assert trims(here) == []
