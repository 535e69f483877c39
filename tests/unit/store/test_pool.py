from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import ConfigError, TaskMigratedError
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase

Open = Callable[..., TaskDatabase]
MIB = 1 << 20


@pytest.fixture
def pool() -> MemoryPool:
    return MemoryPool(32 * MIB, 32 * MIB)


@pytest.mark.slow
def test_sixty_four_databases_stay_within_one_budget(
    open_database: Open, specs: Any, pool: MemoryPool
) -> None:
    """About 150 MiB written into budgets of 32 and 64 MiB, by 64 databases in turns."""
    databases = [
        open_database(specs.plain, specs.ttl, specs.sessions, name=f"0_{n}") for n in range(64)
    ]
    value = bytes(range(256)) * 4
    peak_buffers = peak_cache = 0
    for turn in range(12):
        for number, database in enumerate(databases):
            # Some tasks stay quiet for long and keep what they have in memory.
            count = 400 if number % 8 == turn % 8 else 100
            rows = [(b"%04d-%04d" % (turn, n), value) for n in range(count)]
            database.write({"plain": rows}, {"turn": b"%d" % turn})
            gauges = pool.gauges()
            peak_buffers = max(peak_buffers, gauges["write_buffer_bytes"])
            peak_cache = max(peak_cache, gauges["block_cache_bytes"])
            database.get_many("plain", [key for key, _row in rows[::10]])
    assert peak_buffers <= 32 * MIB, f"{peak_buffers / MIB:.1f} MiB of write buffers"
    assert peak_cache <= 64 * MIB * 1.02, f"{peak_cache / MIB:.1f} MiB in the cache"
    assert sum(database.memtable_bytes() for database in databases) <= 32 * MIB
    # It was used, not avoided.
    assert peak_buffers >= 16 * MIB
    assert all(database.metadata() == {"turn": b"11"} for database in databases)


@pytest.mark.slow
def test_without_making_room_the_budget_does_not_hold(
    open_database: Open, specs: Any, pool: MemoryPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why `make_room` is there: RocksDB flushes only the database that is written to."""
    monkeypatch.setattr(pool, "make_room", lambda: None)
    databases = [open_database(specs.plain, specs.ttl, name=f"0_{n}") for n in range(48)]
    for database in databases:
        rows = [(b"%04d" % n, bytes(1_000)) for n in range(1_000)]
        database.write({"plain": rows}, {})
    assert pool.gauges()["write_buffer_bytes"] > 32 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("stores", [1, 3])
def test_databases_without_rows_leave_room_and_nothing_is_flushed_for_them(
    tmp_path: Path, specs: Any, stores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each memtable has its filter from the beginning, and no flush frees it."""
    pool = MemoryPool(4 * MIB, 4 * MIB)
    flushes = 0

    def counted(database: TaskDatabase, *, wait: bool = True) -> None:
        nonlocal flushes
        flushes += 1

    monkeypatch.setattr(TaskDatabase, "flush", counted)
    kinds = (specs.plain, specs.ttl, specs.sessions)[:stores]
    databases = [
        TaskDatabase.open(tmp_path / f"0_{n}", kinds, pool=pool, options={}) for n in range(90)
    ]
    filters = sum(database.filter_bytes for database in databases)
    assert 0 < filters <= pool.write_buffer_bytes // 10
    assert databases[-1].filter_bytes == 0
    assert pool.gauges()["write_buffer_bytes"] < pool.write_buffer_bytes // 2
    for number, database in enumerate(databases):
        database.write({"plain": [(b"k", b"%d" % number)]}, {})
    assert flushes == 0
    first, *others = databases
    first.close()
    assert sum(database.filter_bytes for database in others) < filters
    assert pool.has_room_for_filters(first.filter_bytes)
    for database in others:
        database.close()


class Tenant:
    filter_bytes = 0

    def __init__(self, pool: MemoryPool, held_bytes: int, *, is_closed: bool = False) -> None:
        self.held_bytes = held_bytes
        self.is_closed = is_closed
        self.flushes = 0
        pool.join(self)

    def memtable_bytes(self) -> int:
        if self.is_closed:
            raise TaskMigratedError("closed")
        return self.held_bytes

    def flush(self, *, wait: bool = True) -> None:
        if self.is_closed:
            raise TaskMigratedError("closed")
        self.flushes += 1


def test_the_largest_are_flushed_and_one_that_is_closing_is_passed_over(
    specs: Any, tmp_path: Path
) -> None:
    pool = MemoryPool(4 * MIB, 4 * MIB)
    database = TaskDatabase.open(tmp_path / "0_3", [specs.plain], pool=pool, options={})
    small, closing = Tenant(pool, 200_000), Tenant(pool, 1 << 40, is_closed=True)
    tiny, large = Tenant(pool, 1_000), Tenant(pool, 1 << 30)
    rows = [(b"%04d" % n, bytes(1_000)) for n in range(200)]
    writes = 0
    while not large.flushes and writes < 100:
        database.write({"plain": rows}, {})
        assert pool.gauges()["write_buffer_bytes"] < 4 * MIB
        writes += 1
    # Flushing the large one freed nothing, so the database itself came next, and that was enough.
    assert (large.flushes, closing.flushes) == (1, 0)
    # RocksDB may count what it has freed a moment later; then the next one is flushed too.
    assert small.flushes <= 1
    assert tiny.flushes == 0
    deadline = time.monotonic() + 120
    while pool.gauges()["write_buffer_bytes"] >= 3 * MIB:
        assert time.monotonic() < deadline, pool.gauges()
        time.sleep(0.01)
    pool.leave(large)
    for _ in range(2 * writes):
        database.write({"plain": rows}, {})
    assert large.flushes == 1
    database.close()


@pytest.mark.parametrize(("cache", "buffers"), [(-1, MIB), (MIB, MIB - 1)])
def test_a_budget_that_cannot_work_is_refused(cache: int, buffers: int) -> None:
    with pytest.raises(ConfigError, match=f"{cache} bytes and write buffers of {buffers} bytes"):
        MemoryPool(cache, buffers)


def test_the_limit_of_open_files_is_raised_as_far_as_allowed() -> None:
    program = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))\n"
        "from streamer.store.pool import MemoryPool\n"
        "MemoryPool(1 << 20, 1 << 20)\n"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.split() == ["4096", "4096"]
