"""The open transaction of a store: reads, writes, scans, commits and aborts over committed rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer import ProcessingError
from streamer.store.cache import KeyValueState, newest_times
from streamer.store.keys import payload, row, timestamp
from streamer.store.recent import RecentRows
from streamer.topology.serde import Json
from streamer.topology.stores import Store, StoreSpec
from tests.unit.engine.rig import MemoryDatabase

SPEC = Store("s", bytes, int).spec()


class Counting(MemoryDatabase):
    def __init__(self, specs: list[StoreSpec]) -> None:
        super().__init__(specs)
        self.asked: list[bytes] = []

    def get_many(self, store: str, keys: list[bytes]) -> list[bytes | None]:
        self.asked += keys
        return super().get_many(store, keys)


def opened(
    database: MemoryDatabase | None = None, *, bytes_max: int = 100_000
) -> tuple[KeyValueState, Any]:
    database = database or Counting([SPEC])
    value: Any = Json(Any)
    spec = replace(SPEC, value=value)
    return KeyValueState(spec, database, value=value, recent_bytes_max=bytes_max), database


def commit(state: KeyValueState, database: MemoryDatabase) -> list[tuple[bytes, bytes | None]]:
    changes = state.changes()
    database.write({"s": changes})
    state.committed(changes)
    return changes


def pairs(found: Iterable[tuple[bytes, Any, int]]) -> list[tuple[bytes, Any]]:
    return [(key, value) for key, value, _timestamp in found]


def test_what_was_written_is_read_before_and_after_the_commit() -> None:
    state, database = opened()
    assert state.get(b"a") is None
    state.put(b"a", 1, 10)
    assert state.get(b"a") == 1
    assert database.rows["s"] == {}
    assert commit(state, database) == [(b"a", row(10, b"1"))]
    assert state.get(b"a") == 1
    assert state.timestamp_of(b"a") == 10
    assert state.changes() == []


def test_an_abort_forgets_everything() -> None:
    state, database = opened()
    state.put(b"a", 1, 10)
    commit(state, database)
    state.put(b"a", 2, 11)
    state.put(b"b", 3, 12)
    state.purge([b"x"], [])
    state.abort()
    assert (state.get(b"a"), state.get(b"b")) == (1, None)
    assert state.changes() == []
    assert state.touched == 2


def test_none_removes_a_row() -> None:
    state, database = opened()
    state.put(b"a", 1, 10)
    commit(state, database)
    state.put(b"a", None, 11)
    assert commit(state, database) == [(b"a", None)]
    assert database.rows["s"] == {}
    assert state.get(b"a") is None


def test_a_row_keeps_the_newest_time_it_has_seen() -> None:
    state, database = opened()
    state.put(b"a", 1, 10)
    commit(state, database)
    state.put(b"a", 2, 5)
    assert commit(state, database) == [(b"a", row(10, b"2"))]
    state.put(b"a", 3, 20)
    state.put(b"a", 4, 15)
    assert commit(state, database) == [(b"a", row(20, b"4"))]


def test_the_database_is_asked_once_for_each_key() -> None:
    state, database = opened()
    state.load([b"a", b"b", b"a"])
    state.load([b"b", b"c"])
    state.get(b"a")
    assert sorted(database.asked) == [b"a", b"b", b"c"]


def test_rows_that_were_written_lately_are_at_hand() -> None:
    state, database = opened()
    state.put(b"a", 1, 10)
    state.put(b"gone", None, 10)
    commit(state, database)
    database.asked.clear()
    state.load([b"a", b"gone"])
    assert database.asked == []
    assert (state.values[b"a"], state.values[b"gone"]) == (1, None)


def test_values_are_encoded_once_and_changed_in_place_until_then() -> None:
    state, database = opened()
    state.put(b"a", [1], 10)
    state.values[b"a"].append(2)
    state.touch({b"a": 12}, 12, 12)
    assert state.dirty() is state.dirty()
    assert commit(state, database) == [(b"a", row(12, b"[1,2]"))]
    state.get(b"a").append(3)
    assert state.changes() == []
    state.abort()
    assert state.get(b"a") == [1, 2]


def test_what_is_forgotten_is_absent_without_a_change() -> None:
    state, database = opened()
    state.put(b"a", 1, 10)
    commit(state, database)
    state.load([b"a"])
    state.forget(b"a")
    assert state.get(b"a") is None
    assert state.timestamp_of(b"a") == -1
    assert state.changes() == []
    state.put(b"a", 5, 3)
    assert commit(state, database) == [(b"a", row(3, b"5"))]


def test_purged_rows_are_removed_unless_they_were_changed() -> None:
    state, database = opened()
    for key in (b"a", b"b", b"c"):
        state.put(key, 1, 10)
    commit(state, database)
    state.put(b"b", 2, 11)
    state.put(b"d", 2, 11)
    state.purge([b"a", b"b"], [b"d"])
    assert commit(state, database) == [(b"b", row(11, b"2")), (b"a", None), (b"d", None)]
    assert sorted(database.rows["s"]) == [b"b", b"c"]


def test_what_cannot_be_encoded_names_store_and_key() -> None:
    state, _database = opened()
    told: list[Exception] = []
    state.on_unencodable = told.append
    state.put(b"a", 1, 10)
    state.put(b"b", object(), 10)
    with pytest.raises(ProcessingError, match=r"store 's' cannot hold .* key b'b': TypeError"):
        state.changes()
    assert len(told) == 1


def test_recent_rows_stay_within_their_bytes() -> None:
    recent = RecentRows(20_000)
    for number in range(1_000):
        recent.add([b"key%d" % number], [b"x" * 50])
    young, old = recent.generations
    assert b"key999" in {**young, **old}
    assert b"key0" not in {**young, **old}
    assert 30 < len(young) + len(old) < 100
    assert recent.size_bytes <= 20_000 + 300
    recent.clear()
    assert recent.generations == ({}, {})


KEYS = st.sampled_from([b"a", b"ab", b"b", b"c\xff", b""])
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "remove", "get", "commit", "abort", "scan"]),
        KEYS,
        KEYS,
        st.integers(0, 20),
    ),
    max_size=40,
)


@given(ACTIONS, st.sampled_from([0, 400, 100_000]))
def test_it_behaves_like_a_dictionary_with_transactions(
    actions: list[tuple[str, bytes, bytes, int]], bytes_max: int
) -> None:
    state, database = opened(bytes_max=bytes_max)
    committed: dict[bytes, int] = {}
    now: dict[bytes, int] = {}
    for name, key, other, number in actions:
        if name in ("put", "remove"):
            value = number if name == "put" else None
            state.put(key, value, number)
            now.pop(key, None) if value is None else now.update({key: value})
        elif name == "get":
            assert state.get(key) == now.get(key)
        elif name == "commit":
            commit(state, database)
            committed = dict(now)
        elif name == "abort":
            state.abort()
            now = dict(committed)
        else:
            wanted = sorted((k, v) for k, v in now.items() if k >= key and k < other)
            assert pairs(state.scan(key, other)) == wanted
            behind = sorted((k, v) for k, v in now.items() if k >= key)
            assert pairs(state.scan(key, None)) == behind
    stored = {key: int(payload(found)) for key, found in database.rows["s"].items()}
    assert stored == committed


PAIRS = st.lists(st.tuples(KEYS, st.integers(0, 9)), min_size=1, max_size=10)


@given(st.lists(PAIRS, min_size=1, max_size=4), st.booleans())
def test_times_do_not_depend_on_how_writes_are_grouped(
    batches: list[list[tuple[bytes, int]]], commits: bool
) -> None:
    state, database = opened()
    for pairs in batches:
        keys, stamps = [key for key, _ in pairs], [stamp for _, stamp in pairs]
        newest = newest_times(keys, stamps, is_in_order=stamps == sorted(stamps))
        state.load(newest)
        state.values.update(dict.fromkeys(keys, 1))
        state.touch(newest, min(stamps), max(stamps))
        if commits:
            commit(state, database)
    commit(state, database)
    everything = [pair for pairs in batches for pair in pairs]
    wanted = {key: max(at for k, at in everything if k == key) for key, _ in everything}
    assert {key: timestamp(found) for key, found in database.rows["s"].items()} == wanted
