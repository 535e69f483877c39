"""A directory for a moment: what a kill leaves goes with the next one, and nothing else does."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from streamer.errors import StateDirectoryError
from streamer.restore.scratch import scratch, sweep


def hold(base: Path, told: Connection) -> None:
    """Have one with something in it, until this process is killed."""
    with scratch(base) as directory:
        (directory / "large").write_bytes(b"x" * 1_000)
        told.send(directory)
        signal.pause()


@pytest.fixture
def held(tmp_path: Path) -> tuple[multiprocessing.process.BaseProcess, Path]:
    """A process that has one, and where."""
    context = multiprocessing.get_context("spawn")
    hears, told = context.Pipe(duplex=False)
    process = context.Process(target=hold, args=(tmp_path, told), daemon=True)
    process.start()
    assert hears.poll(120)
    return process, hears.recv()


def test_nothing_is_left_at_its_end(tmp_path: Path) -> None:
    with scratch(tmp_path) as directory:
        (directory / "deep").mkdir()
        assert directory.parent == tmp_path
        assert directory.stat().st_mode & 0o777 == 0o700
    with pytest.raises(RuntimeError), scratch(tmp_path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_a_kill_leaves_is_removed_by_the_next_one(
    tmp_path: Path, held: tuple[multiprocessing.process.BaseProcess, Path]
) -> None:
    process, left = held
    with scratch(tmp_path):
        assert (left / "large").exists(), "its process lives"
    process.kill()
    process.join(240)
    assert (left / "large").exists(), "a kill leaves it"
    with scratch(tmp_path) as directory:
        assert not left.exists()
        assert {each.stem for each in tmp_path.iterdir()} == {directory.name}


def test_what_is_not_its_own_is_never_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "streamer-look-1").mkdir()
    (tmp_path / "other.lock").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "streamer-look-2.lock").write_text("another-host")
    (tmp_path / "streamer-look-2").mkdir()
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "streamer-look-3.lock").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.iterdir())
    assert sweep(tmp_path) == []
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    (tmp_path / "streamer-look-4.lock").touch()
    assert sweep(tmp_path) == []
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "streamer-look-4.lock"])


def test_a_kill_before_there_was_a_directory_leaves_nothing_for_long(tmp_path: Path) -> None:
    (tmp_path / "streamer-look-5.lock").touch()
    assert sweep(tmp_path) == [tmp_path / "streamer-look-5"]
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_removed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *_given, **_named: None)
        with scratch(tmp_path) as directory:
            pass
    assert directory.exists()
    assert sweep(tmp_path) == [directory]
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(StateDirectoryError, match="nowhere cannot be restored to: No such file"),
        scratch(tmp_path / "nowhere"),
    ):
        pass
