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
INPUT = "0=2"
OWN = "1=2"


class Conductor:
    """Whoever carries the operations out: a process of the command line for each try."""

    def __init__(self, made: Application) -> None:
        self._made = made
        self.started: list[subprocess.Popen[str]] = []

    @property
    def where(self) -> tuple[str, ...]:
        target = f"{APPLICATIONS}.{self._made.module}:app"
        return ("--app", target, "--bootstrap-servers", self._made.kafka.bootstrap_servers)

    def plan(self, *wanted: str) -> dict[str, Any]:
        return json.loads(self.ends("plan", *wanted, "--json")[1])  # type: ignore[no-any-return]

    def begin(self, verb: str, *given: str, failpoints: str = "") -> subprocess.Popen[str]:
        group = "operations" if verb == "resume" else "repartition"
        command = [sys.executable, "-m", "streamer.cli.main", group, verb, *given]
        environment = {**os.environ, "STREAMER_TEST_APPLICATION": self._made.name}
        if failpoints:
            environment["STREAMER_FAILPOINTS"] = failpoints
        one = subprocess.Popen(
            [*command, *self.where],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(one)
        return one

    def ends(self, verb: str, *given: str, failpoints: str = "") -> tuple[int, str, str]:
        one = self.begin(verb, *given, failpoints=failpoints)
        out, err = one.communicate(timeout=3 * PATIENCE_S)
        return one.returncode, out, err

    def does(self, verb: str, *given: str) -> str:
        """What it prints, having succeeded."""
        code, out, err = self.ends(verb, *given)
        assert code == 0, f"{out}\n{err}"
        return out

    def dies(self, point: str, operation: str, verb: str = "resume") -> None:
        """A process that is killed there; one that resumes takes it over from the last."""
        given = [verb, operation, *(["--take-over"] if verb == "resume" else [])]
        code, out, err = self.ends(*given, failpoints=f"{point}=kill")
        assert code == -signal.SIGKILL, f"{point}: {code}\n{out}\n{err}"

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
        self._thread.join(30)

    def _run(self) -> None:
        before, since = -1, time.monotonic()
        while not self._stopping.wait(0.05):
            written = sum(self._made.ends(self._made.topic("groups")).values())
            if written != before:
                before, since = written, time.monotonic()
            self.longest_ms = max(self.longest_ms, int((time.monotonic() - since) * 1000))


@pytest.mark.timeout(600)
def test_it_goes_there_and_back(made: Application, conductor: Conductor, wait_until: Any) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    admin = Admin(config)
    workers = [made.worker("a"), made.worker("b")]
    workers[0].wait_started(1)
    with Feeder(made, rate=400) as feeder, Control(config) as control:
        wait_until(lambda: len(running(control)) == 8, what="all tasks of layout 1")

        planned = conductor.plan(INPUT, OWN)
        operation = planned["operation"]
        assert [one["then"] for one in planned["subtopologies"]] == [2, 2]
        # Killed before the switch, while everybody pauses: the application goes on by itself.
        conductor.dies("repartition.after_topics", operation, "apply")
        conductor.dies("repartition.after_proof", operation)
        conductor.dies("repartition.before_switch", operation)
        conductor.does("resume", operation, "--take-over")
        steps = told(made, operation)["steps"]
        said = {step["id"]: step.get("said", "") for step in steps}
        print(said["switch"])
        assert "layout 2 is recorded; nothing was processed for" in said["switch"]
        recorded = current_record(config, admin)
        assert recorded is not None
        assert (recorded.number, recorded.operation) == (2, operation)
        wait_until(lambda: running(control) == {"0_0", "0_1", "1_0", "1_1"}, what="layout 2")
        check_settled(made, admin, operation)

        # Back, and killed right behind the record: it can only be finished.
        planned = conductor.plan("0=4", "1=4")
        operation = planned["operation"]
        conductor.dies("repartition.after_switch", operation, "apply")
        code, _out, err = conductor.ends("cancel", operation)
        assert (code, "there is no way back after step switch" in err) == (3, True)
        conductor.does("resume", operation, "--take-over")
        assert "done" in conductor.does("status", operation)
        wait_until(lambda: len(running(control)) == 8, what="layout 3")
        check_settled(made, admin, operation)
        feeder.stop()
    made.wait_until_done(made.topic("in"), own(made, 3), watch=workers)
    judge(made, config)
    assert [worker.stop() for worker in workers] == [0, 0]


def check_settled(made: Application, admin: Admin, operation: str) -> None:
    """Nothing is left that only the operation needed."""
    record = told(made, operation)
    assert record["state"] == "done"
    number = record["plan"]["seen"]["layout"] + 1
    changelog = f"{made.changelog('totals')}.layout-{number}"
    settings = admin.topic_settings([changelog])[changelog]
    assert settings["max.compaction.lag.ms"] != WHILE_FED["max.compaction.lag.ms"]


def told(made: Application, operation: str) -> Any:
    return answer("operations", "show", operation, "--app", made.name, *server(made))


def server(made: Application) -> tuple[str, str]:
    return "--bootstrap-servers", made.kafka.bootstrap_servers


def running(control: Control) -> set[str]:
    """The tasks that run, as their workers say: an address of theirs changes with the layout."""
    return {task for task, (_worker, one) in control.reports().items() if one.state == "running"}


@pytest.mark.timeout(300)
def test_before_the_switch_it_is_cancelled_and_nothing_is_left(
    made: Application, conductor: Conductor, wait_until: Any
) -> None:
    config = Config(application_id=made.name, bootstrap_servers=made.kafka.bootstrap_servers)
    admin = Admin(config)
    workers = [made.worker("a"), made.worker("b")]
    workers[0].wait_started(1)
    with Feeder(made, rate=200) as feeder, Control(config) as control:
        wait_until(lambda: len(running(control)) == 8, what="all tasks of layout 1")
        planned = conductor.plan(INPUT, OWN)
        conductor.dies("repartition.before_switch", planned["operation"], "apply")
        code, out, _err = run("repartition", "status", "--app", made.name, *server(made))
        assert code == 0
        assert "carried out by" in out
        where = ("--app", made.name, *server(made))
        cancels = ("operations", "cancel", planned["operation"], "--take-over", *where)
        code, _out, err = run(*cancels)
        assert code == 0, err
        left = sorted(topic for topic in admin.topics() if ".layout-2" in topic)
        assert [topic for topic in left if topic.startswith(made.name)] == []
        for host in ("a", "b"):
            tasks = made.state_dir(host) / made.name / "worker-0" / "tasks"
            assert [path.name for path in tasks.iterdir() if "layout" in path.name] == []
        # Once more: nothing is in the way.
        operation = conductor.plan(INPUT, OWN)["operation"]
        with Gaps(made) as gaps:
            print(conductor.does("apply", operation))
        feeder.stop()
    made.wait_until_done(made.topic("in"), own(made, 2), watch=workers)
    judge(made, config)
    print(f"pause as seen from outside: {gaps.longest_ms} ms")
    assert [worker.stop() for worker in workers] == [0, 0]
