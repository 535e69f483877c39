"""The owner dies while its only copy is being fetched; then the worker is stopped in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.broker.restorable import contents, take, tasks_of, trim
from tests.broker.workers import Application, Worker
from tests.thorough import thorough

OUTPUTS = ("totals", "closed", "every")
BLOCK = 1_500


def produce(made: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 400}", str(row)) for row in range(BLOCK)]
    made.kafka.produce(made.topic("in"), records, timestamp_ms=lambda row: begin + row)


def is_fetching(worker: Worker) -> bool:
    return worker.metric("streamer_bootstrap_remaining_bytes") > 0


@thorough
def test_what_was_fetched_is_not_lost(application: Any, tmp_path: Path, wait_until: Any) -> None:
    repository = f"file://{tmp_path}/repository"
    made: Application = application(
        "counts",
        outputs=OUTPUTS,
        partitions=1,
        standby_replicas=1,
        snapshot_repository=repository,
    )
    for block in range(2):
        produce(made, block)
    assert made.run().stop() == 0
    taken = take(made, repository)
    # Nothing but the snapshot can make the copy.
    trim(made, taken)
    size = taken["0_0"].manifest.size
    owner = made.worker("a")
    owner.wait_started(1)

    # It takes twenty seconds, and until then the owner is dead and the copy is promoted.
    slow = {"snapshot_bytes_per_second": size // 20, "snapshot_parallel_transfers": 1}
    keeper = made.worker("b", **slow)
    wait_until(lambda: is_fetching(keeper), what="a fetch")
    owner.kill()
    # Promoted, it goes on to be fetched; nobody restores it meanwhile.
    keeper.wait_for("took 0_0")
    assert is_fetching(keeper)
    assert keeper.stop() == 0
    staging = tasks_of(made, "b") / "0_0.restore"
    assert any(
        (staging / name).iterdir() for name in ("files", "parts") if (staging / name).exists()
    )

    again = made.worker("b")
    again.wait_started(1)
    told = again.wait_for("task 0_0: restored from snapshot 0000000001-")
    kept = int(told.rpartition(" were on this disk")[0].rpartition(" ")[2])
    assert kept > 0, "what was fetched before the stop is used"
    produce(made, 2)
    made.wait_until_done(watch=[again])
    assert again.stop() == 0
    after = contents(made, "b")["0_0"]
    # Every record counted once, whoever processed it.
    totals = [json.loads(row[9:]) for row in after["store.totals"].values()]
    assert sum(one["count"] for one in totals) == 3 * BLOCK
