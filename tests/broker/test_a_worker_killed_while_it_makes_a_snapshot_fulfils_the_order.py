"""kill -9 at each moment of the making: the order is fulfilled after a restart, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.broker.feeder import OUTPUTS, Feeder
from tests.broker.snapshots import Snapshots, ended
from tests.broker.workers import KILLED, Application
from tests.thorough import thorough_but

pytestmark = pytest.mark.long

POINTS = (
    "checkpoint.before_make",
    "checkpoint.after_make",
    "snapshot.after_pending",
    "snapshot.after_file",
    "snapshot.before_commit",
    "snapshot.after_commit",
    "checkpoint.before_noted",
    "checkpoint.before_removed",
)


@pytest.mark.parametrize("point", thorough_but(["snapshot.before_commit"], POINTS))
def test_the_order_is_fulfilled_after_the_restart(
    application: Callable[..., Application], tmp_path: Path, point: str
) -> None:
    running = application(
        "counts", outputs=OUTPUTS, partitions=1, snapshot_repository=f"file://{tmp_path / 'place'}"
    )
    snapshots = Snapshots(running)
    with Feeder(running, rate=1_000) as feeder:
        doomed = running.worker("a", failpoints=f"{point}=kill")
        doomed.wait_started(1)
        asking = snapshots.start("create", "--json")
        try:
            assert doomed.wait() == KILLED
            running.worker("a")
            made = ended(asking)
        finally:
            if asking.poll() is None:
                asking.kill()
                asking.communicate()
        feeder.stop()
    assert made["state"] == "done"
    [manifest] = snapshots.manifests()
    assert manifest.made_for == made["id"]
    assert snapshots.notes() == {manifest.stem: "files"}
    assert snapshots.totals(manifest, tmp_path / "look") == snapshots.expected(manifest)
    assert list(running.state_dir().glob("*/worker-*/checkpoints/*")) == []
