"""Records that no broker takes, whatever their size: no key where keys are needed, a wrong time."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from tests.broker.workers import Application
from tests.thorough import thorough_but

MINUTE_MS = 60_000
COUNT = 60
# The first of a batch, which librdkafka reports as it does a batch without names, and others.
REFUSED = (0, 20, 41)


@pytest.fixture
def poisoned(application: Any) -> Application:
    made: Application = application(
        "poison", outputs=("every", "dead"), transaction_timeout_ms=30_000
    )
    made.settings["dead_letter_topic"] = made.topic("dead")
    return made


def produce(application: Application, kind: str, *, partition: int = 0, first: int = 0) -> None:
    """Those of REFUSED have no key, or a time that is half an hour ahead."""
    now_ms = time.time_ns() // 1_000_000
    is_refused = [row in REFUSED for row in range(COUNT)]
    keyless = kind == "key"
    records = [
        (None if keyless and is_refused[row] else f"k{first + row}", str(first + row))
        for row in range(COUNT)
    ]
    ahead_ms = 0 if keyless else 30 * MINUTE_MS
    application.kafka.produce(
        application.topic("in"),
        records,
        partition=partition,
        timestamp_ms=lambda row: now_ms + ahead_ms * is_refused[row],
        # What is reported of a record that was not delivered does not tell its headers.
        headers=[("trace", b"1")] if partition == 0 else None,
    )


def create_out(application: Application, kind: str) -> None:
    if kind == "key":
        settings = {"cleanup_policy": "compact"}
    else:
        settings = {"message_timestamp_after_max_ms": str(10 * MINUTE_MS)}
    application.kafka.create(application.topic("out"), partitions=1, **settings)


def results(application: Application) -> Counter[int]:
    read = application.kafka.read(application.topic("out"))
    return Counter(int(one.value or b"-1") - 1 for one in read)


def every(application: Application) -> Counter[int]:
    read = application.kafka.read(application.topic("every"))
    return Counter(int(one.value or b"-1") for one in read)


def taken(first: int = 0) -> set[int]:
    return {first + row for row in range(COUNT) if row not in REFUSED}


@pytest.mark.parametrize("kind", thorough_but(["timestamp"], ["key", "timestamp"]))
def test_skip_and_dead_letter_leave_out_those_alone(poisoned: Application, kind: str) -> None:
    create_out(poisoned, kind)
    produce(poisoned, kind)
    worker = poisoned.run(production_error="skip")
    assert results(poisoned) == Counter(taken())
    assert every(poisoned) == Counter(range(COUNT))
    assert worker.metric("streamer_errors_total", place="production", policy="skip") == 3
    assert worker.metric("streamer_fenced_total") == 0
    assert worker.stop() == 0

    produce(poisoned, kind, partition=1, first=100)
    worker = poisoned.run(production_error="dead_letter")
    assert results(poisoned) == Counter(taken() | taken(100))
    letters = poisoned.kafka.read(poisoned.topic("dead"))
    wanted = None if kind == "key" else b"k100"
    assert (len(letters), letters[0].key) == (3, wanted)
    headers = {name: (value or b"").decode() for name, value in letters[0].headers}
    assert headers["__streamer.errors.output"] == poisoned.topic("out")
    said = "failed to validate record" if kind == "key" else "Invalid timestamp"
    assert said in headers["__streamer.errors.message"]
    assert worker.stop() == 0


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_stop_halts_the_task_of_it_alone(
    poisoned: Application, guarantee: str, wait_until: Any
) -> None:
    create_out(poisoned, "key")
    produce(poisoned, "key")
    poisoned.kafka.produce(
        poisoned.topic("in"), [("k", str(row)) for row in range(500, 550)], partition=1
    )
    worker = poisoned.worker(processing_guarantee=guarantee)
    wait_until(
        lambda: worker.tasks().get("0_0", {}).get("state") == "failed", what="the halt of 0_0"
    )
    said = str(worker.tasks()["0_0"]["failure"])
    assert f"to {poisoned.topic('out')}, key None, timestamp" in said
    assert "a topic that is compacted takes no record without a key" in said
    place = poisoned.topic("in")
    wait_until(
        lambda: poisoned.committed(stable=False).get(f"{place}/1") == 50, what="the good task's end"
    )
    assert poisoned.committed(stable=False).get(f"{place}/0", 0) == 0
    assert worker.tasks()["0_1"]["state"] == "running"
    assert worker.stop() == 1


def test_at_least_once_loses_none(poisoned: Application) -> None:
    create_out(poisoned, "key")
    produce(poisoned, "key")
    worker = poisoned.run(processing_guarantee="at_least_once", production_error="skip")
    assert set(results(poisoned)) == taken()
    assert set(every(poisoned)) == set(range(COUNT))
    assert worker.metric("streamer_errors_total", place="production", policy="skip") == 3
    assert worker.stop() == 0
