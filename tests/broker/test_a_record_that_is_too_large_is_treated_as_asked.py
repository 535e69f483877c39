"""Results and rows larger than the client takes, or than the smaller limit of their topic."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from tests.broker.workers import Application, Worker
from tests.thorough import thorough, thorough_but

pytestmark = pytest.mark.long

CLIENT, BROKER = 1_200_000, 60_000
LIMIT = 20_000


@pytest.fixture
def sizes(application: Any) -> Application:
    """Two partitions; the results' topic takes no more than 20 kB at once, less than a batch."""
    made: Application = application(
        "sizes", inputs=("in", "kept"), outputs=("counts", "dead"), transaction_timeout_ms=30_000
    )
    made.settings["dead_letter_topic"] = made.topic("dead")
    made.kafka.create(made.topic("out"), partitions=2, max_message_bytes=str(LIMIT))
    return made


def produce(
    application: Application, lengths: list[int], *, who: str, partition: int = 0, to: str = "in"
) -> None:
    records = [(f"{who}-{row}", str(length)) for row, length in enumerate(lengths)]
    application.kafka.produce(application.topic(to), records, partition=partition)


def lengths(application: Application) -> Counter[int]:
    read = application.kafka.read(application.topic("out"))
    return Counter(len(one.value or b"") for one in read)


def counted(application: Application) -> Counter[bytes]:
    """How often each count was the last of a key: the state was counted exactly once."""
    read = application.kafka.read(application.topic("counts"))
    return Counter({one.key: one.value for one in read}.values())  # type: ignore[arg-type]


