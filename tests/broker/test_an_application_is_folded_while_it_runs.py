"""An application goes from 4 tasks to 2 and back to 4 under load, with a topic of its own between
its parts. Its conductor is killed at every stage, another one cancels; nothing is lost, doubled or
out of order, and tasks begin where their copies were."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_layout, current_record
from streamer.feed.proof import WHILE_FED
from streamer.kafka.admin import Admin
from streamer.testing.evidence import cluster_history
from streamer.testing.history import check, per_key
from tests.broker.applications.counts import Total, add
from tests.broker.applications.folding import group
from tests.broker.commands import answer, run
from tests.broker.exact import described
from tests.broker.feeder import Feeder
from tests.broker.workers import APPLICATIONS, PATIENCE_S, Application

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


class Conductor:
    """Processes of the command line, which have the application at hand, or are killed."""

    def __init__(self, made: Application) -> None:
        self._made = made
        self.started: list[subprocess.Popen[str]] = []

    def plan(self, *wanted: str) -> dict[str, Any]:
        code, out, err = self._ends("plan", *wanted, "--json")
        assert code == 0, f"{out}\n{err}"
        return json.loads(out)  # type: ignore[no-any-return]

    def dies(self, point: str, operation: str) -> None:
        """One that applies it, and is killed there."""
        code, out, err = self._ends("apply", operation, failpoints=f"{point}=kill")
        assert code == -signal.SIGKILL, f"{point}: {code}\n{out}\n{err}"

    def _ends(self, *given: str, failpoints: str = "") -> tuple[int, str, str]:
        environment = {**os.environ, "STREAMER_TEST_APPLICATION": self._made.name}
        if failpoints:
            environment["STREAMER_FAILPOINTS"] = failpoints
        target = f"{APPLICATIONS}.{self._made.module}:app"
        servers = ("--bootstrap-servers", self._made.kafka.bootstrap_servers)
        one = subprocess.Popen(
            [
                *(sys.executable, "-m", "streamer.cli.main", "repartition"),
                *(*given, "--app", target, *servers),
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(one)
        out, err = one.communicate(timeout=3 * PATIENCE_S)
        return one.returncode, out, err

    def close(self) -> None:
        for one in self.started:
            if one.poll() is None:
                one.kill()
                one.communicate()


@pytest.fixture
def made(application: Any) -> Application:
    return application("folding", outputs=("totals", "groups"), partitions=4)  # type: ignore[no-any-return]


@pytest.fixture
def conductor(made: Application) -> Iterator[Conductor]:
    one = Conductor(made)
    yield one
    one.close()


def judge(made: Application, config: Config) -> None:
    """The totals by the history checker, the groups by plain sums that never go back."""
    history = cluster_history(
        described(made),
        config,
        inputs=made.topic("in"),
        output=made.topic("totals"),
        store="totals",
        layout=current_layout(config, Admin(config)),
    )
    verdict = check(history, per_key(Total, add))
    assert verdict, verdict
    assert verdict.inputs
    wanted: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for record in made.kafka.read(made.topic("in")):
        name, amount = group((record.key or b"").decode(), 0), json.loads(record.value or b"0")
        wanted[name] = (wanted[name][0] + 1, wanted[name][1] + amount)
    found: dict[str, tuple[int, int]] = {}
    for record in made.kafka.read(made.topic("groups")):
        name, row = (record.key or b"").decode(), json.loads(record.value or b"null")
        assert row["count"] > found.get(name, (0, 0))[0], f"{name}: {row} after {found[name]}"
        found[name] = (row["count"], row["sum"])
    assert found == wanted


def own(made: Application, layout: int) -> str:
    return f"{made.name}-by-group-repartition.layout-{layout}"


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


def told(made: Application, operation: str) -> Any:
    return answer("operations", "show", operation, *where(made))


def where(made: Application) -> tuple[str, ...]:
    return "--app", made.name, "--bootstrap-servers", made.kafka.bootstrap_servers


def does(made: Application, *arguments: str) -> str:
    """What a command prints, having succeeded in this process."""
    code, out, err = run(*arguments, *where(made))
    assert code == 0, f"{arguments}\n{out}\n{err}"
    return out


def running(control: Control) -> set[str]:
    """The tasks that run, as their workers say: an address of theirs changes with the layout."""
    return {task for task, (_worker, one) in control.reports().items() if one.state == "running"}


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
