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
    # Its bucket is 500 to 509.
    assert expiry.find(1_148).keys == []
    assert expiry.find(1_149).keys == [b"k"]


def test_rows_of_one_bucket_go_together_when_all_are_past() -> None:
    expiry, database = opened(LONG_TTL, {b"early": 100, b"late": 109, b"next": 110})
    assert len({entry[:8] for entry in database.index["s"]}) == 2
    assert expiry.find(748).keys == []
    found = expiry.find(749)
    assert found.keys == [b"early", b"late"]
    assert len(found.index_keys) == 2


class Watched(MemoryDatabase):
    """Notes where scans begin, and how often rows are asked for."""

    def __init__(self, specs: list[StoreSpec]) -> None:
        super().__init__(specs)
        self.starts: list[bytes] = []
        self.gets: list[int] = []

    def get_many(self, store: str, keys: list[bytes]) -> list[bytes | None]:
        self.gets.append(len(keys))
        return super().get_many(store, keys)

    def scan(self, store: str, start: bytes, end: bytes | None, **options: Any) -> Any:
        self.starts.append(start)
        return super().scan(store, start, end, **options)


def test_a_bucket_is_looked_at_once_however_many_commits_there_are() -> None:
    database = Watched([LONG_TTL])
    database.write({"s": [(b"%d" % at, row(at, b"v")) for at in range(100, 120)]})
    expiry = Expiry(LONG_TTL, database)
    for now in range(740, 760):
        expiry.find(now)
        expiry.committed()
    assert database.gets == [10, 10]
    # Up to bucket 100, which has nothing, then 100 to 109, then 110 to 119.
    assert [int.from_bytes(start, "big") for start in database.starts] == [0, 100, 110]


def test_an_abort_does_not_go_behind_what_was_committed() -> None:
    database = Watched([LONG_TTL])
    database.write({"s": [(b"%d" % at, row(at, b"v")) for at in (100, 110, 120)]})
    expiry = Expiry(LONG_TTL, database)
    assert expiry.find(749).keys == [b"100"]
    expiry.committed()
    assert expiry.find(769).keys == [b"110", b"120"]
    expiry.rewind()
    assert expiry.find(769).keys == [b"110", b"120"]
    assert [int.from_bytes(start, "big") for start in database.starts] == [0, 110, 110]


@pytest.mark.parametrize("spec", [TTL, WINDOW, SESSION], ids=["ttl", "window", "session"])
def test_many_rows_are_removed_over_several_commits(spec: StoreSpec) -> None:
    rows = {_key(spec, b"%05d" % n, n % 7): n % 7 for n in range(4_500)}
    expiry, database = opened(spec, rows)
    counts = []
    for changed in (0, 10, 900, 0, 0):
        found = expiry.find(1_000, changed=changed)
        database.delete_index("s", found.index_keys)
        database.write({"s": [(key, None) for key in found.keys]})
        expiry.committed()
        counts.append(len(found.keys))
    assert counts == [1_000, 1_000, 1_800, 700, 0]
    assert database.rows["s"] == {}
    assert database.index["s"] == set()


def test_an_abort_finds_the_same_rows_again() -> None:
    expiry, _database = opened(WINDOW, {window_key(1, b"k"): 1})
    assert len(expiry.find(1_000).keys) == 1
    assert expiry.find(1_000).keys == []
    expiry.rewind()
    assert len(expiry.find(1_000).keys) == 1


TIMES = st.integers(0, 60)
LONGEST_MS = 10  # the width of a bucket of LONG_TTL


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
        # A row of the store may stay until all of its bucket are past.
        assert set(expiry.among(changed, now - LONGEST_MS + 1)) <= gone
        assert gone <= set(expiry.among(changed, now))
        database.delete_index("s", found.index_keys)
        database.write({"s": [(key, None) for key in found.keys]})


def _key(spec: StoreSpec, key: bytes, at: int) -> bytes:
    if spec.kind is StoreKind.WINDOW:
        return window_key(at, key)
    return session_key(key, at, at) if spec.kind is StoreKind.SESSION else key
