"""Queries from other threads while the task writes, and while its database is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamer.errors import TaskMigratedError
from streamer.store.rocks import TaskDatabase

Open = Callable[..., TaskDatabase]


def test_a_scan_under_which_the_database_is_closed_says_so(open_database: Open, specs: Any) -> None:
    database = open_database(specs.plain)
    database.write({"plain": [(b"k%06d" % n, b"v") for n in range(5_000)]}, {})
    scan = database.scan("plain", b"", None)
    for _ in range(100):
        next(scan)
    database.close()
    with pytest.raises(TaskMigratedError, match="task 0_3 was closed") as caught:
        list(scan)
    assert "ask again" in caught.value.hint
    for call in (
        lambda: database.get("plain", b"k"),
        lambda: database.scan("plain", b"", None),
        lambda: database.write({"plain": [(b"k", b"v")]}, {}),
        database.metadata,
        database.flush,
        database.gauges,
    ):
        with pytest.raises(TaskMigratedError):
            call()
    # The scan that is still referred to keeps no lock.
    assert open_database(specs.plain).get("plain", b"k000001") == b"v"


class Reader(threading.Thread):
    """Reads all rows again and again until it is told to stop by an error."""

    def __init__(self, database: TaskDatabase, count: int, *, is_scan: bool) -> None:
        super().__init__()
        self.database = database
        self.count = count
        self.is_scan = is_scan
        self.rounds = threading.Semaphore(0)
        self.outcome: BaseException | None = None

    def run(self) -> None:
        keys = [b"k%06d" % n for n in range(0, self.count, 7)]
        try:
            while True:
                if self.is_scan:
                    assert len(list(self.database.scan("plain", b"", None))) == self.count
                else:
                    assert None not in self.database.get_many("plain", keys)
                self.rounds.release()
        except BaseException as error:
            self.outcome = error


@pytest.mark.slow
def test_readers_and_the_closing_thread_never_meet(open_database: Open, specs: Any) -> None:
    """Readers end with the one error that they are told to expect, whatever they were doing."""
    count = 3_000
    for attempt in range(5):
        database = open_database(specs.plain)
        database.write({"plain": [(b"k%06d" % n, b"%d" % attempt) for n in range(count)]}, {})
        readers = [Reader(database, count, is_scan=n % 2 == 0) for n in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            assert reader.rounds.acquire(timeout=30)
            database.write({"plain": [(b"k000005", b"x")]}, {})
        database.close()
        for reader in readers:
            reader.join(120)
            assert not reader.is_alive()
        assert [type(reader.outcome) for reader in readers] == [TaskMigratedError] * 4
