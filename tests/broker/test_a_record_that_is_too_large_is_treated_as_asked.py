"""Results larger than the client's limit, or than the smaller one of a topic at the broker."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.broker.workers import Application

CLIENT, BROKER = 1_200_000, 60_000
TOPIC_LIMIT = 20_000


@pytest.fixture
def sizes(application: Any) -> Application:
    """Two partitions; the results' topic takes no more than 20 kB at once, less than a batch."""
    made: Application = application("sizes", outputs=("counts", "dead"))
    made.settings["dead_letter_topic"] = made.topic("dead")
    limit = str(TOPIC_LIMIT)
    made.kafka.create(made.topic("out"), partitions=2, max_message_bytes=limit)
    return made


def produce(application: Application, lengths: list[int], *, partition: int, who: str) -> None:
    records = [(f"{who}-{row}", str(length)) for row, length in enumerate(lengths)]
    application.kafka.produce(application.topic("in"), records, partition=partition)


def lengths(application: Application) -> Counter[int]:
    return Counter(
        len(one.value or b"") for one in application.kafka.read(application.topic("out"))
    )


def test_many_small_records_fit_a_topic_with_a_small_limit(sizes: Application) -> None:
    produce(sizes, [1_000] * 2_000, partition=0, who="a")
    worker = sizes.run()
    assert lengths(sizes) == {1_000: 2_000}
    assert worker.metric("streamer_transaction_aborts_total") == 0


@pytest.mark.parametrize("too_large", [CLIENT, BROKER], ids=["client", "broker"])
def test_stop_halts_the_task_of_it_alone(
    sizes: Application, too_large: int, wait_until: Any
) -> None:
    produce(sizes, [100] * 20 + [too_large] + [100] * 20, partition=0, who="a")
    produce(sizes, [200] * 50, partition=1, who="b")
    worker = sizes.worker()
    place = sizes.topic("in")
    wait_until(
        lambda: sizes.committed(stable=False).get(f"{place}/1") == 50, what="the good task's end"
    )
    wait_until(lambda: worker.tasks()["0_0"]["state"] == "failed", what="the halt of the other")
    assert worker.tasks()["0_1"]["state"] == "running"
    failure = worker.tasks()["0_0"]["failure"]
    assert f"{too_large + 4} bytes to {sizes.topic('out')}, key b'a-20'" in failure
    assert "production_error to skip or dead_letter" in failure
    assert sizes.committed(stable=False)[f"{place}/0"] == 0
    assert worker.stop() == 1


@pytest.mark.parametrize("too_large", [CLIENT, BROKER], ids=["client", "broker"])
def test_skip_and_dead_letter_go_on(sizes: Application, too_large: int) -> None:
    produce(sizes, ([100] * 20 + [too_large]) * 30, partition=0, who="a")
    worker = sizes.run(production_error="skip")
    assert lengths(sizes) == {100: 600}
    assert worker.metric("streamer_errors_total", place="production", policy="skip") == 30
    assert worker.stop() == 0
    # The record itself was processed: only its result is left out.
    assert len(sizes.kafka.read(sizes.topic("counts"))) == 630

    produce(sizes, ([100] * 20 + [too_large]) * 30, partition=1, who="b")
    worker = sizes.run(production_error="dead_letter")
    assert lengths(sizes) == {100: 1_200}
    letters = sizes.kafka.read(sizes.topic("dead"))
    assert {one.key for one in letters} == {f"b-{21 * row + 20}".encode() for row in range(30)}
    assert len(letters) == 30
    for letter in letters:
        headers = {name: (value or b"").decode() for name, value in letter.headers}
        assert letter.value is None
        assert headers["__streamer.errors.topic"] == sizes.topic("out")
        assert headers["__streamer.errors.size"] == str(too_large)
        assert (
            f"{too_large + len(letter.key or b'')} bytes to" in headers["__streamer.errors.message"]
        )


def test_a_limit_that_is_lowered_meanwhile_is_learnt(sizes: Application) -> None:
    produce(sizes, [1_000] * 100, partition=0, who="a")
    worker = sizes.run(production_error="skip")
    sizes.set_limit(sizes.topic("out"), 5_000)
    produce(sizes, ([1_000] * 20 + [8_000]) * 10, partition=0, who="b")
    sizes.wait_until_done(watch=[worker])
    assert lengths(sizes) == {1_000: 300}
    assert worker.metric("streamer_errors_total", place="production", policy="skip") == 10


def test_at_least_once_loses_none_without_a_word(sizes: Application) -> None:
    produce(sizes, [100] * 20 + [BROKER] + [100] * 20, partition=0, who="a")
    worker = sizes.worker(processing_guarantee="at_least_once")
    worker.wait_for("task 0_0 has stopped")
    assert (
        f"{BROKER + 4} bytes to {sizes.topic('out')}, key b'a-20'"
        in worker.tasks()["0_0"]["failure"]
    )
    assert sizes.committed(stable=False).get(f"{sizes.topic('in')}/0", 0) == 0
    worker.stop()
    worker = sizes.run(processing_guarantee="at_least_once", production_error="skip")
    assert lengths(sizes)[100] >= 40
    assert lengths(sizes)[BROKER] == 0
