"""An application goes from 4 tasks to 2 and back to 4 under load, with a topic of its own between
its parts. Its conductor is killed at every stage, another one cancels; nothing is lost, doubled or
out of order, and tasks begin where their copies were."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_record
from streamer.feed.proof import WHILE_FED
from streamer.kafka.admin import Admin
from tests.broker.commands import run
from tests.broker.feeder import Feeder
from tests.broker.folds import Conductor, does, judge, own, running, told, where
from tests.broker.workers import Application
from tests.thorough import thorough

pytestmark = pytest.mark.long


@pytest.fixture
def made(application: Any) -> Application:
    return application("folding", outputs=("totals", "groups"), partitions=4)  # type: ignore[no-any-return]


class Gaps:
    """The longest time in which the outputs of a running application did not grow."""

    def __init__(self, made: Application) -> None:
        self._made = made
        self._stopping = threading.Event()
        self.longest_ms = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Gaps:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._thread.join(120)

    def _run(self) -> None:
        before, since = -1, time.monotonic()
        while not self._stopping.wait(0.05):
            written = sum(self._made.ends(self._made.topic("groups")).values())
            if written != before:
                before, since = written, time.monotonic()
            self.longest_ms = max(self.longest_ms, int((time.monotonic() - since) * 1000))


def check_settled(made: Application, admin: Admin, operation: str) -> None:
    """Nothing is left that only the operation needed."""
    record = told(made, operation)
    assert record["state"] == "done"
    number = record["plan"]["seen"]["layout"] + 1
    changelog = f"{made.changelog('totals')}.layout-{number}"
    settings = admin.topic_settings([changelog])[changelog]
    assert settings["max.compaction.lag.ms"] != WHILE_FED["max.compaction.lag.ms"]


@thorough
def test_it_goes_there_and_back(made: Application, conductor: Conductor, wait_until: Any) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    admin = Admin(config)
    workers = [made.worker("a"), made.worker("b")]
    workers[0].wait_started(1)
    with Feeder(made, rate=300) as feeder, Control(config) as control:
        wait_until(lambda: len(running(control)) == 8, what="all tasks of layout 1")

        # Killed while everybody pauses: the application goes on by itself. Then cancelled.
        operation = conductor.plan("0=2", "1=2")["operation"]
        conductor.dies("repartition.before_switch", operation)
        assert "carried out by" in does(made, "repartition", "status")
        does(made, "operations", "cancel", operation, "--take-over")
        left = [topic for topic in admin.topics() if topic.startswith(f"{made.name}-")]
        assert [topic for topic in left if ".layout-" in topic] == []
        for host in ("a", "b"):
            tasks = made.state_dir(host) / made.name / "worker-0" / "tasks"
            assert [path.name for path in tasks.iterdir() if "layout" in path.name] == []

        # Killed before the switch, and resumed by a process that knows nothing of the topology.
        operation = conductor.plan("0=2", "1=2")["operation"]
        conductor.dies("repartition.after_proof", operation)
        with Gaps(made) as gaps:
            does(made, "operations", "resume", operation, "--take-over")
        said = {step["id"]: step.get("said", "") for step in told(made, operation)["steps"]}
        print(f"{said['switch']}; as seen from outside: {gaps.longest_ms} ms")
        assert "layout 2 is recorded; nothing was processed for" in said["switch"]
        recorded = current_record(config, admin)
        assert recorded is not None
        assert (recorded.number, recorded.operation) == (2, operation)
        assert running(control) == {"0_0", "0_1", "1_0", "1_1"}
        for worker in workers:
            # What the copy of a task had not read by the switch; the state is thousands.
            for task, started in worker.started().items():
                assert started.restored < 1_000, f"{task} of {worker.log.name}"
        check_settled(made, admin, operation)

        # Back, and killed right behind the record: it can only be finished.
        operation = conductor.plan("0=4", "1=4")["operation"]
        conductor.dies("repartition.after_switch", operation)
        code, _out, err = run("repartition", "cancel", operation, *where(made))
        assert (code, "there is no way back after step switch" in err) == (3, True)
        does(made, "operations", "resume", operation, "--take-over")
        assert f"operation {operation}: done" in does(made, "repartition", "status")
        assert len(running(control)) == 8
        check_settled(made, admin, operation)
        feeder.stop()
    made.wait_until_done(made.topic("in"), own(made, 3), watch=workers)
    judge(made, config)
    assert [worker.stop() for worker in workers] == [0, 0]