def set_limit(application: Application, topic: str, limit: int) -> None:
    entry = ConfigEntry(
        "max.message.bytes", str(limit), incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for done in application.kafka.admin.incremental_alter_configs([resource]).values():
        done.result(60)


def failure(worker: Worker, task: str, wait_until: Any) -> str:
    """Why a task was halted."""
    wait_until(
        lambda: worker.tasks().get(task, {}).get("state") == "failed", what=f"the halt of {task}"
    )
    return str(worker.tasks()[task]["failure"])


def test_small_records_fill_no_batch_that_the_topic_would_refuse(sizes: Application) -> None:
    produce(sizes, [1_000] * 2_000, who="a")
    worker = sizes.run()
    assert lengths(sizes) == {1_000: 2_000}
    assert worker.metric("streamer_transaction_aborts_total") == 0


@pytest.mark.parametrize(
    ("too_large", "whose"),
    [(CLIENT, "message.max.bytes"), (BROKER, "max.message.bytes")],
    ids=["client", "broker"],
)
def test_stop_halts_the_task_of_it_alone(
    sizes: Application, too_large: int, whose: str, wait_until: Any
) -> None:
    produce(sizes, [100] * 20 + [too_large] + [100] * 20, who="a")
    produce(sizes, [200] * 50, partition=1, who="b")
    worker = sizes.worker()
    place = sizes.topic("in")
    wait_until(
        lambda: sizes.committed(stable=False).get(f"{place}/1") == 50, what="the good task's end"
    )
    said = failure(worker, "0_0", wait_until)
    assert f"{too_large + 4} bytes to {sizes.topic('out')}, key b'a-20'" in said
    assert f"({whose})" in said
    assert "production_error to skip or dead_letter" in said
    assert worker.tasks()["0_1"]["state"] == "running"
    assert sizes.committed(stable=False).get(f"{place}/0", 0) == 0
    assert lengths(sizes) == {200: 50}
    assert worker.stop() == 1


@pytest.mark.parametrize(
    "too_large", thorough_but([BROKER], [CLIENT, BROKER]), ids=["client", "broker"]
)
def test_skip_and_dead_letter_leave_out_those_alone(sizes: Application, too_large: int) -> None:
    produce(sizes, ([100] * 20 + [too_large]) * 30, who="a")
    worker = sizes.run(production_error="skip")
    assert lengths(sizes) == {100: 600}
    assert worker.metric("streamer_errors_total", place="production", policy="skip") == 30
    assert worker.stop() == 0

    produce(sizes, ([100] * 20 + [too_large]) * 30, partition=1, who="b")
    sizes.run(production_error="dead_letter")
    assert lengths(sizes) == {100: 1_200}
    letters = sizes.kafka.read(sizes.topic("dead"))
    assert len(letters) == 30
    assert {one.key for one in letters} == {f"b-{21 * row + 20}".encode() for row in range(30)}
    for letter in letters:
        headers = {name: (value or b"").decode() for name, value in letter.headers}
        assert letter.value is None
        assert headers["__streamer.errors.output"] == sizes.topic("out")
        assert headers["__streamer.errors.size"] == str(too_large)
        size = too_large + len(letter.key or b"")
        assert f"writing {size} bytes to" in headers["__streamer.errors.message"]
    # The records themselves were processed, once: only their results are left out.
    assert counted(sizes) == {b"1": 1_260}


@thorough
def test_what_fits_when_it_is_compressed_is_written(sizes: Application) -> None:
    produce(sizes, ([100] * 50 + [BROKER, -BROKER]) * 4, who="a")
    sizes.settings["kafka.compression.type"] = "gzip"
    worker = sizes.run(production_error="skip")
    assert lengths(sizes) == {100: 200, BROKER: 4}
    assert worker.metric("streamer_errors_total", place="production", policy="skip") == 4
    assert counted(sizes) == {b"1": 208}


@thorough
def test_a_limit_that_is_lowered_meanwhile_costs_nobody_else(sizes: Application) -> None:
    produce(sizes, [1_000] * 100, who="a")
    worker = sizes.run(production_error="skip")
    set_limit(sizes, sizes.topic("out"), 5_000)
    produce(sizes, ([1_000] * 20 + [8_000]) * 10, who="b")
    sizes.wait_until_done(watch=[worker])
    assert lengths(sizes) == {1_000: 300}
    assert worker.metric("streamer_errors_total", place="production", policy="skip") == 10
    assert worker.wait_for(f"{sizes.topic('out')} takes no more than 5000")
    assert counted(sizes) == {b"1": 310}

    set_limit(sizes, sizes.topic("out"), 100_000)
    produce(sizes, [8_000] * 10, who="c")
    sizes.wait_until_done(watch=[worker])
    assert lengths(sizes) == {1_000: 300, 8_000: 10}


@pytest.mark.parametrize(
    "too_large", thorough_but([CLIENT], [CLIENT, BROKER]), ids=["client", "broker"]
)
@pytest.mark.parametrize(
    "guarantee", thorough_but(["exactly_once"], ["exactly_once", "at_least_once"])
)
def test_a_change_of_state_is_never_left_out(
    sizes: Application, too_large: int, guarantee: str, wait_until: Any
) -> None:
    produce(sizes, [100] * 10, who="a", to="kept")
    worker = sizes.worker(production_error="skip", processing_guarantee=guarantee)
    sizes.wait_until_done(sizes.topic("kept"), watch=[worker])
    if too_large == BROKER:
        set_limit(sizes, sizes.changelog("kept"), LIMIT)
    produce(sizes, [100] * 5 + [too_large] + [100] * 5, who="b", to="kept")
    said = failure(worker, "1_0", wait_until)
    assert "the state of a key is too large" in said
    assert sizes.changelog("kept") in said
    assert "b-5" in said
    assert f"for the {LIMIT if too_large == BROKER else 1_000_000} bytes that" in said
    assert "raise max.message.bytes of" in said
    assert sizes.committed(sizes.topic("kept"), stable=False)[f"{sizes.topic('kept')}/0"] == 10
    # The others go on.
    produce(sizes, [200] * 5, who="c")
    sizes.wait_until_done(watch=[worker])
    assert lengths(sizes)[200] == 5
    assert worker.stop() == 1


def test_a_dead_letter_that_is_too_large_stops(sizes: Application, wait_until: Any) -> None:
    set_limit(sizes, sizes.topic("dead"), LIMIT)
    sizes.kafka.produce(sizes.topic("in"), [("a", "1"), ("b", "{" * BROKER)], partition=0)
    worker = sizes.worker(deserialization_error="dead_letter", production_error="dead_letter")
    said = failure(worker, "0_0", wait_until)
    assert f"bytes to {sizes.topic('dead')}, key b'b'" in said
    assert sizes.committed(stable=False).get(f"{sizes.topic('in')}/0", 0) == 0
    assert worker.stop() == 1


@thorough
def test_at_least_once_loses_none_and_ends(sizes: Application, wait_until: Any) -> None:
    produce(sizes, [100] * 20 + [BROKER] + [100] * 20, who="a")
    worker = sizes.worker(processing_guarantee="at_least_once")
    said = failure(worker, "0_0", wait_until)
    assert f"{BROKER + 4} bytes to {sizes.topic('out')}, key b'a-20'" in said
    assert sizes.committed(stable=False).get(f"{sizes.topic('in')}/0", 0) == 0
    assert worker.stop() == 1

    worker = sizes.run(processing_guarantee="at_least_once", production_error="skip")
    read = {one.key for one in sizes.kafka.read(sizes.topic("out"))}
    assert read == {f"a-{row}".encode() for row in range(41) if row != 20}
    assert BROKER not in lengths(sizes)
    assert worker.metric("streamer_errors_total", place="production", policy="skip") == 1
    set_limit(sizes, sizes.topic("out"), 5_000)
    produce(sizes, ([1_000] * 20 + [8_000]) * 3, who="b", partition=1)
    sizes.wait_until_done(watch=[worker])
    found = Counter((one.key or b"")[:1] for one in sizes.kafka.read(sizes.topic("out")))
    assert found[b"b"] >= 60
    assert 8_000 not in lengths(sizes)
