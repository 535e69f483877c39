from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition as Address

from streamer.errors import StreamerError, TaskCorruptedError, TopicMissingError
from tests.broker.changelogs import (
    Changelog,
    Restoring,
    contents,
    new_changelog,
    numbered,
    restoring,
)


@pytest.fixture
def log(kafka: Any, names: Any) -> Changelog:
    topic = names.topic("changelog")
    made = new_changelog(kafka, topic)
    made.write(numbered(range(500)))
    return made


def refused(tasks: Restoring, wait_until: Callable[..., None]) -> StreamerError:
    """The error, while another copy goes on."""
    ended: list[Any] = []

    def is_over() -> bool:
        ended.extend(tasks.restorer.finished())
        return bool(ended)

    wait_until(is_over, what="the refusal")
    ((_task, error),) = ended
    assert tasks.position() == 501
    assert contents(tasks.database()) == dict(numbered(range(500)))
    assert isinstance(error, StreamerError)
    return error


@pytest.mark.chaos
def test_a_topic_that_is_deleted(
    kafka: Any, log: Changelog, tmp_path: Path, wait_until: Any
) -> None:
    with restoring(kafka.bootstrap_servers, tmp_path, metadata_max_age_ms=1_000) as tasks:
        tasks.follow_to_the_end(log.place)
        kafka.delete(log.place.topic)
        assert isinstance(refused(tasks, wait_until), TopicMissingError)


def test_a_topic_that_was_made_anew_meanwhile(
    kafka: Any, log: Changelog, tmp_path: Path, wait_until: Any
) -> None:
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        task = tasks.follow_to_the_end(log.place)
        tasks.restorer.cancel(task)
        kafka.delete(log.place.topic)
        wait_until(lambda: log.place.topic not in kafka.topics())
        new_changelog(kafka, log.place.topic).write(numbered(range(1_000)))
        tasks.follow(log.place)
        error = refused(tasks, wait_until)
        assert isinstance(error, TaskCorruptedError)
        assert "another topic" in error.message


def test_records_that_are_deleted_before_they_were_followed(
    kafka: Any, log: Changelog, tmp_path: Path, wait_until: Any
) -> None:
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        task = tasks.follow_to_the_end(log.place)
        # What nobody can read yet, so the copy stands before it.
        log.begin(numbered(range(500, 600)))
        wait_until(lambda: tasks.restorer.lag(task) == 100)
        tasks.restorer.cancel(task)
        log.end()
        for done in kafka.admin.delete_records([Address(*log.place, 550)]).values():
            done.result(60)
        tasks.follow(log.place)
        error = refused(tasks, wait_until)
        assert isinstance(error, TaskCorruptedError)
        assert "position 501, but changelog" in error.message


def test_a_changelog_that_is_trimmed_up_to_the_standby_is_followed(
    kafka: Any, log: Changelog, tmp_path: Path
) -> None:
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        task = tasks.follow_to_the_end(log.place)
        for done in kafka.admin.delete_records([Address(*log.place, 501)]).values():
            done.result(60)
        log.write(numbered(range(500, 600)))
        tasks.wait_caught_up(task)
        tasks.promote()
        assert contents(tasks.database()) == dict(numbered(range(600)))
