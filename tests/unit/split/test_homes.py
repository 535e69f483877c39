"""Homes of many keys at once are those of each, and of the partitioners that producers use."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import ProcessingError, TopologyError
from streamer.layout import KnownPartitioner
from streamer.split.fingerprint import Ledger
from streamer.split.homes import Homes, parents_of
from streamer.split.totals import NOTHING, total
from streamer.split.vectors import digests, hashes, lengths_of, seed_of, tasks_of
from streamer.topology.declared import Declared, named
from streamer.topology.partitioner import murmur2
from tests.hurry import examples

KEYS = st.lists(st.binary(max_size=70), max_size=40)


def by_length(key: bytes, count: int) -> int:
    return len(key) % count


def layouts(partitioner: KnownPartitioner | Declared) -> st.SearchStrategy[Homes]:
    return st.builds(
        lambda tasks, times: Homes(tasks, tasks * times, partitioner),
        st.integers(1, 40),
        st.integers(1, 5),
    )


@settings(max_examples=examples(40))
@given(KEYS)
def test_vectors_are_the_pure_hashes(keys: list[bytes]) -> None:
    assert hashes(keys, "murmur2").tolist() == [murmur2(key) & 0x7FFFFFFF for key in keys]
    assert hashes(keys, "consistent").tolist() == [crc32(key) for key in keys]


def test_keys_of_any_length_in_one_block() -> None:
    keys = [bytes(range(256)) * 20, b"", b"a", b"abc" * 400, b"abcd", b"\xff" * 4_097]
    assert hashes(keys, "murmur2").tolist() == [murmur2(key) & 0x7FFFFFFF for key in keys]


@settings(max_examples=examples(40))
@given(KEYS, st.data())
def test_tasks_of_many_keys_are_the_homes_of_each(keys: list[bytes], data: st.DataObject) -> None:
    known: list[KnownPartitioner | Declared] = ["murmur2", "consistent", by_length]
    kinds = st.sampled_from(known)
    several = [data.draw(layouts(data.draw(kinds))) for _ in range(2)]
    for homes, found in zip(several, tasks_of(keys, *several), strict=True):
        assert found.tolist() == [homes.home(key) for key in keys]


@settings(max_examples=examples(30))
@given(KEYS, layouts("murmur2"), layouts("murmur2"))
def test_a_key_comes_from_a_parent_of_its_task(
    keys: list[bytes], source: Homes, target: Homes
) -> None:
    for key in keys:
        assert source.home(key) in parents_of(target.home(key), source, target)


def test_parents_are_as_few_as_can_be() -> None:
    assert parents_of(5, Homes(4, 4), Homes(8, 8)) == {1}
    assert parents_of(1, Homes(8, 8), Homes(4, 240)) == {1, 5}
    assert parents_of(0, Homes(4, 4), Homes(6, 6)) == {0, 2}
    # Where partitioners differ nothing is known.
    assert parents_of(0, Homes(2, 2), Homes(4, 4, "consistent")) == {0, 1}
    assert parents_of(0, Homes(2, 2, by_length), Homes(4, 4, by_length)) == {0, 1}


def test_tasks_share_partitions_evenly_or_not_at_all() -> None:
    with pytest.raises(TopologyError, match="4 tasks cannot share 6 partitions"):
        Homes(4, 6)
    with pytest.raises(TopologyError, match="0 tasks"):
        Homes(0, 6)
    with pytest.raises(TopologyError, match="'md5' is not a partitioner"):
        Homes(1, 1, "md5")  # type: ignore[arg-type]


@pytest.mark.parametrize("given_back", [-1, 4, True, 1.0, None])
def test_a_declared_partitioner_gives_a_partition(given_back: object) -> None:
    homes = Homes(4, 4, lambda _key, _count: given_back)  # type: ignore[arg-type, return-value]
    with pytest.raises(ProcessingError, match=r"gives .* for key b'ann' among 4 partitions"):
        homes.home(b"ann")
    with pytest.raises(ProcessingError, match="for key b'ann'"):
        tasks_of([b"ann"], homes)


def test_a_declared_partitioner_that_fails_is_told_with_the_key() -> None:
    homes = Homes(4, 4, lambda key, count: int(key) % count)
    with pytest.raises(ProcessingError, match=r"raised ValueError for key b'ann'"):
        tasks_of([b"17", b"ann"], homes)


def test_a_partitioner_is_found_by_its_name() -> None:
    for known in ("murmur2", "consistent"):
        assert named(known) == known
    # This module itself has no name that another process could import it by.
    assert Homes(4, 4, by_length).name == f"{by_length.__module__}:by_length"
    assert named("zlib:crc32") is crc32
    for unknown in ("nowhere:f", "zlib:nothing", "zlib:<lambda>", ":x"):
        with pytest.raises(TopologyError, match="cannot be found"):
            named(unknown)


# -- fingerprints ------------------------------------------------------------------------------

PAIRS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=30)


def fingerprint(pairs: list[tuple[bytes, bytes]], cells: list[int] | None = None) -> Ledger:
    ledger = Ledger(4, b"salt")
    numbers = np.array(cells if cells is not None else [0] * len(pairs), np.int64)
    if pairs:
        ledger.add(numbers, [key for key, _row in pairs], [row for _key, row in pairs])
    return ledger


@settings(max_examples=examples(40))
@given(PAIRS)
def test_digests_are_those_of_each_row_alone(pairs: list[tuple[bytes, bytes]]) -> None:
    keys, rows = [key for key, _row in pairs], [row for _key, row in pairs]
    seed = seed_of(b"s")
    found = digests(keys, rows, seed, lengths=lengths_of(keys))
    for (key, row), (low, high) in zip(pairs, found.tolist(), strict=True):
        plain = xxhash.xxh3_128(key + row, seed=seed).digest()
        halves = (int.from_bytes(plain[:8], "little"), int.from_bytes(plain[8:], "little"))
        assert (low, high) == tuple(half * (2 * len(key) + 1) % 2**64 for half in halves)


@settings(max_examples=examples(40))
@given(PAIRS, st.data())
def test_a_fingerprint_adds_up_in_any_order_and_division(
    pairs: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    whole = total(fingerprint(pairs).totals().values())
    mixed = data.draw(st.permutations(pairs))
    cells = data.draw(st.lists(st.integers(0, 3), min_size=len(pairs), max_size=len(pairs)))
    parts = fingerprint(mixed, cells).totals()
    assert total(parts.values()) == whole
    for part in parts.values():
        assert whole - part + part == whole
    assert whole.rows == len(pairs)
    assert whole.size == sum(len(key) + len(row) for key, row in pairs)


def test_a_fingerprint_tells_rows_apart() -> None:
    seen = {
        total(fingerprint(pairs).totals().values()).sum
        for pairs in (
            [],
            [(b"a", b"b")],
            [(b"b", b"a")],
            [(b"a", b"b"), (b"a", b"b")],
            # The same bytes, cut elsewhere.
            [(b"ab", b"")],
            [(b"", b"ab")],
            [(b"a", b"b"), (b"c", b"d")],
            [(b"a", b"d"), (b"c", b"b")],
        )
    }
    assert len(seen) == 8
    assert total([]) == NOTHING
