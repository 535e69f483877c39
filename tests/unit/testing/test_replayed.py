"""An application that reads the same topics once more has the same state, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.ids import TopicPartition, replay_application
from streamer.testing import TopologyTestDriver
from streamer.testing.life import Life
from streamer.topology.partitions import external_topics, partitions
from streamer.topology.replayed import replayed
from tests.hurry import examples
from tests.unit.testing.test_repartitioned import (
    EACH,
    START_MS,
    Rows,
    Sent,
    batches,
    by_store,
    numbers,
    rows,
    running,
    send,
    tell,
)


class Replaying:
    """It goes as far as the driver has committed, and no further."""

    def __init__(self, driver: TopologyTestDriver, folder: Path) -> None:
        stage = driver._stage
        self._driver = driver
        topology = replayed(stage.topology, replay_application("kinds", "replay-1"))
        read, written = external_topics(topology)
        assert written == []
        planned = partitions(topology, {topic: stage.broker.topics[topic] for topic in read})
        for topic, count in planned.internal.items():
            stage.broker.create(topic, count)
        config = replace(stage.config, application_id=topology.application_id)
        self.life = Life(replace(stage, topology=topology, config=config, planned=planned), folder)
        for task in self.life.tasks.values():
            task._limits = self._limits

    def _limits(self) -> Mapping[TopicPartition, int]:
        group = self._driver.broker.groups.get("kinds", {})
        return {
            TopicPartition(topic, number): group[place].position if place in group else 0
            for topic in ("sales", "prices")
            for number in range(4)
            for place in [TopicPartition(topic, number)]
        }

    def follow(self) -> None:
        while self.life.process() or self.life.needs_commit:
            self.life.commit()

    def rows(self) -> Rows:
        return {
            (spec.name, task): list(active.database.scan(spec.name, b"", None))
            for task, active in self.life.tasks.items()
            for spec in active.database.specs.values()
        }


@contextmanager
def replaying(driver: TopologyTestDriver) -> Iterator[Replaying]:
    one = Replaying(driver, Path(driver._folder.name) / "replayed")
    yield one
    one.life.close()


@pytest.mark.slow
@settings(max_examples=examples(8), deadline=None)
@given(tasks=numbers, sent=st.lists(batches, min_size=1, max_size=4))
def test_the_state_is_the_same_byte_for_byte_and_nothing_is_written(
    tasks: int, sent: list[list[Sent]]
) -> None:
    with running(tasks) as driver, replaying(driver) as again:
        now_ms = START_MS
        for batch in sent:
            now_ms = send(driver, batch, now_ms)
            again.follow()
        now_ms = tell(driver, now_ms + 20_000)
        written = {topic: len(driver.broker.records(topic)) for topic in EACH}
        again.follow()
        assert by_store(again.rows()) == by_store(rows(driver))
        assert {topic: len(driver.broker.records(topic)) for topic in EACH} == written


@pytest.mark.slow
def test_what_is_not_committed_is_not_read() -> None:
    with running(4) as driver, replaying(driver) as again:
        driver.send("sales", "hot", 1, at=START_MS)
        again.follow()
        assert not any(by_store(again.rows()).values())
        driver.commit()
        again.follow()
        assert by_store(again.rows()) == by_store(rows(driver))
