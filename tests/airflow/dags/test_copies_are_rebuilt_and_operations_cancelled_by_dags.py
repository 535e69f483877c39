"""`rebuild_standby` of a copy that serves, `cancel_operation` of one that waits for a worker."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from streamer.errors import OperationRefusedError
from tests.airflow.dags.conftest import Runs, states, xcom

pytestmark = [pytest.mark.broker, pytest.mark.long]


def warm(runs: Callable[..., Runs]) -> Runs:
    """A worker with the only task, and one with its copy."""
    here = runs(partitions=1, standby_replicas=1)
    here.made.worker("a", worker_id="owner", zone="az=a").wait_started(1)
    keeper = here.made.worker("b", worker_id="keeper", zone="az=b")
    here.send(range(1, 4))
    deadline = time.monotonic() + 120
    while keeper.standbys() != {"0_0": 0}:
        assert time.monotonic() < deadline, keeper.tail()
        time.sleep(0.2)
    return here


def test_a_copy_is_made_anew_and_a_task_without_one_is_named(
    runs: Callable[..., Runs],
) -> None:
    here = warm(runs)
    keeper = here.made.workers[1]
    form = {"tasks": ["0_0"], "source": "changelog", "approval": "ask"}
    at = datetime.now(tz=UTC)
    said = {"approve": "Approve"}
    done = here.run("rebuild_standby", at=at, answers=said, **form, zone="az=b")
    assert done.state == "success", states(done)
    assert states(done) == {
        "targets": "success",
        "plan[0]": "success",
        "approve": "success",
        "rebuild[0]": "success",
        "settle": "success",
    }
    [operation] = here.operations().values()
    assert (operation.kind, operation.state, operation.epoch) == ("rebuild", "done", 1)
    assert operation.plan.scope == "task/0_0"
    assert "was made anew from its changelogs" in operation.steps[-1].said
    assert keeper.is_alive
    assert xcom(done, "approve")[0]["approved_by"] == "Ann"

    # Cleared from any stage on, it finds what is done: nobody is asked, and nothing is made anew.
    for task in ("targets", "plan", "approve", "rebuild", "settle"):
        again = here.again_from("rebuild_standby", task, at=at)
        assert again.state == "success", (task, states(again))
        assert list(here.operations().values()) == [operation]

    for wrong in ({"tasks": ["0_7"]}, {"tasks": ["0_0"], "zone": "az=a"}):
        failed = here.run("rebuild_standby", **wrong)
        assert failed.state == "failed"
        assert states(failed)["plan[0]"] == "failed"
    assert here.operations().keys() == {operation.id}


def test_what_waits_for_a_worker_is_cancelled_by_its_id(runs: Callable[..., Runs]) -> None:
    here = warm(runs)
    keeper = here.made.workers[1]
    keeper.send(signal.SIGSTOP)
    ended: list[str] = []
    with here.executor() as executor:
        request = {"task": "0_0", "on": "keeper", "from": "changelog", "number": "one"}
        name = executor.propose("rebuild", request, operation="one").id
        working = threading.Thread(target=lambda: ended.append(executor.start(name).state))
        working.start()
        while here.operations()[name].state != "running":
            time.sleep(0.2)
        done = here.run("cancel_operation", operation=name, why="wrong copy")
        working.join(240)
    keeper.send(signal.SIGCONT)
    assert done.state == "success", states(done)
    assert ended == ["cancelled"]
    assert here.operations()[name].state == "cancelled"
    with here.executor() as executor, pytest.raises(OperationRefusedError):
        executor.cancel("unknown")
