"""A fetch stays within its memory also where large records follow small ones of another topic."""

from __future__ import annotations

import pytest

from streamer.kafka.portions import Portions
from streamer.record import RawBatch


def batch(topic: str, count: int, size: int) -> RawBatch:
    return RawBatch(topic, 0, [None] * count, [b"x" * size] * count, [0] * count, range(count))


class Queue:
    """What was fetched ahead, and how much of it was asked for at once."""

    def __init__(self, *values: bytes) -> None:
        self._values = list(values)
        self.asked: list[int] = []

    def consume(self, count: int, _timeout_s: float) -> list[bytes]:
        self.asked.append(count)
        taken, self._values = self._values[:count], self._values[count:]
        return taken

    def take(self, portions: Portions, records_max: int) -> list[bytes]:
        size = lambda values: sum(map(len, values))  # noqa: E731
        return portions.take(self.consume, records_max, 1.0, size=size)


LARGE = b"x" * 10_000


def test_small_records_are_asked_for_at_once() -> None:
    portions = Portions(1_000_000)
    portions.saw([batch("small", 500, 100)])
    queue = Queue(*[b"x"] * 1_500)
    assert len(queue.take(portions, 1_000)) == 1_000
    assert queue.asked == [1_000]


def test_large_records_that_follow_small_ones_are_taken_until_they_fill_the_memory() -> None:
    portions = Portions(1_000_000)
    portions.saw([batch("large", 100, len(LARGE))])
    portions.saw([batch("small", 500, 100)])
    queue = Queue(*[LARGE] * 1_000)
    taken = queue.take(portions, 1_000)
    assert 1_000_000 <= sum(map(len, taken)) + 500 * len(taken) < 2_000_000
    assert len(queue.take(portions, 1_000)) == len(taken)


def test_small_records_among_large_ones_are_still_taken_in_numbers_and_the_end_is_the_end() -> None:
    portions = Portions(1_000_000)
    portions.saw([batch("large", 100, len(LARGE))])
    queue = Queue(*[b"x"] * 1_300)
    assert len(queue.take(portions, 1_000)) == 1_000
    assert len(queue.take(portions, 1_000)) == 300
    assert queue.take(portions, 1_000) == []


def test_a_topic_whose_records_became_small_is_asked_for_at_once_again() -> None:
    portions = Portions(1_000_000)
    portions.saw([batch("rows", 100, len(LARGE))])
    for _ in range(30):
        portions.saw([batch("rows", 100, 10)])
    queue = Queue(*[b"x"] * 1_500)
    queue.take(portions, 1_000)
    assert queue.asked == [1_000]


def test_records_of_a_topic_that_was_not_seen_yet_might_be_large() -> None:
    portions = Portions(1_000_000)
    portions.expect(["small", "large"])
    portions.saw([batch("small", 500, 100)])
    taken = Queue(*[LARGE] * 1_000).take(portions, 1_000)
    assert sum(map(len, taken)) < 2_000_000


@pytest.mark.parametrize("bytes_max", [1_000_000, 10_000])
def test_it_is_full_where_as_many_as_were_asked_for_are_at_hand(bytes_max: int) -> None:
    portions = Portions(bytes_max)
    portions.saw([batch("topic", 100, 100)])
    queue = Queue(*[b"x"] * 1_500)
    assert len(queue.take(portions, 1_000)) < 1_500
    assert portions.is_full
    while queue.take(portions, 1_000):
        pass
    assert not portions.is_full


def test_what_comes_while_it_waits_is_all_that_there_is() -> None:
    """A worker that takes records one by one is no worker that is behind."""

    def consume(count: int, timeout_s: float) -> list[bytes]:
        return [b"x"] * (count if timeout_s else 3)

    portions = Portions(1_000_000)
    assert len(portions.take(consume, 5, 0.05, size=len)) == 5
    assert not portions.is_full
    assert len(portions.take(consume, 3, 0.05, size=len)) == 3
    assert portions.is_full
    assert len(portions.take(consume, 5, 0.0, size=len)) == 3
    assert not portions.is_full
