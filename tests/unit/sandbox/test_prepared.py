"""A copy of formatted data is that of a cluster of its own, and only where it would be the same."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from streamer.sandbox import prepared

META = "version=1\ncluster.id=first\nnode.id=1\ndirectory.id=d\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    metadata = tmp_path / "home" / "data" / "__cluster_metadata-0"
    metadata.mkdir(parents=True)
    (metadata / "0.checkpoint").write_bytes(b"voters")
    (metadata.parent / "meta.properties").write_text(META)
    return tmp_path / "home"


def identity(data: Path) -> str:
    [line] = [
        line
        for line in (data / "meta.properties").read_text().splitlines()
        if line.startswith("cluster.id=")
    ]
    return line.removeprefix("cluster.id=")


def test_each_copy_is_another_cluster(home: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        prepared.copy(home, tmp_path / name)
        copied = tmp_path / name
        assert (copied / "__cluster_metadata-0" / "0.checkpoint").read_bytes() == b"voters"
        rest = (copied / "meta.properties").read_text().replace(identity(copied), "first")
        assert rest == META
    assert len({identity(tmp_path / "a"), identity(tmp_path / "b"), "first"}) == 3


def test_a_copy_that_was_killed_is_made_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed() -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(prepared, "fresh_cluster", killed)
        with pytest.raises(KeyboardInterrupt):
            prepared.copy(home, tmp_path / "a")
    assert (tmp_path / "a" / "__cluster_metadata-0").exists()
    assert not (tmp_path / "a" / "meta.properties").exists(), "it would pass for formatted"
    prepared.copy(home, tmp_path / "a")
    assert identity(tmp_path / "a")


def test_what_settings_would_format_otherwise_is_no_copy() -> None:
    assert prepared.is_copied(["num.partitions", "log.retention.ms", "listeners", "ssl.key"])
    for name in ("node.id", "log.dirs", "metadata.log.dir", "controller.quorum.voters"):
        assert not prepared.is_copied(["num.partitions", name])


def test_a_cache_that_cannot_be_written_prepares_nothing(tmp_path: Path) -> None:
    (tmp_path / "prepared").write_text("a file is in the way")
    assert prepared.prepare([], cache=tmp_path) is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_run_that_takes_too_long_ends_with_what_it_has_started(tmp_path: Path) -> None:
    program = tmp_path / "java"
    program.write_text(f"#!/bin/sh\nsleep 300 &\necho $! > {tmp_path}/pid\nwait\n")
    program.chmod(0o755)
    said = prepared.format_data(
        [str(program)], tmp_path / "properties", log=tmp_path / "log", timeout=1
    )
    assert said == "its directory was not formatted within 1 s"
    child = Path("/proc") / (tmp_path / "pid").read_text().strip() / "stat"
    deadline = time.monotonic() + 120
    while _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs(stat: Path) -> bool:
    """Whoever inherits an ended process may not have collected it yet."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
