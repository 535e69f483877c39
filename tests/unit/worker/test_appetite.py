"""Batches stay inside their part of the memory budget, whatever the records' size."""

from __future__ import annotations

from streamer.record import RawBatch
from streamer.worker.appetite import Appetite


def batch(count: int, size: int) -> RawBatch:
    return RawBatch(
        topic="t",
        partition=0,
        keys=[b"k"] * count,
        values=[b"x" * size] * count,
        timestamps=[0] * count,
        offsets=list(range(count)),
    )


def fast(appetite: Appetite, turns: int) -> None:
    for _ in range(turns):
        appetite.took(appetite.records_max, 0.001)


def test_it_begins_small_and_grows_to_the_limit_with_small_records() -> None:
    appetite = Appetite(50 << 20, 10_000)
    assert appetite.records_max == 100
    appetite.saw([batch(500, 80)])
    assert appetite.records_max == 100
    fast(appetite, 2)
    assert appetite.records_max == 400
    fast(appetite, 5)
    assert appetite.records_max == 10_000


def test_it_does_not_grow_beyond_the_pace_that_was_seen() -> None:
    appetite = Appetite(50 << 20, 10_000)
    appetite.saw([batch(500, 80)])
    for _ in range(20):
        appetite.took(1, 0.001)
    assert appetite.records_max == 1_000
    appetite.took(10, 0.4)
    assert appetite.records_max == 1_000
    appetite.took(1, 0.15)
    assert appetite.records_max == 1_000
    appetite.took(466, 70.0)
    assert appetite.records_max == 6
    for _ in range(20):
        appetite.took(1, 0.15)
    assert appetite.records_max == 6


def test_large_records_are_taken_a_few_at_a_time() -> None:
    appetite = Appetite(50 << 20, 10_000)
    fast(appetite, 10)
    appetite.saw([batch(20, 1 << 20)])
    assert 40 <= appetite.records_max <= 50


def test_it_takes_at_least_one_and_learns_nothing_from_nothing() -> None:
    appetite = Appetite(1000, 10_000)
    appetite.saw([batch(1, 100_000)])
    assert appetite.records_max == 1
    appetite.saw([])
    assert appetite.records_max == 1


def test_slow_code_gets_what_it_does_in_a_second_and_more_when_it_is_fast_again() -> None:
    appetite = Appetite(50 << 20, 10_000)
    appetite.saw([batch(500, 80)])
    fast(appetite, 10)
    appetite.took(10_000, 100.0)
    assert appetite.records_max == 100
    appetite.took(100, 0.9)
    assert appetite.records_max == 100
    appetite.took(1, 20.0)
    assert appetite.records_max == 1
    for _ in range(14):
        appetite.took(appetite.records_max, 0.01)
    assert appetite.records_max == 10_000
