"""`streamer rebuild --from s3` and `--from ssh`, and disks that are lost: a real server each time.

The snapshot is made by the worker that processes, into the same repository.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamer.sandbox import object_store, ssh_server
from streamer.sandbox.object_store import ObjectStore
from streamer.sandbox.ssh_server import SshServer
from tests.broker.restorable import EAGER, contents
from tests.broker.snapshots import Snapshots
from tests.broker.test_a_copy_is_rebuilt_on_demand import OUTPUTS, produce
from tests.broker.test_a_lost_disk_comes_back_from_a_snapshot import SLOWLY
from tests.broker.workers import APPLICATIONS, ROOT, Application
from tests.thorough import thorough_but

# The S3 server may have to be built first, once per machine.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1_600)]


def s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    if reason := object_store.missing():
        pytest.skip(f"{reason}, so nothing was tried against a real S3 server")
    store = ObjectStore().start()
    request.addfinalizer(store.remove)
    store.make_bucket("snapshots")
    for name, value in store.environment.items():
        monkeypatch.setitem(os.environ, name, value)
    return {
        "snapshot_repository": "s3://snapshots/spend",
        "snapshot_s3_endpoint": store.endpoint,
    }


def ssh(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, object]:
    if reason := ssh_server.missing():
        pytest.skip(f"{reason}, so nothing was tried over SSH")
    server = SshServer().start()
    request.addfinalizer(server.remove)
    return {
        "snapshot_repository": (
            f"ssh://{server.user}@127.0.0.1:{server.port}{tmp_path / 'repository'}"
        ),
        "snapshot_ssh_key": server.key_file,
        "snapshot_ssh_known_hosts": server.known_hosts,
    }


@pytest.fixture(params=thorough_but(["s3"], ["s3", "ssh"]))
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    return s3(request, monkeypatch) if request.param == "s3" else ssh(request, tmp_path)


def rebuild(made: Application, source: str, settings: dict[str, object]) -> str:
    command = [sys.executable, "-m", "streamer.cli.main", "rebuild", "--task", "0_0"]
    command += ["--from", source, "--app", f"{APPLICATIONS}.{made.module}:app"]
    given = settings | {"bootstrap_servers": made.settings["bootstrap_servers"]}
    for name, value in given.items():
        command += ["--set", f"{name}={value}"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "STREAMER_TEST_APPLICATION": made.name},
        capture_output=True,
        text=True,
        timeout=360,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_copy_and_then_everything(
    application: Any, settings: dict[str, object], wait_until: Callable[..., None]
) -> None:
    repository = str(settings["snapshot_repository"])
    source = repository.partition(":")[0]
    made: Application = application(
        "counts", outputs=OUTPUTS, partitions=1, standby_replicas=1, **settings
    )
    produce(made, 0)
    owner = made.worker("a", worker_id="owner")
    owner.wait_started(1)
    keeper = made.worker("b", worker_id="keeper")
    made.wait_until_done(watch=[owner])
    wait_until(lambda: keeper.standbys() == {"0_0": 0}, what="a warm copy")
    assert Snapshots(made, **settings).run("create")["state"] == "done"

    said = rebuild(made, source, settings)
    assert "was made anew from snapshot 0000000001-" in said
    assert f"of {source}://" in said
    keeper.wait_for("task 0_0: restored from snapshot 0000000001-")

    produce(made, 1)
    made.wait_until_done(watch=[owner])
    # Where it takes over, it reads what came last.
    assert owner.stop() == 0
    keeper.wait_started(1)
    assert keeper.stop() == 0
    before = contents(made, "b")
    for host in ("a", "b"):
        shutil.rmtree(made.state_dir(host))

    worker = made.worker("c", failpoints=SLOWLY, **EAGER)
    worker.wait_started(1)
    told = worker.wait_for("task 0_0: restored from snapshot 0000000001-")
    assert f"of {source}://" in told
    assert worker.stop() == 0
    assert contents(made, "c") == before
