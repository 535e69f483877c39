from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store, StoreKind, StoreSpec

Open = Callable[..., TaskDatabase]


@pytest.fixture
def specs() -> Any:
    """A store of each kind: `plain`, `ttl` (64 s, so buckets of 1 s) and `sessions`."""
    plain = Store("plain", str, int).spec()
    return SimpleNamespace(
        plain=plain,
        ttl=Store("ttl", str, int, ttl=timedelta(seconds=64)).spec(),
        sessions=replace(plain, name="sessions", kind=StoreKind.SESSION, retention_ms=3_600_000),
    )


@pytest.fixture
def pool() -> MemoryPool:
    return MemoryPool(16 << 20, 16 << 20)


@pytest.fixture
def open_database(pool: MemoryPool, tmp_path: Path) -> Iterator[Open]:
    """Opens task 0_3 (or another `name`) with the given specifications; closes it at the end."""
    opened: list[TaskDatabase] = []

    def open_one(*specs: StoreSpec, name: str = "0_3", **options: Any) -> TaskDatabase:
        database = TaskDatabase.open(tmp_path / name, specs, pool=pool, options=options)
        opened.append(database)
        return database

    yield open_one
    for database in opened:
        database.close()
