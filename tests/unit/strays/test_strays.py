"""Who is a stray, how it travels, and when none is expected any more."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import InternalTopicError
from streamer.record import Headers, RawBatch
from streamer.split.homes import Homes
from streamer.strays.carried import HEADER, headers_of, taken_in
from streamer.strays.quiet import Quiet
from streamer.strays.sorting import sort
from streamer.strays.wait import Look, Wait
from streamer.topology.declared import Declared
from streamer.topology.partitioner import Partitioner
from tests.hurry import examples

KEYS = st.lists(st.none() | st.binary(max_size=20), min_size=1, max_size=30)


def by_length(key: bytes, count: int) -> int:
    return len(key) % count


def batch(
    keys: Sequence[bytes | None],
    *,
    partition: int = 0,
    first: int = 100,
    headers: Sequence[Headers | None] | None = None,
    topic: str = "in",
) -> RawBatch:
    count = len(keys)
    return RawBatch(
        topic,
        partition,
        keys,
        [b"%d" % row for row in range(count)],
        [1_000 + row for row in range(count)],
        range(first, first + count),
        None if headers is None else lambda: headers,
    )


# -- who is one ------------------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(
    KEYS,
    st.integers(1, 7),
    st.sampled_from(["murmur2", "consistent", by_length]),
    st.data(),
)
def test_a_stray_is_a_key_whose_home_is_elsewhere(
    keys: list[bytes | None], tasks: int, by: Partitioner | Declared, data: st.DataObject
) -> None:
    own = data.draw(st.integers(0, tasks - 1))
    homes = Homes(tasks, tasks, by)
    found = sort(batch(keys, partition=own), homes)
    assert not found.lost
    assert found.strays == {
        row: homes.home(key)
        for row, key in enumerate(keys)
        if key is not None and homes.home(key) != own
    }


def test_of_keys_that_java_and_librdkafka_place_otherwise_each_has_its_own_strays() -> None:
    keys = [b"customer-%d" % number for number in range(20)]
    java = sort(batch(keys), Homes(3, 3, "murmur2")).strays
    crc = sort(batch(keys), Homes(3, 3, "consistent")).strays
    assert java != crc
    assert java
    assert crc


def test_a_key_that_a_declared_partitioner_does_not_know_costs_no_other_its_home() -> None:
    def by_number(key: bytes, count: int) -> int:
        return int(key) % count

    strays, lost = sort(batch([b"3", b"a", None, b"2", b""]), Homes(2, 2, by_number))
    assert strays == {0: 1}
    assert {row: error.message[:43] for row, error in lost.items()} == dict.fromkeys(
        (1, 4), "the declared partitioner raised ValueError "
    )


# -- on its way ------------------------------------------------------------------------------------


@settings(max_examples=examples(40))
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=6))
def test_a_stray_is_taken_in_as_the_record_that_it_was(runs: list[tuple[int, int]]) -> None:
    """Whatever is forwarded together, from whichever partitions, with headers or without."""
    keys: list[bytes | None] = []
    headers: list[Headers | None] = []
    sent: list[tuple[int, int, bytes | None, Headers]] = []
    for number, (partition, count) in enumerate(runs):
        own: list[Headers | None] = [
            [("h", b"%d" % number)] if row % 2 else None for row in range(count)
        ]
        found = batch([b"k%d" % number] * count, partition=partition, headers=own)
        keys += found.keys
        headers += headers_of(found, range(count))
        sent += [(partition, 100 + row, b"k%d" % number, own[row] or []) for row in range(count)]
    strays = batch(keys, partition=2, first=7, headers=headers, topic="app-in-strays")
    landed = [
        (run.partition, run.offsets[row], run.keys[row], run.headers_at(row))
        for run in taken_in(strays, "in")
        for row in range(len(run))
    ]
    assert landed == sent
    assert {run.topic for run in taken_in(strays, "in")} == {"in"}
    values = [value for run in taken_in(strays, "in") for value in run.values]
    times = [time for run in taken_in(strays, "in") for time in run.timestamps]
    assert values == list(strays.values)
    assert times == list(strays.timestamps)


@pytest.mark.parametrize(
    "headers", [None, [], [("other", b"1:2")], [(HEADER, None)], [(HEADER, b"1"), ("last", b"")]]
)
def test_what_is_no_stray_is_refused_by_its_place(headers: Headers | None) -> None:
    found = batch([b"k"], partition=2, first=7, headers=[headers], topic="app-in-strays")
    with pytest.raises(InternalTopicError, match="app-in-strays/2: the record at offset 7"):
        list(taken_in(found, "in"))


def test_rows_that_are_chosen_keep_what_they_are() -> None:
    whole = batch([b"a", b"b", b"c"], headers=[[("h", b"0")], None, [("h", b"2")]])
    some = whole.take([0, 2])
    assert (some.keys, some.values, some.offsets) == ([b"a", b"c"], [b"0", b"2"], [100, 102])
    assert some.position == 103
    assert [some.headers_at(row) for row in (0, 1)] == [[("h", b"0")], [("h", b"2")]]
    assert whole.take([0, 1, 2]) is whole
    bare = batch([b"a", b"b"]).take([1])
    assert bare.headers is None
    assert bare.headers_at(0) == []


# -- waiting ---------------------------------------------------------------------------------------


def test_one_look_is_enough_where_others_are_ahead_already() -> None:
    look = Look(ends={0: 9, 1: 5, 2: 0}, forwarded={0: 9, 1: 5}, strays={1: 3})
    wait = Wait().looked(look, own=1)
    assert wait.asks is None
    assert not wait.is_over(2)
    assert wait.is_over(3)


def test_ends_are_those_of_the_first_look_and_the_strays_end_is_of_the_last() -> None:
    wait = Wait().looked(Look(ends={0: 9, 1: 5, 2: 4}, forwarded={0: 8}, strays={1: 3}), own=1)
    assert wait.left == ((0, 9), (2, 4))
    assert not wait.is_over(100)
    wait = wait.looked(Look(ends={0: 20, 2: 20}, forwarded={0: 9}, strays={1: 5}), own=1)
    assert wait.left == ((2, 4),)
    # What was reached once need not be told again.
    wait = wait.looked(Look(ends={0: 30, 2: 30}, forwarded={2: 6}, strays={1: 8}), own=1)
    assert wait.strays_end == 8
    later = wait.looked(Look(ends={0: 40}, forwarded={}, strays={1: 99}), own=1)
    assert later == wait


# -- quiet -----------------------------------------------------------------------------------------


def test_strays_are_expected_until_a_wait_after_the_quiet_time_has_brought_none() -> None:
    quiet = Quiet(600_000, 1_000_000)
    assert (quiet.may_end(1_599_999), quiet.may_end(1_600_000)) == (False, True)
    quiet.waited(began_ms=1_599_999)
    assert not quiet.is_over
    quiet.saw_stray(1_600_000)
    # It began before the stray came, whenever it ended.
    quiet.waited(began_ms=1_600_000)
    assert not quiet.is_over
    quiet.waited(began_ms=2_200_000)
    assert quiet.is_over


def test_late_strays_bring_no_waiting_back() -> None:
    quiet = Quiet(10, 0)
    quiet.waited(began_ms=10)
    quiet.saw_stray(5_000)
    assert quiet.is_over
    assert quiet.last_stray_ms == 0


def test_the_time_counts_from_the_first_start_of_the_task_and_goes_on_where_it_moves() -> None:
    """Its topic may have been given partitions long after the layout was recorded."""
    first = Quiet.begun(600_000, noted_ms=-1, is_over=False, now_ms=5_000_000)
    assert (first.last_stray_ms, first.noted_ms) == (5_000_000, -1)
    moved = Quiet.begun(600_000, noted_ms=5_000_000, is_over=False, now_ms=5_500_000)
    assert (moved.last_stray_ms, moved.noted_ms) == (5_000_000, 5_000_000)
