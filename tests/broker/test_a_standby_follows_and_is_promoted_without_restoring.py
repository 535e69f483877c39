from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.broker.changelogs import contents, new_changelog, numbered, restoring


def test_a_standby_follows_and_is_promoted_without_restoring(
    kafka: Any, names: Any, tmp_path: Path, wait_until: Any
) -> None:
    topic = names.topic("changelog")
    log = new_changelog(kafka, topic)
    log.write(numbered(range(100)))
    expected = dict(numbered(range(100)))

    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        task = tasks.follow_to_the_end(log.place)
        for turn in range(10):
            value = b"%d" % turn
            log.write(numbered(range(50, 200), b"aborted"), commit=False)
            log.write(numbered(range(turn * 10, turn * 10 + 50), value))
            expected |= dict(numbered(range(turn * 10, turn * 10 + 50), value))
            time.sleep(0.1)
        log.write([(key, None) for key, _row in numbered(range(10))])
        for key, _row in numbered(range(10)):
            del expected[key]
        log.write(numbered(range(300), b"aborted"), commit=False)
        # Seen by readers, without any promotion.
        wait_until(lambda: contents(tasks.database()) == expected)
        # A lag of 0 may be a second old: the last to come is a transaction that leaves no rows.
        end = 100 + 1 + 10 * (150 + 1 + 50 + 1) + 10 + 1 + 300 + 1
        wait_until(lambda: tasks.position() == end)
        tasks.wait_caught_up(task)

        began_s = time.monotonic()
        assert tasks.promote() == 0
        assert time.monotonic() - began_s < 30
        assert contents(tasks.database()) == expected
        assert tasks.position() == end
        assert time.time() * 1000 - tasks.stored().as_of_ms < 120_000
        tasks.close_database()

    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        count, database = tasks.restore(log.place)
        assert (count, contents(database)) == (0, expected)


def test_one_that_is_promoted_at_once_restores_exactly_what_it_had_not_read(
    kafka: Any, names: Any, tmp_path: Path
) -> None:
    topic = names.topic("changelog")
    log = new_changelog(kafka, topic)
    log.write(numbered(range(5_000)))
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        tasks.follow_to_the_end(log.place)
        for turn in range(20):
            log.write(numbered(range(turn * 1_000, turn * 1_000 + 1_000), b"%d" % turn))
        count = tasks.promote()
        assert 0 <= count <= 20_000
        expected = dict(numbered(range(5_000)))
        for turn in range(20):
            expected |= dict(numbered(range(turn * 1_000, turn * 1_000 + 1_000), b"%d" % turn))
        assert contents(tasks.database()) == expected
        assert tasks.position() == 5_001 + 20 * 1_001


def test_one_in_its_first_restore_goes_on_as_that(kafka: Any, names: Any, tmp_path: Path) -> None:
    topic = names.topic("changelog")
    log = new_changelog(kafka, topic)
    log.write(numbered(range(100_000), bytes(100)))
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        task = tasks.follow(log.place)
        while not tasks.restorer.progress(task).restored_records:
            time.sleep(0.001)
        count = tasks.promote()
        assert count < 100_000
        assert len(contents(tasks.database())) == 100_000
        assert tasks.position() == 100_001


@pytest.mark.parametrize("commit", [True, False])
def test_a_promotion_waits_for_a_transaction_that_is_still_open(
    kafka: Any, names: Any, tmp_path: Path, commit: bool
) -> None:
    log = new_changelog(kafka, names.topic("changelog"))
    log.write(numbered(range(100)))
    other = new_changelog(kafka, names.topic("other"))
    other.write(numbered(range(100)))
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        task = tasks.follow_to_the_end(log.place)
        free = tasks.follow_to_the_end(other.place, 1)
        log.begin(numbered(range(100, 150)))
        tasks.restorer.promote(task)
        # One that is promoted after it, by the same thread, has nothing to wait for.
        tasks.restorer.promote(free)
        assert tasks.wait(free) == {free: None}, "the first one has not waited"
        assert tasks.restorer.progress(task).remaining_offsets == 50
        log.end(commit=commit)
        assert tasks.wait(task) == {task: None}
        assert tasks.restorer.progress(task).restored_records == (50 if commit else 0)
        assert contents(tasks.database()) == dict(numbered(range(150 if commit else 100)))
