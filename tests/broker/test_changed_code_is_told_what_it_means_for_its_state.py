"""An application is changed between two starts: nothing is read as what it is not, and the worker
says what it found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.broker.workers import Application
from tests.thorough import thorough


@pytest.fixture
def made(application: Any) -> Application:
    """It has run, on host `a`: rows in partition 0 alone."""
    made: Application = application(
        "changing.counted", inputs=("in", "added"), commit_interval_ms=50
    )
    for topic in ("in", "added"):
        made.kafka.produce(made.topic(topic), [("ann", "x"), ("bob", "x")] * 5, partition=0)
    made.run().stop()
    assert counts(made) == {b"ann": 5, b"bob": 5}
    return made


def counts(made: Application) -> dict[bytes | None, int]:
    read = made.kafka.read(made.topic("out"))
    return {one.key: json.loads(one.value or b"null") for one in read}


@thorough
def test_a_store_of_another_kind_is_refused_where_only_the_changelog_is_left(
    made: Application,
) -> None:
    changelog, results = made.changelog("counts"), made.topic("out")
    before = made.kafka.read(changelog), made.kafka.read(results)
    made.module = "changing.windowed"
    made.kafka.produce(made.topic("in"), [("eve", "x")], partition=1)
    refused = made.worker("b")
    assert refused.wait() == 1
    told = "\n".join(refused.messages)
    assert f"changelog {changelog}/0 holds rows of a key-value store, but the topology" in told
    # The other changelog has no row that could tell.
    assert "store counts of task 0_1 was a key-value store until its last commit" in told
    assert "give the new store another name" in told
    assert (made.kafka.read(changelog), made.kafka.read(results)) == before
    # The code as it was goes on, also in the state directory of the other.
    made.module = "changing.counted"
    made.run("b")
    assert counts(made) == {b"ann": 5, b"bob": 5, b"eve": 1}


def test_an_input_that_is_added_is_read_from_its_beginning(made: Application) -> None:
    made.module = "changing.joined"
    # Without a disk: what stands beside the committed positions tells that it is new.
    worker = made.worker("b")
    place = f"{made.topic('added')}/0"
    told = worker.wait_for(f"{place} is a new input")
    assert "it is read from offset 0 (auto_offset_reset = earliest)" in told
    made.wait_until_done(made.topic("in"), made.topic("added"), watch=[worker])
    assert counts(made) == {b"ann": 10, b"bob": 10}


@thorough
def test_a_store_that_was_renamed_is_named_with_what_it_left(made: Application) -> None:
    made.module = "changing.renamed"
    made.kafka.produce(made.topic("in"), [("ann", "x")], partition=0)
    worker = made.run("a")
    text = "\n".join(worker.messages)
    assert "store amounts is new and empty, while the input goes on at the committed" in text
    assert f"No store uses any more: {made.changelog('counts')}." in text
    assert "task 0_0: store counts is on the disk, but not in the topology" in text
    assert f"Its rows stay in {made.state_dir()}" in text
    assert counts(made) == {b"ann": 1, b"bob": 5}
