"""The S3 server and the sshd of the sandbox: what is said where they cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.errors import SandboxError
from streamer.sandbox import object_store, ssh_server
from streamer.sandbox.object_store import ObjectStore
from streamer.sandbox.ssh_server import SshServer


@pytest.fixture
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path with nothing on it, and an empty cache."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return programs


def test_without_go_there_is_no_s3_server(no_programs: Path) -> None:
    assert "no Go is installed" in object_store.missing()
    with pytest.raises(SandboxError, match="no Go is installed") as raised:
        ObjectStore().start()
    assert "install Go" in raised.value.hint


def test_a_build_that_fails_says_why_and_leaves_nothing(no_programs: Path, tmp_path: Path) -> None:
    for name, text in (("nice", 'shift 2; exec "$@"'), ("go", "echo no network >&2; exit 1")):
        (no_programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (no_programs / name).chmod(0o755)
    assert object_store.missing() == ""
    with pytest.raises(SandboxError, match="cannot be built: no network"):
        object_store.build()
    left = sorted(path.name for path in (tmp_path / "cache" / "streamer" / "versitygw").iterdir())
    assert left == [".lock"]


def test_without_sshd_there_is_no_ssh_server(
    no_programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_server, "_PLACES", ())
    assert ssh_server.missing() == "sshd is not installed"
    with pytest.raises(SandboxError, match="sshd is not installed"):
        SshServer().start()
