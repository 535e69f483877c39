from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from streamer.sandbox import Sandbox
from tests.broker.changelogs import contents, new_changelog, numbered, restoring
from tests.broker.conftest import Kafka, Names
from tests.thorough import thorough


def test_an_open_transaction_counts_until_its_marker_is_passed(
    kafka: Any, names: Any, tmp_path: Path, wait_until: Any
) -> None:
    topic = names.topic("changelog")
    log = new_changelog(kafka, topic)
    log.write(numbered(range(100)))
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        task = tasks.follow_to_the_end(log.place)
        for commit in (True, False):
            # The partition grows, though nothing of it can be read.
            log.begin(numbered(range(50)))
            wait_until(lambda: tasks.restorer.lag(task) == 50)
            # It stays so: several answers of the brokers later nothing else is told.
            time.sleep(2)
            assert tasks.restorer.lag(task) == 50
            log.end(commit=commit)
            wait_until(lambda: tasks.restorer.lag(task) == 0)
        # It stays so here as well.
        time.sleep(2)
        assert tasks.restorer.lag(task) == 0


@thorough
def test_while_brokers_are_away_it_is_what_was_known_and_then_it_is_told_again(
    names: Names, tmp_path: Path, wait_until: Any
) -> None:
    with Sandbox() as sandbox:
        kafka = Kafka(sandbox.bootstrap_servers)
        log = new_changelog(kafka, names.topic("changelog"))
        log.write(numbered(range(100)))
        with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
            task = tasks.follow_to_the_end(log.place)
            log.begin(numbered(range(100, 110)))
            wait_until(lambda: tasks.restorer.lag(task) == 10)
            sandbox.pause()
            # Longer than it takes to notice that the brokers are away.
            time.sleep(8)
            assert tasks.restorer.lag(task) == 10
            sandbox.resume()
            log.end()
            wait_until(lambda: tasks.restorer.lag(task) == 0)
            assert tasks.restorer.finished() == []
            assert tasks.promote() == 0
            assert contents(tasks.database()) == dict(numbered(range(110)))
