from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from streamer.cli.main import main
from streamer.ids import TaskId
from tests.broker.test_a_trim_leaves_what_a_lost_disk_needs import plan, planned, process
from tests.broker.trims import Snapshots
from tests.broker.workers import Application
from tests.thorough import thorough

TASK = TaskId(0, 0)


def holders(part: dict[str, Any]) -> dict[str, int]:
    return {one["owner"]: one["position"] for one in part["holders"]}


@thorough
def test_a_copy_that_stays_behind_holds_a_trim_back_until_it_has_caught_up(
    application: Callable[..., Application], capsys: pytest.CaptureFixture[str]
) -> None:
    counts = application(
        "counts", outputs=("totals", "closed", "every"), partitions=1, standby_replicas=1
    )
    snapshots = Snapshots(counts)
    hosts = {"a": counts.worker("a", worker_id="wa")}
    hosts["a"].wait_started(1)
    hosts["b"] = counts.worker("b", worker_id="wb")
    deadline = time.monotonic() + 120
    while not any(worker.standbys() for worker in hosts.values()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    behind = next(host for host, worker in hosts.items() if worker.standbys())
    ahead = "b" if behind == "a" else "a"
    process(counts, hosts[ahead], range(1, 5))

    def has_told(found: Any) -> bool:
        """The copy has told that it is beyond the begin."""
        parts = {part["topic"]: holders(part) for part in found["partitions"]}
        totals = parts.get(counts.changelog("totals"), {})
        return any("standby" in owner and at > 0 for owner, at in totals.items())

    planned(snapshots, capsys, has_told)
    hosts[behind].kill()
    process(counts, hosts[ahead], range(5, 10))
    for _ in range(2):
        snapshots.make(TASK, ahead)
    found = planned(snapshots, capsys, lambda one: one["operation"] is not None)
    [totals] = [part for part in found["partitions"] if part["topic"] == counts.changelog("totals")]
    limit = totals["holders"][0]
    assert limit["owner"].startswith(f"worker w{behind} (")
    assert "standby" in limit["owner"]
    assert totals["to"] == limit["position"]
    snapshot_at = min(one["position"] for one in totals["holders"] if one["kind"] == "snapshot")
    assert totals["to"] < snapshot_at

    place = f"{totals['topic']}/0"
    assert main(["why-kept", place, "--json", *snapshots.options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["holders"][0] == limit
    assert limit["since_ms"] > 0

    # It is back, and reads what it lacks: then the snapshots alone decide.
    hosts[behind] = counts.worker(behind, worker_id=f"w{behind}")

    def is_free(one: Any) -> bool:
        return any(part["to"] == snapshot_at for part in one["partitions"])

    planned(snapshots, capsys, is_free)
    newest = plan(snapshots, capsys, "--store", "totals")
    assert main(["trim", "apply", newest["operation"], *snapshots.options]) == 0
    capsys.readouterr()
    process(counts, hosts[ahead], range(10, 12))
    assert all(worker.is_alive for worker in hosts.values())
