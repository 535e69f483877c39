"""`streamer rebuild`: the copy goes on until the new one is there, and is made anew once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.orders import FORMAT, RebuildOrder, encode_order, rebuild_key
from streamer.control.topics import ControlTopics
from streamer.ids import TaskId
from streamer.kafka.admin import Admin
from streamer.kafka.table import TableWriter
from streamer.restore.note import read_note
from streamer.sandbox import ssh_server
from streamer.sandbox.ssh_server import SshServer
from tests.broker.restorable import contents, take, tasks_of, trim
from tests.broker.workers import APPLICATIONS, ROOT, Application, Worker
from tests.thorough import thorough

pytestmark = pytest.mark.long

OUTPUTS = ("totals", "closed", "every")
BLOCK = 900


def produce(made: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 300}", str(row)) for row in range(BLOCK)]
    made.kafka.produce(made.topic("in"), records, timestamp_ms=lambda row: begin + row)


def command(made: Application, *arguments: str) -> list[str]:
    given = ["-m", "streamer.cli.main", "rebuild", "--task", "0_0"]
    given += ["--app", f"{APPLICATIONS}.{made.module}:app", *arguments]
    for name in ("bootstrap_servers", "snapshot_repository"):
        given += ["--set", f"{name}={made.settings[name]}"]
    return given


def rebuild(made: Application, *arguments: str, timeout: float = 480.0) -> tuple[int, str]:
    """The command line's exit code, and all that it said."""
    done = subprocess.run(
        [sys.executable, *command(made, *arguments)],
        cwd=ROOT,
        env={**os.environ, "STREAMER_TEST_APPLICATION": made.name},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout + done.stderr


class Pair:
    """A worker that processes the only task, and one that keeps its copy."""

    def __init__(self, made: Application, wait_until: Any) -> None:
        self.made = made
        self._wait_until = wait_until
        self.active = made.worker("a", worker_id="owner")
        self.active.wait_started(1)
        self.keeper = self.keep()

    def keep(self, failpoints: str = "") -> Worker:
        return self.made.worker("b", failpoints=failpoints, worker_id="keeper")

    def wait_warm(self) -> None:
        self._wait_until(lambda: self.keeper.standbys() == {"0_0": 0}, what="a warm copy")

    def stop(self) -> None:
        """The copy takes over, which reads what it lacks, and stops then."""
        assert self.active.stop() == 0
        self.keeper.wait_started(1)
        assert self.keeper.stop() == 0


@pytest.fixture
def made(application: Any, tmp_path: Path) -> Application:
    """An application with a snapshot, and records after it."""
    repository = f"file://{tmp_path}/repository"
    one: Application = application(
        "counts",
        outputs=OUTPUTS,
        partitions=1,
        standby_replicas=1,
        snapshot_repository=repository,
    )
    produce(one, 0)
    first = one.run(worker_id="owner")
    assert first.stop() == 0
    take(one, repository)
    return one


@pytest.fixture
def ssh() -> Iterator[SshServer]:
    if reason := ssh_server.missing():
        pytest.skip(f"{reason}, so nothing was tried over SSH")
    with SshServer() as server:
        yield server


def test_from_a_snapshot_and_from_the_changelogs(made: Application, wait_until: Any) -> None:
    pair = Pair(made, wait_until)
    produce(made, 1)
    made.wait_until_done(watch=[pair.active])
    pair.wait_warm()

    code, said = rebuild(made, "--on", "owner")
    assert code == 3
    assert "is processed by worker owner, and only a copy can be rebuilt" in said
    code, said = rebuild(made, "--from", "s3")
    assert code == 3
    assert "is not of s3" in said

    code, said = rebuild(made, "--dry-run", "--json")
    assert code == 0, said
    assert [one["step"] for one in json.loads(said)] == ["order", "warm", "withdraw"]
    assert not any("rebuilt" in message for message in pair.keeper.messages)

    code, said = rebuild(made, "--on", "keeper", "--from", "file")
    assert code == 0, said
    assert "was made anew from snapshot 0000000001-" in said
    pair.keeper.wait_for("task 0_0: restored from snapshot 0000000001-")
    code, said = rebuild(made, "--from", "changelog")
    assert code == 0, said
    assert "was made anew from its changelogs" in said
    pair.wait_warm()
    wait_until(
        lambda: [path.name for path in tasks_of(made, "b").iterdir()] == ["0_0"],
        what="no former directory",
    )
    produce(made, 2)
    made.wait_until_done(watch=[pair.active])
    pair.wait_warm()
    pair.stop()
    assert contents(made, "b") == contents(made, "a")


@thorough
def test_killed_in_between_it_happens_once(made: Application, wait_until: Any) -> None:
    pair = Pair(made, wait_until)
    pair.wait_warm()
    assert pair.keeper.stop() == 0
    for point in ("bootstrap.before_adopt", "adopt.between_renames", "bootstrap.after_adopt"):
        pair.keeper = pair.keep(f"{point}=kill")
        pair.wait_warm()
        operation = subprocess.Popen(
            [sys.executable, *command(made, "--from", "file")],
            cwd=ROOT,
            env={**os.environ, "STREAMER_TEST_APPLICATION": made.name},
        )
        pair.keeper.wait()
        pair.keeper = pair.keep()
        assert operation.wait(480) == 0
        exchanged = [one for one in pair.keeper.messages if "restored from snapshot" in one]
        assert len(exchanged) == (point == "bootstrap.before_adopt"), exchanged
        pair.wait_warm()
        if point != "bootstrap.after_adopt":
            assert pair.keeper.stop() == 0
    pair.stop()
    assert contents(made, "b") == contents(made, "a")


@thorough
def test_from_another_host_over_ssh(
    made: Application, wait_until: Any, ssh: SshServer, tmp_path: Path
) -> None:
    """What the active's host keeps as a directory, the other one pulls; the orders are given by
    hand, so that nothing but the worker is looked at."""
    export = tmp_path / "export"
    taken = take(made, f"file://{export}")
    trim(made, taken)
    made.settings |= {
        "snapshot_repository": f"file://{tmp_path}/nothing-there",
        "snapshot_export_address": f"ssh://{ssh.user}@{{host}}:{ssh.port}{export}",
        "snapshot_ssh_key": ssh.key_file,
        "snapshot_ssh_known_hosts": ssh.known_hosts,
    }
    pair = Pair(made, wait_until)
    # The copy has no disk, the changelog is trimmed, and there is no snapshot where it looks.
    pair.keeper.wait_for("and no snapshot brings it back")
    order(made, "first", f"ssh://{ssh.user}@127.0.0.1:{ssh.port}{export}")
    pair.keeper.wait_for("task 0_0: restored from snapshot 0000000001-")
    pair.wait_warm()
    note = read_note(tasks_of(made, "b") / "0_0")
    assert note is not None
    assert note.operation == "first"
    assert note.source.startswith("ssh://")
    produce(made, 1)
    made.wait_until_done(watch=[pair.active])
    pair.wait_warm()
    pair.stop()
    assert contents(made, "b") == contents(made, "a")


def order(made: Application, number: str, repository: str) -> None:
    config = Config(
        application_id=made.name, bootstrap_servers=str(made.settings["bootstrap_servers"])
    )
    place = ControlTopics.find(config, Admin(config)).orders
    given = RebuildOrder(
        format=FORMAT,
        operation=number,
        task="0_0",
        worker="keeper",
        source="active",
        repository=repository,
        at_ms=time.time_ns() // 1_000_000,
    )
    writer = TableWriter(config)
    writer.put(place, rebuild_key(TaskId(0, 0)), encode_order(given))
    writer.flush(60)
    writer.close()
