"""`make airflow`, killed and started again: what a killed one left is ended, and nothing stays."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.airflow import Api, leftovers
from streamer.sandbox.ports import free_ports
from tests.broker.conftest import wait_until
from tests.thorough import thorough

pytestmark = [pytest.mark.broker, pytest.mark.long]

ROOT = Path(__file__).parents[3]


class Program:
    """`python -m demo.airflow`, as make runs it."""

    def __init__(self, home: Path, broker: str, port: int, app: str = "nobody") -> None:
        ours = ("STREAMER_", "AIRFLOW")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        self._out = (home.parent / f"out-{time.monotonic_ns()}").open("w+")
        command = [sys.executable, "-m", "demo.airflow", "--home", str(home), "--port", str(port)]
        command += ["--bootstrap-servers", broker] + (["--app", app] if app else [])
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
        )

    @property
    def text(self) -> str:
        return Path(self._out.name).read_text()

    def wait_for(self, text: str, timeout: float) -> None:
        wait_until(
            lambda: text in self.text or self.process.poll() is not None, timeout=timeout, what=text
        )
        assert text in self.text, self.text

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(600)
        self._out.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    state = leftovers.read(tmp_path / "home")
    if state is not None and state.keeper:
        leftovers.end(state.keeper, 0)


def users_of(directory: Path) -> list[str]:
    """The processes that have a file of this directory open, by whatever name they go."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            links = [os.readlink(link) for link in (entry / "fd").iterdir()]
            if any(link.startswith(f"{directory}/") for link in links):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


# It starts all of Airflow twice.
@pytest.mark.chaos
def test_a_killed_one_is_cleared_away_by_the_next_which_stops_cleanly(
    home: Path, broker: str
) -> None:
    (port,) = free_ports(1)
    first = Program(home, broker, port)
    wait_until(
        lambda: _parts(home) == 4 or first.process.poll() is not None,
        timeout=900,
        what="all parts of Airflow",
    )
    assert first.process.poll() is None, first.text
    wait_until(lambda: len(users_of(home)) > 6, timeout=400, what="workers of the scheduler")
    state = leftovers.read(home)
    assert state is not None
    os.kill(state.keeper, signal.SIGSTOP)  # so that it sees nothing of its parent's end
    first.process.kill()
    os.kill(state.keeper, signal.SIGKILL)
    first.process.wait()
    assert users_of(home), "a killed keeper leaves processes behind"

    second = Program(home, broker, port)
    try:
        second.wait_for("Ctrl-C stops it", timeout=900)
        text = second.text
        assert leftovers.members(state.keeper) == [], "of the first one nobody is left"
        login = dict(re.findall(r"^  login     (\w+)  (\S+)$", text, re.MULTILINE))
        api = Api(f"http://127.0.0.1:{port}", "admin", login["admin"])
        connection = api.get("/connections/streamer_default")
        assert connection["host"] == broker
        assert json.loads(connection["extra"])["application"] == "nobody"

        second.process.terminate()
        assert second.process.wait(600) == 130
        assert users_of(home) == []
    finally:
        second.close()


def _parts(home: Path) -> int:
    state = leftovers.read(home)
    return len(state.parts) if state is not None else 0


@thorough
def test_a_port_that_is_taken_is_named_before_anything_starts(home: Path, broker: str) -> None:
    port = int(broker.rpartition(":")[2])
    program = Program(home, broker, port)
    assert program.process.wait(600) == 1
    assert f"port {port} is taken" in program.text
    assert users_of(home) == []
    program.close()


def test_a_kafka_that_does_not_answer_is_named(home: Path) -> None:
    program = Program(home, "127.0.0.1:9", 8080)
    assert program.process.wait(600) == 1
    assert "127.0.0.1:9" in program.text
    assert not (home / "airflow.db").exists()
    program.close()


def test_an_application_that_nobody_named_is_asked_for(home: Path, broker: str) -> None:
    program = Program(home, broker, 8080, app="")
    assert program.process.wait(600) == 2
    assert "--app" in program.text
    program.close()
