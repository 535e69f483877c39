"""What scenarios need in which an application is folded: commands, and who judges the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_layout
from streamer.kafka.admin import Admin
from streamer.testing.evidence import cluster_history
from streamer.testing.history import check, per_key
from tests.broker.applications.counts import Total, add
from tests.broker.applications.folding import group
from tests.broker.commands import answer, run
from tests.broker.exact import described
from tests.broker.workers import APPLICATIONS, PATIENCE_S, Application

__all__ = ["Conductor", "does", "judge", "own", "running", "told", "where"]

ROOT = Path(__file__).parents[2]


class Conductor:
    """Processes of the command line, which have the application at hand, or are killed."""

    def __init__(self, made: Application) -> None:
        self._made = made
        self.started: list[subprocess.Popen[str]] = []

    def plan(self, *wanted: str, command: str = "repartition") -> dict[str, Any]:
        return self._planned("plan", *wanted, command=command)

    def revert(self, operation: str) -> dict[str, Any]:
        return self._planned("revert", operation)

    def dies(self, point: str, operation: str, *given: str, command: str = "repartition") -> None:
        """One that applies it, and is killed there."""
        kill = f"{point}=kill"
        code, out, err = self.ends("apply", operation, *given, failpoints=kill, command=command)
        assert code == -signal.SIGKILL, f"{point}: {code}\n{out}\n{err}"

    def works(self, operation: str, *given: str, output: bool = False) -> subprocess.Popen[str]:
        """A worker that reads the input again for a replay, with a disk of its own."""
        state = self._made.state_dir(f"again-{len(self.started)}")
        return self._started(
            "replay",
            ("work", operation, f"{APPLICATIONS}.{self._made.module}:app"),
            ("--set", f"state_dir={state}", *given),
            output=subprocess.PIPE if output else subprocess.DEVNULL,
        )

    def starts(self, verb: str, operation: str, *given: str) -> subprocess.Popen[str]:
        """A command about a replay that goes on beside what follows."""
        target = f"{APPLICATIONS}.{self._made.module}:app"
        return self._started(
            "replay", (verb, operation, *given), ("--app", target), output=subprocess.DEVNULL
        )

    def refused(self, *given: str) -> str:
        """What a command says that changes nothing."""
        code, out, err = self.ends(*given)
        assert code == 3, f"{given}\n{out}\n{err}"
        return err

    def _planned(self, *given: str, command: str = "repartition") -> dict[str, Any]:
        code, out, err = self.ends(*given, "--json", command=command)
        assert code == 0, f"{out}\n{err}"
        return json.loads(out)  # type: ignore[no-any-return]

    def ends(
        self, *given: str, failpoints: str = "", command: str = "repartition"
    ) -> tuple[int, str, str]:
        """Its exit code, and what it printed."""
        target = f"{APPLICATIONS}.{self._made.module}:app"
        one = self._started(command, given, ("--app", target), failpoints=failpoints)
        out, err = one.communicate(timeout=3 * PATIENCE_S)
        return one.returncode, out, err

    def _started(
        self,
        command: str,
        given: Sequence[str],
        more: Sequence[str],
        *,
        failpoints: str = "",
        output: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        environment = {**os.environ, "STREAMER_TEST_APPLICATION": self._made.name}
        if failpoints:
            environment["STREAMER_FAILPOINTS"] = failpoints
        servers = ("--bootstrap-servers", self._made.kafka.bootstrap_servers)
        one = subprocess.Popen(
            [sys.executable, "-m", "streamer.cli.main", command, *given, *more, *servers],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            text=True,
        )
        self.started.append(one)
        return one

    def close(self) -> None:
        for one in self.started:
            if one.poll() is None:
                one.kill()
                one.communicate()


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
