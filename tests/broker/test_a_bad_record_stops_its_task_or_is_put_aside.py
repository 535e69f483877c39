"""Undecodable bytes, a wrong type and an exception of the user's code, under each policy."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.broker.workers import KILLED, Application, Worker
from tests.thorough import thorough

UNDECODABLE, MISMATCH, RAISING = b"\xff{", b'{"amount": "seven"}', b'{"amount": -1}'


def good(count: int, who: object = "customer") -> list[tuple[str, bytes]]:
    return [(f"{who}-{row % 5}", json.dumps({"amount": row}).encode()) for row in range(count)]


def amounts(application: Application) -> dict[str, int]:
    """The last result of each key."""
    read = application.kafka.read(application.topic("out"))
    return {(one.key or b"").decode(): json.loads(one.value or b"null") for one in read}


def sums(records: list[tuple[str, bytes]]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for key, value in records:
        totals[key] += json.loads(value)["amount"]
    return dict(totals)


@pytest.fixture
def mixed(application: Any) -> Application:
    """Partitions 0 to 2 have a bad record at offset 5, each another one; partition 3 has none."""
    made: Application = application("orders", partitions=4)
    for partition, bad in enumerate((UNDECODABLE, MISMATCH, RAISING)):
        records = [*good(5, partition), ("poison", bad), *good(7, partition)]
        made.kafka.produce(made.topic("in"), records, partition=partition)
    made.kafka.produce(made.topic("in"), good(200), partition=3)
    return made


def failure(worker: Worker, task: str) -> str:
    return str(worker.tasks()[task]["failure"])


@thorough
def test_stop_halts_the_tasks_of_bad_records_alone(mixed: Any, wait_until: Any) -> None:
    worker = mixed.worker()
    place = mixed.topic("in")
    wait_until(
        lambda: mixed.committed(stable=False).get(f"{place}/3") == 200, what="the good task's end"
    )
    wait_until(
        lambda: (
            {task: about["state"] for task, about in worker.tasks().items()}
            == {"0_0": "failed", "0_1": "failed", "0_2": "failed", "0_3": "running"}
        ),
        what="the end of the bad ones alone",
    )
    for task, cause in (
        ("0_0", "DecodeError"),
        ("0_1", "Expected `int`, got `str`"),
        ("0_2", "ValueError: an amount of -1"),
    ):
        text = failure(worker, task)
        assert cause in text
        assert f"{place}/{task[2:]} offset 5 key b'poison'" in text
        assert "_error to skip or dead_letter" in text
        assert any(cause in message for message in worker.messages)
    with pytest.raises(HTTPError, match="503") as refused:
        worker.get("/readyz")
    assert "task 0_2 has stopped" in refused.value.read().decode()
    assert worker.get("/healthz")["is_live"] is True

    # What comes later for the good task is still processed.
    mixed.kafka.produce(place, good(100), partition=3)
    wait_until(
        lambda: mixed.committed(stable=False).get(f"{place}/3") == 300, what="the good task's end"
    )
    assert amounts(mixed) == sums(good(200) + good(100))
    assert worker.stop() == 1

    skipping = mixed.run(deserialization_error="skip", processing_error="skip")
    assert skipping.metric("streamer_errors_total", place="deserialization", policy="skip") == 2
    assert skipping.metric("streamer_errors_total", place="processing", policy="skip") == 1
    assert skipping.processed() == 3 * 13
    around = [
        record for partition in range(3) for count in (5, 7) for record in good(count, partition)
    ]
    assert amounts(mixed) == sums(good(200) + good(100) + around)


def test_a_bad_record_of_the_only_task_ends_the_worker(application: Any) -> None:
    made = application("orders", partitions=1)
    made.kafka.produce(made.topic("in"), [*good(3), ("poison", RAISING)])
    worker = made.worker()
    assert worker.wait() == 1
    assert "ValueError in step" in worker.error
    assert f"{made.topic('in')}/0 offset 3 key b'poison'" in worker.error
    assert "hint: mend the code or the record, or set processing_error" in worker.error


def test_dead_letters_are_there_exactly_once_whatever_is_killed(application: Any) -> None:
    made = application(
        "orders",
        outputs=("out", "dead"),
        deserialization_error="dead_letter",
        processing_error="dead_letter",
        commit_interval_ms=1,
        max_poll_records=50,
    )
    made.settings["dead_letter_topic"] = made.topic("dead")
    bad = [UNDECODABLE, MISMATCH, RAISING]
    records = [
        (key, bad[row // 10 % 3] if row % 10 == 7 else value)
        for row, (key, value) in enumerate(good(1_000))
    ]
    stamp_ms = 1_700_000_000_000
    made.kafka.produce(made.topic("in"), records, headers=[("trace", b"17")], timestamp_ms=stamp_ms)

    for point in (
        "commit.before_transaction_commit=kill@4",
        "commit.after_transaction_commit=kill@3",
    ):
        assert made.worker(failpoints=point).wait() == KILLED
    made.run(commit_interval_ms=100, max_poll_records=1_000)

    assert {row.timestamp_ms for row in made.kafka.read(made.topic("out"))} == {stamp_ms}
    assert amounts(made) == sums([record for record in records if record[1] not in bad])
    source = {
        (one.partition, one.offset): one
        for one in made.kafka.read(made.topic("in"))
        if one.value in bad
    }
    found = {}
    for letter in made.kafka.read(made.topic("dead")):
        headers = {name: (value or b"").decode() for name, value in letter.headers}
        place = (
            int(headers["__streamer.errors.partition"]),
            int(headers["__streamer.errors.offset"]),
        )
        assert place not in found
        found[place] = headers
        assert (letter.key, letter.value) == (source[place].key, source[place].value)
        assert headers["trace"] == "17"
        assert headers["__streamer.errors.timestamp"] == str(stamp_ms)
        assert headers["__streamer.errors.topic"] == made.topic("in")
        assert headers["__streamer.errors.task"] == f"0_{place[0]}"
    assert found.keys() == source.keys()
    assert len(found) == 100
    causes = Counter(headers["__streamer.errors.exception"] for headers in found.values())
    assert causes == {
        "msgspec.DecodeError": 34,
        "msgspec.ValidationError": 33,
        "builtins.ValueError": 33,
    }
