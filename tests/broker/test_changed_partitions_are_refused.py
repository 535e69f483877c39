"""More partitions of the input, while the worker runs or is stopped, and internal topics of others.

Keys would move away from their state: the worker ends, says what to do, and changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from confluent_kafka.admin import NewPartitions

from tests.broker.expected import check
from tests.broker.workers import Application
from tests.thorough import thorough

OUTPUTS = ("totals", "closed", "every")
STORES = OUTPUTS
START_MS = 1_700_000_000_000


def grow(application: Application, topic: str, partitions: int) -> None:
    wanted = [NewPartitions(topic, partitions)]
    for done in application.kafka.admin.create_partitions(wanted).values():
        done.result(60)


def produce(application: Application, block: int) -> None:
    begin = START_MS + block * 2_000
    records = [(f"customer-{row % 20}", str(row)) for row in range(1_000)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def content(directory: Path) -> dict[str, int]:
    """Files that hold state, with their sizes; RocksDB's own log is no state."""
    return {
        str(file.relative_to(directory)): file.stat().st_size
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.name not in ("lock", "LOG")
    }


def test_a_grown_input_stops_the_worker_and_is_refused_at_the_next_start(
    application: Any,
) -> None:
    made: Application = application("counts", outputs=OUTPUTS)
    produce(made, 0)
    worker = made.run()
    place = made.topic("in")
    # More to look for: it may be noticed while records come.
    grow(made, place, 4)
    produce(made, 1)
    # Long before a producer learns of it that was there before.
    assert worker.wait() == 1
    assert f"{place} now has 4 partitions; this application runs with 2" in worker.error
    assert (
        "for keys that moved, what was committed since the topic grew may be wrong" in worker.error
    )

    committed = made.committed()
    state = content(made.state_dir())
    refused = made.worker()
    assert refused.wait() == 1
    assert f"{made.name}-" in refused.error
    assert "-changelog has 2 partitions, but this application needs 4" in refused.error
    assert f"{place} has 4" in refused.error
    assert "hint: " in refused.error
    assert made.committed() == committed
    assert content(made.state_dir()) == state
    for store in STORES:
        assert made.kafka.partitions(made.changelog(store)) == [0, 1]


@thorough
def test_an_internal_topic_of_the_wrong_size_is_refused(application: Any) -> None:
    made: Application = application("counts", outputs=OUTPUTS)
    made.kafka.create(made.changelog("every"), partitions=5)
    produce(made, 0)
    worker = made.worker()
    assert worker.wait() == 1
    assert f"{made.changelog('every')} has 5 partitions, but" in worker.error
    assert "needs 2" in worker.error
    # It was looked at before anything was made.
    assert made.changelog("totals") not in made.kafka.topics()
    assert made.committed() == {}

    made.kafka.delete(made.changelog("every"))
    assert made.run().stop() == 0
    check(made)
