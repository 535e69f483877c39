"""Input, output or dead letter topic: missing at the start, or deleted while a worker runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.broker.workers import Application
from tests.thorough import thorough_but

OUTPUTS = ("totals", "closed", "every")


@pytest.mark.parametrize("missing", thorough_but(["in"], ["in", "every", "dead"]))
def test_a_start_without_one_is_refused_and_makes_nothing(application: Any, missing: str) -> None:
    made: Application = application("counts", outputs=(*OUTPUTS, "dead"))
    made.kafka.delete(made.topic(missing))
    worker = made.worker(processing_error="dead_letter", dead_letter_topic=made.topic("dead"))
    assert worker.wait() == 1
    assert f"not exist: {made.topic(missing)}\n" in worker.error
    assert f"--create --topic {made.topic(missing)}" in worker.error
    internal = {topic for topic in made.kafka.topics() if topic.startswith(f"{made.name}-")}
    assert internal == set()


def produce(application: Application, block: int) -> None:
    begin = 1_700_000_000_000 + block * 1_000
    records = [(f"customer-{row % 20}", "1") for row in range(500)]
    application.kafka.produce(
        application.topic("in"), records, timestamp_ms=lambda row: begin + row
    )


def test_an_input_that_is_deleted_ends_the_worker(application: Any) -> None:
    made: Application = application("counts", outputs=OUTPUTS, metadata_max_age_ms=1_000)
    produce(made, 0)
    worker = made.run()
    made.kafka.delete(made.topic("in"))
    assert worker.wait() == 1
    assert made.topic("in") in worker.error
    assert "not exist" in worker.error or "Unknown topic" in worker.error
    assert "hint: " in worker.error


def test_an_output_that_is_deleted_ends_the_worker_and_nothing_is_lost(application: Any) -> None:
    made: Application = application("counts", outputs=OUTPUTS, metadata_max_age_ms=1_000)
    # How long the client waits for a topic that it does not find, 30 s by default.
    made.settings["kafka.topic.metadata.propagation.max.ms"] = 3_000
    produce(made, 0)
    worker = made.run()
    made.kafka.delete(made.topic("every"))
    produce(made, 1)
    assert worker.wait() == 1
    assert made.topic("every") in worker.error
    assert "--create --topic" in worker.error
    committed = made.committed()
    assert sum(committed.values()) == 500

    made.kafka.create(made.topic("every"), partitions=2, retention_ms="-1")
    again = made.run()
    assert again.processed() == 500
    assert len(made.kafka.read(made.topic("every"))) == 500
