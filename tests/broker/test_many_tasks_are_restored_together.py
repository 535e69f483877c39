from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from streamer.errors import TaskCorruptedError
from streamer.store.keys import row
from streamer.topology.stores import Store
from tests.broker.changelogs import Changelog, changelog_of, contents, numbered, restoring

LARGE = 150_000


def test_a_small_task_does_not_wait_for_a_large_one_nor_for_a_broken_one(
    kafka: Any, names: Any, tmp_path: Path
) -> None:
    topic = names.topic("changelog")
    changelog_of(kafka.create, topic, 4)
    large = Changelog(kafka.bootstrap_servers, topic, 0)
    large.write(numbered(range(LARGE), bytes(200)))
    small = Changelog(kafka.bootstrap_servers, topic, 1)
    small.write(numbered(range(500)))
    broken = Changelog(kafka.bootstrap_servers, topic, 2)
    broken.write([(b"k", b"\x07from another version")])
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        first = tasks.start(large.place, 0)
        second, third = tasks.start(small.place, 1), tasks.start(broken.place, 2)
        ended = tasks.wait(first, second, third)
        # In the order in which they ended.
        assert set(list(ended)[:2]) == {second, third}
        assert ended[first] is None
        assert ended[second] is None
        assert isinstance(ended[third], TaskCorruptedError)
        assert len(contents(tasks.database(0))) == LARGE
        assert contents(tasks.database(1)) == dict(numbered(range(500)))
        assert contents(tasks.database(2)) == {}
        # A restore that begins after all others have ended.
        fourth = tasks.start(small.place, 3)
        assert tasks.wait(fourth) == {fourth: None}
        assert len(contents(tasks.database(3))) == 500


def test_an_index_by_time_is_restored_with_its_rows(kafka: Any, names: Any, tmp_path: Path) -> None:
    topic = names.topic("changelog")
    changelog_of(kafka.create, topic, 2)
    spec = Store("seen", str, int, ttl=timedelta(seconds=64)).spec()
    with restoring(kafka.bootstrap_servers, tmp_path) as tasks:
        for number, count in enumerate((2_000, 60_000)):
            log = Changelog(kafka.bootstrap_servers, topic, number)
            log.write((b"k%06d" % n, row(n * 1_000, b"")) for n in range(count))
            task = tasks.start(log.place, number, spec)
            assert tasks.wait(task) == {task: None}
            database = tasks.database(number)
            assert len(contents(database, "seen")) == count
            index = [key for key, _ in database.scan("seen", b"", None, index=True)]
            assert index == [(n * 1_000).to_bytes(8, "big") + b"k%06d" % n for n in range(count)]
