"""What expires when: by stream time, at the same moment for rows old and new."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.store.cache import Dirty
from streamer.store.expiry import Expiry, is_past_ttl
from streamer.store.keys import index_key, row, session_key, window_key
from streamer.topology.stores import Store, StoreKind, StoreSpec
from tests.unit.engine.rig import MemoryDatabase

TTL = Store("s", bytes, bytes, ttl=timedelta(milliseconds=10)).spec()
LONG_TTL = Store("s", bytes, bytes, ttl=timedelta(milliseconds=640)).spec()
WINDOW = replace(TTL, kind=StoreKind.WINDOW, ttl_ms=None, window_size_ms=10, retention_ms=20)
SESSION = replace(TTL, kind=StoreKind.SESSION, ttl_ms=None, retention_ms=20)


def filled(spec: StoreSpec, rows: dict[bytes, int]) -> MemoryDatabase:
    """Rows by stored key and time."""
    database = MemoryDatabase([spec])
    database.write({"s": [(key, row(at, b"v")) for key, at in rows.items()]})
    return database


def opened(spec: StoreSpec, rows: dict[bytes, int]) -> tuple[Expiry, Any]:
    database = filled(spec, rows)
    return Expiry(spec, database), database


@pytest.mark.parametrize(
    ("spec", "key", "last_ms"),
    [
        (TTL, b"k", 109),  # a row of 100 is past its ttl at 110
        (WINDOW, window_key(100, b"k"), 129),  # size and retention behind its start
        (SESSION, session_key(b"k", 90, 100), 120),  # a session may still grow at its last moment
    ],
    ids=["ttl", "window", "session"],
)
def test_a_row_is_kept_to_its_last_moment(spec: StoreSpec, key: bytes, last_ms: int) -> None:
    expiry, _database = opened(spec, {key: 100})
    assert expiry.find(last_ms).keys == []
    assert expiry.find(last_ms + 1).keys == [key]
    changed = Dirty([key], [b"v"], [b"v"], [100])
    assert expiry.among(changed, last_ms) == []
    assert expiry.among(changed, last_ms + 1) == [key]


def test_nothing_is_past_a_ttl_that_is_not_there() -> None:
    spec = Store("s", bytes, bytes).spec()
    assert not is_past_ttl(spec, 0, 10**15)
    assert Expiry(spec, filled(spec, {b"k": 0})).find(10**15).keys == []


def test_a_stale_index_entry_is_dropped_and_its_row_kept() -> None:
    expiry, database = opened(LONG_TTL, {b"k": 100})
    database.write({"s": [(b"k", row(500, b"v"))]})
    assert len(database.index["s"]) == 2
    expired = expiry.find(900)
    assert expired.keys == []
    assert expired.index_keys == [index_key(LONG_TTL, b"k", row(100, b""))]
    database.delete_index("s", expired.index_keys)
    assert expiry.find(1_139).keys == []
    assert expiry.find(1_140).keys == [b"k"]


def test_rows_of_one_bucket_expire_each_at_its_time() -> None:
    expiry, database = opened(LONG_TTL, {b"early": 100, b"late": 109})
    assert len({entry[:8] for entry in database.index["s"]}) == 1
    assert expiry.find(740).keys == [b"early"]
    database.write({"s": [(b"early", None)]})
    assert expiry.find(748).keys == []
    assert expiry.find(749).keys == [b"late"]


def test_many_rows_are_removed_over_several_commits() -> None:
    expiry, database = opened(WINDOW, {window_key(at, b"k"): at for at in range(20)})
    removed = []
    for _ in range(5):
        found = expiry.find(1_000, rows_max=7)
        removed += found.keys
        database.write({"s": [(key, None) for key in found.keys]})
    assert removed == [window_key(at, b"k") for at in range(20)]


def test_an_abort_finds_the_same_rows_again() -> None:
    expiry, _database = opened(WINDOW, {window_key(1, b"k"): 1})
    assert len(expiry.find(1_000).keys) == 1
    assert expiry.find(1_000).keys == []
    expiry.rewind()
    assert len(expiry.find(1_000).keys) == 1


TIMES = st.integers(0, 60)


@given(
    st.sampled_from([TTL, LONG_TTL, WINDOW, SESSION]),
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), TIMES), max_size=12),
    st.lists(st.integers(0, 1_000), min_size=1, max_size=4),
)
def test_rows_in_the_store_and_rows_just_changed_expire_alike(
    spec: StoreSpec, rows: list[tuple[bytes, int]], times: list[int]
) -> None:
    keyed = {_key(spec, key, at): at for key, at in rows}
    expiry, database = opened(spec, keyed)
    changed = Dirty(list(keyed), [b"v"] * len(keyed), [b"v"] * len(keyed), list(keyed.values()))
    gone: set[bytes] = set()
    for now in sorted(times):
        found = expiry.find(now)
        gone.update(found.keys)
        assert gone == set(expiry.among(changed, now))
        database.delete_index("s", found.index_keys)
        database.write({"s": [(key, None) for key in found.keys]})


def _key(spec: StoreSpec, key: bytes, at: int) -> bytes:
    if spec.kind is StoreKind.WINDOW:
        return window_key(at, key)
    return session_key(key, at, at) if spec.kind is StoreKind.SESSION else key
