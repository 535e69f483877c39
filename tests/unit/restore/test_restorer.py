"""What the worker sees of the restoring thread, with consumers that bring what the test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.config import Config
from streamer.config.memory import budget
from streamer.errors import InvariantError, TaskCorruptedError, TopicMissingError
from streamer.ids import TaskId
from streamer.kafka.changelog import Bounds, Fetched
from streamer.restore import Restorer, restorer
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store
from tests.unit.restore.scripted import MIB, ScriptedConsumer, place, records

TASK = TaskId(0, 1)
WAIT_S = 40


class Thread:
    """A restorer whose consumers are scripted; they wait as long as real ones."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first, self.second = Patient(), Patient()
        monkeypatch.setattr(
            restorer,
            "ChangelogConsumer",
            lambda _config, standby=False: self.second if standby else self.first,
        )
        self._pool = MemoryPool(8 * MIB, 8 * MIB)
        config = Config(application_id="app", bootstrap_servers="127.0.0.1:9")
        self.restorer = Restorer(config, self._pool, delete_retention_ms=1_000_000)
        specs = [Store("plain", str, int).spec()]
        self.database = TaskDatabase.open(directory, specs, pool=self._pool, options={})

    def follow(self, end: int) -> None:
        self.first.ends[place(1)] = Bounds(0, end)
        self.restorer.follow(TASK, self.database, {"plain": place(1)})

    def rows(self) -> int:
        return len(list(self.database.scan("plain", b"", None)))


def test_restores_before_any_task_take_what_is_nobodys_yet_and_no_cache() -> None:
    config = Config(application_id="app", bootstrap_servers="127.0.0.1:9")
    parts = budget(config)
    taken = restorer._for_records(parts)
    whole = config.memory_bytes_max - parts.process_bytes
    assert taken + parts.block_cache_bytes + parts.write_buffers_bytes <= whole
    assert taken > 0.4 * whole


class Patient(ScriptedConsumer):
    def fetch(self, records_max: int, timeout_ms: int) -> Fetched:
        if not self.script:
            time.sleep(timeout_ms / 10_000)
        return super().fetch(records_max, timeout_ms)


@pytest.fixture
def thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Thread]:
    made = Thread(tmp_path / "0_1", monkeypatch)
    yield made
    made.restorer.close()
    made.database.close()


def until(is_true: Callable[[], object]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := is_true()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return found


@pytest.mark.slow
def test_a_copy_follows_and_is_promoted_without_restoring(thread: Thread) -> None:
    one = thread.restorer
    assert one.lag(TASK) is None
    thread.follow(10)
    thread.second.script.append(Fetched(records=[records(1, range(10))]))
    until(lambda: one.lag(TASK) == 0)
    thread.second.script.append(Fetched(records=[records(1, range(10, 20))]))
    until(lambda: thread.rows() == 20)
    assert one.finished() == []
    thread.first.ends[place(1)] = Bounds(0, 20)
    one.promote(TASK)
    assert one.progress(TASK).restored_records == 0
    assert until(one.finished) == [(TASK, None)]
    progress = one.progress(TASK)
    assert (progress.restored_records, progress.remaining_offsets) == (0, 0)
    one.promote(TASK)
    assert one.finished() == []


def test_a_copy_that_is_promoted_counts_from_then_on(thread: Thread) -> None:
    thread.follow(10)
    thread.second.script.append(Fetched(records=[records(1, range(10))]))
    until(lambda: thread.restorer.lag(TASK) == 0)
    thread.first.ends[place(1)] = Bounds(0, 13)
    thread.restorer.promote(TASK)
    until(lambda: thread.restorer.progress(TASK).remaining_offsets == 3)
    thread.first.script.append(Fetched(records=[records(1, range(10, 13))]))
    assert until(thread.restorer.finished) == [(TASK, None)]
    assert thread.restorer.progress(TASK).restored_records == 3


def test_a_copy_that_failed_is_finished_with_its_error(thread: Thread) -> None:
    thread.first.ends[place(1)] = TopicMissingError("no such topic")
    thread.restorer.follow(TASK, thread.database, {"plain": place(1)})
    ((task, error),) = until(thread.restorer.finished)
    assert (task, type(error)) == (TASK, TopicMissingError)
    # It is known already: nothing comes of it.
    thread.restorer.promote(TASK)
    assert thread.restorer.lag(TASK) is None
    assert not isinstance(error, TaskCorruptedError)


def test_a_copy_that_failed_before_it_was_promoted_is_restored(thread: Thread) -> None:
    """As it is where the failure was heard of first: only a restore that fails fails the task."""
    thread.follow(10)
    thread.second.script.append(Fetched(records=[records(1, range(10))]))
    until(lambda: thread.restorer.lag(TASK) == 0)
    failure = TopicMissingError("not there for a moment")
    thread.second.script.append(Fetched(failures={place(1): failure}))
    until(lambda: thread.restorer.lag(TASK) is None)
    thread.first.ends[place(1)] = Bounds(0, 12)
    thread.restorer.promote(TASK)
    assert thread.restorer.finished() == []
    thread.first.script.append(Fetched(records=[records(1, range(10, 12))]))
    assert until(thread.restorer.finished) == [(TASK, None)]
    assert thread.rows() == 12


def test_a_restore_that_fails_after_it_was_promoted_is_told(thread: Thread) -> None:
    thread.follow(10)
    thread.second.script.append(Fetched(records=[records(1, range(10))]))
    until(lambda: thread.restorer.lag(TASK) == 0)
    thread.first.ends[place(1)] = TopicMissingError("gone for good")
    thread.restorer.promote(TASK)
    ((task, error),) = until(thread.restorer.finished)
    assert (task, type(error)) == (TASK, TopicMissingError)


def test_the_database_is_the_callers_after_a_cancel(thread: Thread) -> None:
    thread.follow(10)
    thread.second.script.append(Fetched(records=[records(1, range(15))]))
    until(lambda: thread.restorer.lag(TASK) == 0)
    thread.restorer.cancel(TASK)
    assert (thread.rows(), thread.restorer.lag(TASK)) == (15, None)
    thread.database.write({"plain": [(b"k", None)]}, {})
    thread.follow(15)
    until(lambda: thread.restorer.lag(TASK) == 0)


def test_only_what_is_followed_is_promoted(thread: Thread) -> None:
    with pytest.raises(InvariantError, match="0_1 is promoted, but nobody follows it"):
        thread.restorer.promote(TASK)


def test_what_is_held_is_not_read_until_it_is_not(thread: Thread) -> None:
    thread.restorer.held = frozenset({TASK})
    thread.follow(10)
    thread.second.script.append(Fetched(records=[records(1, range(10))]))
    time.sleep(0.2)
    assert thread.restorer.lag(TASK) is None
    thread.restorer.held = frozenset({TaskId(0, 7)})
    until(lambda: thread.restorer.lag(TASK) == 0)


def test_what_is_held_can_be_cancelled(thread: Thread) -> None:
    thread.restorer.held = frozenset({TASK})
    thread.follow(10)
    thread.restorer.cancel(TASK)
    assert thread.restorer.lag(TASK) is None
