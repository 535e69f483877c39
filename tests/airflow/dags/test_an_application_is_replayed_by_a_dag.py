"""`replay`: rejected with the differences before its eyes, and approved, by workers that a task of
it runs; always with records coming, and nothing lost, doubled or out of order."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamer.control.current import current_record
from streamer.kafka.admin import Admin
from streamer_airflow.operators.replays import ReadAgainOperator
from streamer_airflow.runs import Asked
from tests.airflow.dags.conftest import Runs, states, xcom
from tests.airflow.dags.tallies import judge
from tests.airflow.unit.rig import context
from tests.broker.feeder import Feeder
from tests.thorough import thorough

pytestmark = [pytest.mark.broker, pytest.mark.long]

DAG = "replay"
CODE = "again_for_the_dag"
STAGES = ("plan", "approve", "replay", "copy", "prove", "diff", "approve_switch", "switch")
BOTH = {"approve": "Approve", "approve_switch": "Approve"}


@pytest.fixture
def here(runs: Callable[..., Runs]) -> Runs:
    made = runs("tally", outputs=("totals",), partitions=4)
    made.made.worker().wait_started(4, timeout=900)
    return made


@pytest.fixture
def code(here: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The application's code, where a worker of Airflow can import it."""
    (tmp_path / f"{CODE}.py").write_text(
        f"import os\nos.environ['STREAMER_TEST_APPLICATION'] = {here.made.name!r}\n"
        "from tests.broker.applications.tally import app\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return f"{CODE}:app"


@contextmanager
def reading_again(here: Runs, code: str) -> Iterator[list[BaseException]]:
    """The task `read_again` beside the others, which `DAG.test` runs one after the other."""
    failed: list[BaseException] = []
    before = here.operations().keys()

    def read() -> None:
        try:
            while not (found := here.operations().keys() - before):
                time.sleep(0.5)
            [name] = found
            task = ReadAgainOperator(task_id="read_again", approved=[{"operation": name}])
            task.execute(context(code=code, processes=2))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    yield failed
    thread.join(360)
    assert not thread.is_alive(), "its workers do not end"


def left(here: Runs) -> list[str]:
    """Topics of who reads again, and of another layout."""
    own = (f"{here.made.name}.{DAG}", f"{here.made.name}-")
    there = [name for name in Admin(here.config).topics() if name.startswith(own)]
    return [name for name in there if name.startswith(own[0]) or ".layout-" in name]


@thorough
def test_it_is_rejected_with_what_differs(here: Runs, code: str) -> None:
    admin = Admin(here.config)
    with Feeder(here.made, rate=20) as feeder:
        with reading_again(here, code) as failed:
            refused = here.run(DAG, answers={"approve": "Approve", "approve_switch": "Reject"})
        assert failed == []
        assert states(refused)["approve_switch"] == "failed", states(refused)
        [one] = xcom(refused, "diff")
        assert (one["store"], one["added"], one["changed"], one["gone"]) == ("totals", 0, 0, 0)
        assert one["same"] + one["moving"] > 0
        [operation] = here.operations().values()
        assert operation.state == "cancelled"
        assert left(here) == []
        assert current_record(here.config, admin).number == 1  # type: ignore[union-attr]
        feeder.stop()
    judge(here)


def test_it_is_carried_out(here: Runs, code: str) -> None:
    admin = Admin(here.config)
    with Feeder(here.made, rate=20) as feeder:
        with reading_again(here, code) as failed:
            done = here.run(DAG, answers=BOTH, outputs="side")
        assert failed == []
        expected: dict[str, Any] = dict.fromkeys((*STAGES, "finish", "settle"), "success")
        assert states(done) == expected | {"read_again": "skipped"}
        name = Asked(DAG, DAG, done.run_id).operation()
        recorded = current_record(here.config, admin)
        assert recorded is not None
        assert (recorded.number, recorded.operation) == (2, name)
        feeder.stop()
    judge(here)
    # Its results lie beside those of the application, and nowhere else.
    beside = here.made.kafka.read(f"{here.made.topic('totals')}.{name}")
    assert {one.key for one in beside} <= {
        one.key for one in here.made.kafka.read(here.made.topic("totals"))
    }
    assert beside
