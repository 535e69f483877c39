from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition as Address

from streamer.config import Config
from streamer.errors import TaskCorruptedError, TopicMissingError
from streamer.kafka.changelog import ChangelogConsumer
from tests.broker.changelogs import Changelog, contents, new_changelog, numbered, restoring


def trim(kafka: Any, topic: str, before: int) -> None:
    for done in kafka.admin.delete_records([Address(topic, 0, before)]).values():
        done.result(60)


def test_a_topic_that_was_made_anew_is_refused_and_nothing_is_wiped(
    kafka: Any, names: Any, tmp_path: Path, wait_until: Any
) -> None:
    topic = names.topic("changelog")
    log = new_changelog(kafka, topic)
    log.write(numbered(range(500)))
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        tasks.restore(log.place)
    kafka.delete(topic)
    wait_until(lambda: topic not in kafka.topics())

    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        with pytest.raises(TopicMissingError, match=topic):
            tasks.restore(log.place)
        assert tasks.position() == 501

    new_changelog(kafka, topic).write(numbered(range(20)))
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        with pytest.raises(TaskCorruptedError, match=r"position 501 .* ends at 21") as caught:
            tasks.restore(log.place)
        assert "deleted and made anew" in caught.value.hint
        assert tasks.position() == 501
        assert contents(tasks.database()) == dict(numbered(range(500)))

    # Longer than the position in the old topic: only its id tells that it is another one.
    Changelog(kafka.bootstrap_servers, topic).write(numbered(range(1_000, 1_600)))
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        with pytest.raises(TaskCorruptedError, match=f"another topic than .* {topic}/0 of today"):
            tasks.restore(log.place)
        assert tasks.position() == 501
        assert contents(tasks.database()) == dict(numbered(range(500)))
        # A task without state begins with the topic as it is.
        count, _database = tasks.restore(log.place, number=1)
        assert count == 620


def test_a_changelog_that_begins_later_is_refused_and_nothing_is_wiped(
    kafka: Any, names: Any, tmp_path: Path
) -> None:
    topic = names.topic("changelog")
    log = new_changelog(kafka, topic)
    log.write(numbered(range(100)))
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        tasks.restore(log.place)
    log.write(numbered(range(100, 300)))
    trim(kafka, topic, 101)
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        count, _database = tasks.restore(log.place)
        assert count == 200, "a changelog that was trimmed up to the position is whole"
    log.write(numbered(range(300, 400)))
    trim(kafka, topic, 350)
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        with pytest.raises(TaskCorruptedError, match=r"position 302, but .* begins at 350"):
            tasks.restore(log.place)
        assert contents(tasks.database()) == dict(numbered(range(300)))
        # A task without any state would be incomplete in silence.
        with pytest.raises(TaskCorruptedError, match=r"0_1 is empty, but .* begins at 350"):
            tasks.restore(log.place, number=1)


@pytest.mark.parametrize("position", [10, 500])
def test_a_reader_out_of_range_is_told_so_and_never_jumps(
    kafka: Any, names: Any, position: int
) -> None:
    """What a restore meets when records are deleted while it reads."""
    topic = names.topic("changelog")
    log = new_changelog(kafka, topic)
    log.write(numbered(range(100)))
    trim(kafka, topic, 50)
    consumer = ChangelogConsumer(
        Config(application_id=names.application, bootstrap_servers=kafka.bootstrap_servers)
    )
    try:
        bounds = consumer.bounds([log.place])[log.place]
        assert bounds[:2] == (50, 101)
        assert len(bounds.topic_id) == 22
        consumer.add({log.place: position})
        deadline = time.monotonic() + 360
        fetched = consumer.fetch(1_000, 100)
        while not fetched.out_of_range:
            assert time.monotonic() < deadline
            assert fetched.records == []
            assert fetched.failures == {}
            fetched = consumer.fetch(1_000, 100)
        assert fetched.out_of_range == {log.place}
        # At a position that exists it reads on.
        consumer.remove([log.place])
        consumer.add({log.place: 60})
        while not fetched.records:
            assert time.monotonic() < deadline
            fetched = consumer.fetch(1_000, 100)
        assert fetched.records[0].offsets == list(range(60, 100))
    finally:
        consumer.close()
