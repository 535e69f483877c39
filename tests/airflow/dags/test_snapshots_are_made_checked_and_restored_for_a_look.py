"""`snapshot_stores` and `restore_drill` of a running application; a second run is refused."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streamer.snapshot.opening import open_repository
from streamer.snapshot.verified import verified
from streamer_airflow.driving import Driver
from streamer_airflow.hooks.application import ApplicationHook, executor_of
from streamer_airflow.runs import Asked
from tests.airflow.dags.conftest import Runs, states, xcom
from tests.thorough import thorough

pytestmark = [pytest.mark.broker, pytest.mark.long]


def notes(runs: Runs) -> dict[str, str]:
    """How thoroughly each snapshot was found whole, by task and stem."""
    with open_repository(runs.config) as repository:
        return {
            f"{shelf.task}/{stem}": level
            for shelf in repository.shelves(runs.made.name)
            for stem, level in verified(shelf).items()
        }


BELOW = {
    "make": {"make", "units", "check[0]", "check[1]", "settle"},
    "check": {"check[0]", "check[1]", "settle"},
    "settle": {"settle"},
}


def begins(run: Any) -> dict[str, Any]:
    """When each task of a run began."""
    return {
        f"{one.task_id}[{one.map_index}]" if one.map_index >= 0 else one.task_id: one.start_date
        for one in run.get_task_instances()
    }


def test_snapshots_are_made_read_and_restored(runs: Callable[..., Runs]) -> None:
    here = runs()
    worker = here.made.worker()
    here.send(range(1, 4))
    at = datetime.now(tz=UTC)

    # Killed while it checks: what was made by then is found, and not made again.
    code = here.killed("snapshot_stores", "fetch.after_file=kill", at=at, level="restored")
    assert code == -signal.SIGKILL
    [left] = here.operations().values()
    assert left.state == "done"
    assert "restored" not in notes(here).values()

    made = here.run("snapshot_stores", at=at, level="restored")
    assert made.state == "success", states(made)
    assert states(made) == {
        "plan": "success",
        "make": "success",
        "units": "success",
        "check[0]": "success",
        "check[1]": "success",
        "settle": "success",
    }
    [operation] = here.operations().values()
    assert operation.id == Asked("snapshot", "snapshot_stores", made.run_id).operation()
    assert operation == left
    assert operation.epoch == 1
    assert operation.conductor == f"Airflow, DAG snapshot_stores, run {made.run_id}"
    assert sorted(notes(here).values()) == ["restored", "restored"]
    assert [one["name"] for one in xcom(made, "units")] == ["0_0", "0_1"]

    # Cleared and run again it is the same run: it finds its operation, and nothing is done twice.
    again = here.run("snapshot_stores", at=at, level="restored")
    assert again.state == "success", states(again)
    assert here.operations() == {operation.id: operation}
    assert len(notes(here)) == 2

    # So is a single stage, with those below it; what stands above it is left as it is.
    for task in ("make", "check", "settle"):
        began = begins(again)
        again = here.again_from("snapshot_stores", task, at=at)
        assert again.state == "success", (task, states(again))
        assert {one for one, when in begins(again).items() if when != began[one]} == BELOW[task]
        assert here.operations() == {operation.id: operation}
        assert len(notes(here)) == 2

    drilled = here.run("restore_drill")
    assert drilled.state == "success", states(drilled)
    assert sorted(notes(here).values()) == ["restored", "restored"]
    found = [xcom(drilled, "restore", number)["rows"] for number in range(2)]
    # A total for each of 40 keys, and their windows beside them.
    assert sum(found) > 40
    assert worker.is_alive


@thorough
def test_the_triggerer_drives_on_while_workers_work(
    runs: Callable[..., Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = runs(partitions=1)
    worker = here.made.worker()
    here.send(range(1, 3))
    monkeypatch.setattr(here.bag.dags["snapshot_stores"].get_task("make"), "patience_s", 1.0)
    # It stands still while the task has patience, and wakes when the triggerer has taken over.
    worker.send(signal.SIGSTOP)

    def wake() -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            if any(one.epoch == 2 for one in here.operations().values()):
                break
            time.sleep(0.2)
        worker.send(signal.SIGCONT)

    waking = threading.Thread(target=wake)
    waking.start()
    done = here.run("snapshot_stores")
    waking.join(280)
    assert done.state == "success", states(done)
    [operation] = here.operations().values()
    assert (operation.state, operation.epoch) == ("done", 2)
    assert [step.begun for step in operation.steps] == [1, 2, 1]


@thorough
def test_a_damaged_snapshot_fails_the_drill_and_loses_its_notes(
    runs: Callable[..., Runs], tmp_path: Path
) -> None:
    here = runs(partitions=1)
    here.made.worker()
    here.send(range(1, 3))
    assert here.run("snapshot_stores").state == "success"
    objects = [
        path for path in (tmp_path / "0" / "repository").rglob("objects/*") if path.is_file()
    ]
    largest = max(objects, key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    failed = here.run("restore_drill")
    assert failed.state == "failed"
    assert states(failed)["restore[0]"] == "failed"
    assert notes(here) == {}


def test_a_second_run_is_refused_at_once_by_who_is_at_work_and_leaves_no_trace(
    runs: Callable[..., Runs],
) -> None:
    here = runs(partitions=1)
    worker = here.made.worker()
    here.send(range(1, 3))
    # The worker stands still, so the first one waits for it.
    worker.send(signal.SIGSTOP)
    stopping = threading.Event()
    with here.executor(stopping=stopping) as executor:
        first = executor.propose("snapshot", {"order": "first"}, operation="first").id
        running = threading.Thread(target=_until_stopped, args=(executor, first))
        running.start()
        try:
            while here.operations()[first].steps[1].state != "running":
                time.sleep(0.2)
            began = time.monotonic()
            refused = here.run("snapshot_stores")
            spent_s = time.monotonic() - began
        finally:
            stopping.set()
            running.join(120)
    worker.send(signal.SIGCONT)
    assert refused.state == "failed"
    assert states(refused) == {
        "plan": "failed",
        "make": "upstream_failed",
        "units": "upstream_failed",
        "check": "upstream_failed",
        "settle": "failed",
    }
    assert spent_s < 30
    assert here.operations().keys() == {first}


def _until_stopped(executor: object, operation: str) -> None:
    from streamer.errors import StoppedError

    with pytest.raises(StoppedError):
        executor.start(operation)  # type: ignore[attr-defined]


@thorough
def test_a_doubled_task_waits_for_the_first_one_and_both_see_one_end(
    runs: Callable[..., Runs],
) -> None:
    here = runs(partitions=1)
    here.made.worker()
    here.send(range(1, 3))
    config = ApplicationHook().config()
    with executor_of(config) as executor:
        executor.propose("snapshot", {"order": "doubled"}, operation="doubled")
    ends: list[str] = []

    def drive() -> None:
        driver = Driver(lambda **given: executor_of(config, **given))
        ends.append(driver.drive("doubled").state)

    both = [threading.Thread(target=drive) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(240)
    assert ends == ["done", "done"]
    assert here.operations()["doubled"].epoch == 1
    assert len(notes(here)) == 1


def test_the_test_button_says_what_is_there_and_what_is_wrong(
    runs: Callable[..., Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    here = runs(partitions=1)
    is_fine, said = ApplicationHook().test_connection()
    assert not is_fine
    assert f"no worker of {here.made.name} has ever run there" in said
    here.made.worker().wait_started(1)
    is_fine, said = ApplicationHook().test_connection()
    assert is_fine, said
    assert said.startswith(f"application {here.made.name}: 1 of 1 known workers live")
    given = json.loads(here.connection)
    given["extra"]["repository"] = "s3://Not_A_Bucket"
    monkeypatch.setenv("AIRFLOW_CONN_STREAMER_DEFAULT", json.dumps(given))
    is_fine, said = ApplicationHook().test_connection()
    assert not is_fine
    assert "connection streamer_default" in said
    assert "is no name of a bucket" in said
