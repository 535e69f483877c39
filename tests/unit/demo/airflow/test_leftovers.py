"""What a killed keeper leaves behind is found by its session, and nobody else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.airflow import leftovers
from demo.airflow.leftovers import PREFIX, State
from streamer.errors import SandboxError
from streamer.sandbox.directory import hold, is_held

# A keeper with a child, and with a grandchild that has left its group, as a task's process does.
KEEPER = """
import os, signal, sys, time
# demo.airflow.keeper
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[1] == 'stubborn' else signal.SIG_DFL)
    if os.fork() == 0:
        os.setpgid(0, 0)
    time.sleep(60)
time.sleep(60)
"""


class Tree:
    """A keeper of a directory, with its descendants."""

    def __init__(self, home: Path, *, stubborn: bool = False) -> None:
        lock = hold(home)
        mode = "stubborn" if stubborn else "mild"
        self.process = subprocess.Popen(
            [sys.executable, "-c", KEEPER, mode],
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
        lock.close()
        leftovers.write(home, State(launcher=os.getpid(), keeper=self.process.pid, port=1234))
        deadline = time.monotonic() + 240
        while len(leftovers.members(self.process.pid)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def kill(self) -> None:
        """The keeper alone, as a lack of memory would end it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def trees() -> Iterator[list[Tree]]:
    made: list[Tree] = []
    yield made
    for tree in made:
        tree.kill()
        for pid in leftovers.members(tree.process.pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("stubborn", [False, True])
def test_descendants_of_a_killed_keeper_are_ended(
    tmp_path: Path, trees: list[Tree], stubborn: bool
) -> None:
    trees.append(tree := Tree(tmp_path, stubborn=stubborn))
    tree.kill()
    assert is_held(tmp_path), "its descendants have the lock"
    assert leftovers.end_leftovers(tmp_path, grace_s=0.5) == 2
    assert leftovers.members(tree.process.pid) == []
    assert not is_held(tmp_path)
    assert leftovers.end_leftovers(tmp_path) == 0


def test_an_airflow_that_runs_is_left_alone_and_named(tmp_path: Path, trees: list[Tree]) -> None:
    trees.append(tree := Tree(tmp_path))
    with pytest.raises(SandboxError, match=r"runs in .* already, at http://127\.0\.0\.1:1234"):
        leftovers.end_leftovers(tmp_path)
    assert len(leftovers.members(tree.process.pid)) == 2
    assert tree.process.poll() is None


def test_a_directory_that_somebody_else_holds_is_left_alone(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(SandboxError, match="already"):
        leftovers.end_leftovers(tmp_path)


def test_an_old_state_file_alone_ends_nobody(tmp_path: Path, trees: list[Tree]) -> None:
    (tmp_path / "other").mkdir()
    trees.append(other := Tree(tmp_path / "other"))
    # The number of a keeper that is gone, which is another session's by now.
    (tmp_path / "mine").mkdir()
    leftovers.write(tmp_path / "mine", State(launcher=1, keeper=other.process.pid))
    assert leftovers.end_leftovers(tmp_path / "mine") == 0
    assert len(leftovers.members(other.process.pid)) == 2


def test_temporary_directories_of_killed_programs_are_removed(
    tmp_path: Path, trees: list[Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    killed, running, foreign = (tmp_path / name for name in (f"{PREFIX}a", f"{PREFIX}b", "c"))
    for home in (killed, running, foreign):
        home.mkdir()
    (foreign / "lock").touch()
    trees += [Tree(killed), Tree(running)]
    trees[0].kill()
    assert leftovers.remove_abandoned() == 2
    assert not killed.exists()
    assert running.exists()
    assert foreign.exists()
    assert len(leftovers.members(trees[1].process.pid)) == 2


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("[]")
    with pytest.raises(SandboxError, match=r"state\.json"):
        leftovers.read(tmp_path)
