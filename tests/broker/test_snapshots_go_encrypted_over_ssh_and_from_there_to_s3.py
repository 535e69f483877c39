"""Workers send snapshots to another host by SSH, encrypted; from there they are copied to S3."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamer.sandbox import object_store, ssh_server
from streamer.sandbox.object_store import ObjectStore
from streamer.sandbox.ssh_server import SshServer
from tests.broker.conftest import wait_until
from tests.broker.feeder import OUTPUTS, Feeder
from tests.broker.snapshots import Snapshots
from tests.broker.workers import Application


@pytest.fixture
def host() -> Iterator[SshServer]:
    if reason := ssh_server.missing():
        pytest.skip(f"{reason}, so nothing was tried over SSH")
    with SshServer() as server:
        yield server


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    if reason := object_store.missing():
        pytest.skip(f"{reason}, so nothing was tried against a real S3 server")
    with ObjectStore() as running:
        running.make_bucket("second")
        yield running


def test_a_snapshot_arrives_over_ssh_and_its_copy_in_s3(
    application: Callable[..., Application],
    host: SshServer,
    store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in store.environment.items():
        monkeypatch.setitem(os.environ, name, value)
    key = tmp_path / "snapshot.key"
    key.write_text("5c" * 32)
    key.chmod(0o600)
    settings = {
        "snapshot_repository": f"ssh://{host.user}@127.0.0.1:{host.port}{tmp_path / 'place'}",
        "snapshot_ssh_key": host.key_file,
        "snapshot_ssh_known_hosts": host.known_hosts,
        "snapshot_key_file": key,
    }
    running = application("counts", outputs=OUTPUTS, partitions=2, **settings)
    snapshots = Snapshots(running, **settings)
    with Feeder(running, rate=1_000) as feeder:
        worker = running.worker("a")
        wait_until(lambda: worker.processed() > 0)
        assert snapshots.run("create")["state"] == "done"
        feeder.stop()
    for number, manifest in enumerate(snapshots.manifests()):
        state = snapshots.totals(manifest, tmp_path / str(number))
        assert state
        assert state == snapshots.expected(manifest)
    assert all(row["whole"] for row in snapshots.run("verify", "--level", "restored"))
    assert not any(b"customer-" in path.read_bytes() for path in files(tmp_path / "place"))

    second = tmp_path / "second.toml"
    second.write_text(f'snapshot_s3_endpoint = "{store.endpoint}"\n')
    target = "s3://second/spend"
    where = ("copy", "--to", target, "--to-config", str(second))
    rows = snapshots.run(*where)
    assert [row["problem"] for row in rows] == ["", ""]
    assert all(row["sent_bytes"] > 0 for row in rows)
    assert [row["sent_bytes"] for row in snapshots.run(*where)] == [0, 0]
    plain = Snapshots(running, snapshot_repository=target, snapshot_s3_endpoint=store.endpoint)
    copied = plain.run("verify", "--level", "restored")
    assert [(row["task"], row["whole"]) for row in copied] == [("0_0", True), ("0_1", True)]
    # The second repository has no key: its files are as RocksDB wrote them.
    assert any(b"customer-" in path.read_bytes() for path in files(store.data / "second"))


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]
