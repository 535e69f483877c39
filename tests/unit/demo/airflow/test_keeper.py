"""The keeper with parts that only sleep, or die: processes are real, Airflow is not needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.airflow import LocalAirflow, leftovers
from demo.airflow.parts import PARTS
from streamer.errors import SandboxError
from streamer.sandbox.directory import is_held

ROOT = Path(__file__).parents[4]

# Found before the real one, since parts run in this directory. A task's process leaves its group.
SLEEPER = """
import os, sys, time
if sys.argv[1] == 'db':
    sys.exit({migrated})
if sys.argv[1] == 'scheduler' and os.fork() == 0:
    os.setpgid(0, 0)
if sys.argv[1] == '{dies}':
    sys.exit(3)
time.sleep(60)
"""


def wait_until(is_true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 360
    while not is_true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def airflow(tmp_path: Path) -> Iterator[Callable[..., LocalAirflow]]:
    made: list[LocalAirflow] = []

    def make(*, dies: str = "nobody", migrated: int = 0) -> LocalAirflow:
        (tmp_path / "airflow.py").write_text(SLEEPER.format(dies=dies, migrated=migrated))
        made.append(LocalAirflow(tmp_path))
        made[-1].begin()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def is_up(airflow: LocalAirflow) -> bool:
    state = leftovers.read(airflow.home)
    # Four parts, and the task of the scheduler.
    return (
        state is not None
        and len(state.parts) == len(PARTS)
        and len(leftovers.members(state.keeper)) == 5
    )


def keeper_of(airflow: LocalAirflow) -> int:
    state = leftovers.read(airflow.home)
    assert state is not None
    return state.keeper


@pytest.mark.slow
def test_a_stop_ends_everything_and_gives_the_directory_back(
    airflow: Callable[..., LocalAirflow],
) -> None:
    running = airflow()
    wait_until(lambda: is_up(running), running.logs())
    keeper = keeper_of(running)
    assert is_held(running.home)
    running.stop()
    assert leftovers.members(keeper) == []
    assert not is_held(running.home)
    assert (running.home / "secrets.json").exists(), "a directory that was named stays"


@pytest.mark.slow
def test_a_part_that_dies_is_started_again(airflow: Callable[..., LocalAirflow]) -> None:
    running = airflow()
    wait_until(lambda: is_up(running), running.logs())
    before = running.pid("triggerer")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: running.pid("triggerer") != before, "another triggerer")
    running.check()
    assert running.restarts == 1
    assert "triggerer ended with -9: it is started again" in running.logs()


@pytest.mark.slow
def test_one_that_dies_again_and_again_ends_it_with_the_reason(
    airflow: Callable[..., LocalAirflow],
) -> None:
    running = airflow(dies="dag-processor")
    with pytest.raises(SandboxError, match="dag-processor ended with 3, and something did 5 times"):
        running.wait(timeout=80)
    assert not is_held(running.home)


@pytest.mark.slow
def test_a_database_that_cannot_be_made_is_told(airflow: Callable[..., LocalAirflow]) -> None:
    running = airflow(migrated=4)
    with pytest.raises(SandboxError, match=r"the database could not be made: .* ended with 4"):
        running.wait(timeout=80)


@pytest.mark.slow
def test_the_database_is_migrated_once(airflow: Callable[..., LocalAirflow]) -> None:
    first = airflow()
    wait_until(lambda: is_up(first), first.logs())
    port = first.url
    first.stop()
    # It would fail now.
    second = airflow(migrated=4)
    wait_until(lambda: is_up(second), second.logs())
    assert second.url == port, "it keeps its address"


@pytest.mark.slow
def test_everything_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "airflow.py").write_text(SLEEPER.format(dies="nobody", migrated=0))
    code = (
        "import time\nfrom demo.airflow import LocalAirflow\n"
        f"LocalAirflow({str(home)!r}).begin()\ntime.sleep(60)"
    )
    program = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        wait_until(lambda: (state := leftovers.read(home)) and state.parts, "all parts")
        state = leftovers.read(home)
        assert state is not None
        wait_until(lambda: len(leftovers.members(state.keeper)) == 5, "the task as well")
        program.kill()
        program.wait()
        wait_until(lambda: not is_held(home), "the end of all")
        assert leftovers.members(state.keeper) == []
    finally:
        program.kill()
