"""`streamer rebuild --from active`: the active makes a snapshot on its own disk, and the worker
with the copy pulls it over SSH; no repository is set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.sandbox import ssh_server
from streamer.sandbox.ssh_server import SshServer
from tests.broker.restorable import contents
from tests.broker.workers import APPLICATIONS, ROOT, Application
from tests.thorough import thorough

OUTPUTS = ("totals", "closed", "every")
BLOCK = 900
SETTINGS = (
    "bootstrap_servers",
    "snapshot_export_dir",
    "snapshot_export_address",
    "snapshot_ssh_key",
    "snapshot_ssh_known_hosts",
)


@pytest.fixture
def ssh() -> Iterator[SshServer]:
    if reason := ssh_server.missing():
        pytest.skip(f"{reason}, so nothing was tried over SSH")
    with SshServer() as server:
        yield server


@pytest.fixture
def made(application: Any, ssh: SshServer, tmp_path: Path) -> Application:
    export, known_hosts = tmp_path / "export", tmp_path / "known_hosts"
    known = ssh.known_hosts.read_text()
    # Two copies of a task are never on one host: this one has two names.
    known_hosts.write_text(known + known.replace("127.0.0.1", "localhost"))
    one: Application = application(
        "counts",
        outputs=OUTPUTS,
        partitions=2,
        standby_replicas=1,
        snapshot_export_dir=export,
        snapshot_export_address=f"ssh://{ssh.user}@{{host}}:{ssh.port}{export}",
        snapshot_ssh_key=ssh.key_file,
        snapshot_ssh_known_hosts=known_hosts,
    )
    return one


def produce(made: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 300}", str(row)) for row in range(BLOCK)]
    made.kafka.produce(made.topic("in"), records, timestamp_ms=lambda row: begin + row)


def start(made: Application, *arguments: str) -> subprocess.Popen[str]:
    given = [sys.executable, "-m", "streamer.cli.main", *arguments]
    given += ["--app", f"{APPLICATIONS}.{made.module}:app"]
    for name in SETTINGS:
        given += ["--set", f"{name}={made.settings[name]}"]
    return subprocess.Popen(
        given,
        cwd=ROOT,
        env={**os.environ, "STREAMER_TEST_APPLICATION": made.name},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(command: subprocess.Popen[str], timeout: float = 480.0) -> tuple[int, str]:
    said, _ = command.communicate(timeout=timeout)
    return command.returncode, said


@thorough
def test_both_copies_at_once(made: Application, wait_until: Any) -> None:
    produce(made, 0)
    first = made.worker("127.0.0.1", worker_id="first")
    second = made.worker("localhost", worker_id="second")
    wait_until(
        lambda: sorted([*first.standbys(), *second.standbys()]) == ["0_0", "0_1"],
        what="a copy of each task",
    )
    made.wait_until_done(watch=[first, second])
    commands = [
        start(made, "rebuild", "--task", task, "--from", "active") for task in ("0_0", "0_1")
    ]
    for command in commands:
        code, said = ended(command)
        assert code == 0, said + first.tail(30) + second.tail(30)
        assert "was made anew from snapshot 0000000001-" in said
        assert "ssh://" in said
    for keeper in (first, second):
        for task in keeper.standbys():
            keeper.wait_for(f"task {task}: restored from snapshot 0000000001-")
    produce(made, 1)
    made.wait_until_done(watch=[first, second])
    (own,) = first.running()
    assert first.stop() == 0
    second.wait_started(2)
    assert second.stop() == 0
    assert contents(made, "127.0.0.1")[own] == contents(made, "localhost")[own]
