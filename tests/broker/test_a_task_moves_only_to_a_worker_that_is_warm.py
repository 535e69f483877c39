"""A worker joins and has much to restore: until it has, the owner goes on processing."""

from __future__ import annotations

from typing import Any

from tests.broker.expected import check
from tests.broker.workers import Application, Gate

OUTPUTS = ("totals", "closed", "every")
BLOCK = 4_000
EVERY = {"0_0", "0_1", "0_2", "0_3"}


def produce(application: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * BLOCK
    records = [(f"customer-{row % 600}", str(row % 100)) for row in range(BLOCK)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def test_the_owner_goes_on_until_the_newcomer_is_warm(application: Any, wait_until: Any) -> None:
    made = application("counts", outputs=OUTPUTS, partitions=4, acceptable_recovery_lag=0)
    first = made.worker("a")
    first.wait_started(4)
    produce(made, 0)
    made.wait_until_done(watch=[first])

    # It has been told, and takes its time before it opens the first copy.
    gate = Gate(made.directory / "open")
    second = made.worker("b", failpoints=gate.at("standby.before_open"))
    second.wait_for("failpoint standby.before_open acts")
    produce(made, 1)
    made.wait_until_done(watch=[first, second])
    assert first.running() == EVERY
    assert first.processed() == 2 * BLOCK

    gate.open()
    wait_until(lambda: len(second.running()) == 2, what="two tasks for the newcomer")
    assert first.running() | second.running() == EVERY
    assert sum(one.restored for one in second.started().values()) == 0
    produce(made, 2)
    made.wait_until_done(watch=[first, second])
    check(made)
    # Nobody keeps a copy where none is asked for.
    wait_until(lambda: not (first.standbys() or second.standbys()), what="no copies")
