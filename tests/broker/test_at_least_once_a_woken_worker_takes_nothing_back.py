"""At least once, a worker stands still in the middle of a commit until another has its tasks: when
it wakes it takes no position back, writes no row after its successor's, and joins again."""

from __future__ import annotations

import signal
from typing import Any

from streamer.config import Config
from streamer.testing.evidence import cluster_history
from streamer.testing.history import check, per_key
from tests.broker.applications.counts import Total, add
from tests.broker.exact import described
from tests.broker.workers import Application, Gate, Worker
from tests.thorough import thorough

OUTPUTS = ("totals", "closed", "every")
BLOCK = 2_000
POINT = "commit.before_transaction_commit"


def produce(application: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 40}", str(row % 100)) for row in range(BLOCK)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def running(worker: Worker) -> set[str]:
    return {task for task, about in worker.tasks().items() if about["state"] == "running"}


def assert_state_is_exact(application: Application) -> None:
    """The changelog and the positions are those of every record counted once; a result may have
    been written again."""
    config = Config(
        application_id=application.name, bootstrap_servers=application.kafka.bootstrap_servers
    )
    history = cluster_history(
        described(application),
        config,
        inputs=application.topic("in"),
        output=None,
        store="totals",
    )
    assert history.changelog
    assert history.committed
    verdict = check(history, per_key(Total, add))
    assert verdict, verdict


@thorough
def test_it_is_fenced_and_the_state_stays_exact(application: Any, wait_until: Any) -> None:
    made: Application = application(
        "counts", outputs=OUTPUTS, partitions=1, processing_guarantee="at_least_once"
    )
    produce(made, 0)
    gate = Gate(made.directory / "open")
    frozen = made.worker(
        "a", failpoints=gate.at(POINT, 3), commit_interval_ms=50, max_poll_records=100
    )
    frozen.wait_for(f"failpoint {POINT} acts")
    frozen.send(signal.SIGSTOP)
    try:
        other = made.worker("b", commit_interval_ms=50)
        wait_until(lambda: running(other) == {"0_0"}, what="a take-over")
        produce(made, 1)
        made.wait_until_done(watch=[other])
        rows = made.ends(made.changelog("totals"))
        positions = made.committed(stable=False)
    finally:
        gate.open()
        frozen.send(signal.SIGCONT)

    frozen.wait_for("fenced, dropping all tasks and joining again")
    assert made.committed(stable=False) == positions
    assert made.ends(made.changelog("totals")) == rows
    produce(made, 2)
    made.wait_until_done(watch=[frozen, other])
    assert frozen.metric("streamer_fenced_total") == 1
    assert_state_is_exact(made)
    assert frozen.stop() == 0
    assert other.stop() == 0
