from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streamer.errors import SandboxError
from streamer.sandbox.background import down, status
from streamer.sandbox.directory import (
    TEMPORARY_PREFIX,
    Description,
    describe,
    hold,
    is_held,
    remove_abandoned,
    temporary,
    write_description,
)


def test_a_directory_has_one_holder(tmp_path: Path) -> None:
    with hold(tmp_path):
        assert is_held(tmp_path)
        with pytest.raises(SandboxError, match=f"another process uses .* {tmp_path}"):
            hold(tmp_path, patience=0)
    assert not is_held(tmp_path)


def test_a_child_that_inherits_the_lock_keeps_it(tmp_path: Path) -> None:
    lock = hold(tmp_path)
    wait = [sys.executable, "-c", "input()"]
    child = subprocess.Popen(wait, stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
    lock.close()
    assert is_held(tmp_path)

    child.communicate(b"\n", timeout=120)

    assert not is_held(tmp_path)


def test_the_description_survives(tmp_path: Path) -> None:
    assert describe(tmp_path) is None
    write_description(tmp_path, Description(1, 2, 3))
    assert describe(tmp_path) == Description(1, 2, 3)


@pytest.mark.parametrize("text", ["", "{}", '{"pid": 1}', "[1]", '{"pid": "x"}'])
def test_a_broken_description_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "sandbox.json").write_text(text)
    with pytest.raises(SandboxError, match=r"cannot read .*sandbox\.json"):
        describe(tmp_path)


def test_the_number_of_a_dead_process_is_not_believed(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        hold(tmp_path).close()
        write_description(tmp_path, Description(bystander.pid, 2, 3))

        assert not status(tmp_path).is_running
        assert down(tmp_path) is False
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n", timeout=120)


def test_nothing_runs_where_nothing_was_started(tmp_path: Path) -> None:
    found = status(tmp_path / "never")

    assert (found.is_running, found.pid, found.bootstrap_servers) == (False, 0, "")
    assert not (tmp_path / "never").exists()
    assert down(tmp_path / "never") is False


def test_down_during_a_start_says_so(tmp_path: Path) -> None:
    with hold(tmp_path):
        write_description(tmp_path, Description(0, 2, 3))
        with pytest.raises(SandboxError, match="still starting"):
            down(tmp_path)


def test_only_abandoned_directories_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned, used, foreign = (tmp_path / f"{TEMPORARY_PREFIX}{name}" for name in "auf")
    hold(abandoned).close()
    foreign.mkdir()
    with hold(used):
        remove_abandoned()

    assert not abandoned.exists()
    assert used.exists()
    assert foreign.exists(), "without a lock file it may be a start that has just begun"


@pytest.mark.slow
def test_starts_at_the_same_time_leave_each_others_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def start(_number: int) -> bool:
        remove_abandoned()
        directory, lock = temporary()
        remove_abandoned()
        with lock:
            return (directory / "lock").exists()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(start, range(400)))
    remove_abandoned()
    assert not list(tmp_path.iterdir())
