"""The order in which a task takes the records of several partitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.ids import TopicPartition
from streamer.record import RawBatch
from streamer.task.input import TaskInput

A, B = TopicPartition("a", 0), TopicPartition("b", 0)


def batch(place: TopicPartition, stamps: list[int], first: int = 0) -> RawBatch:
    rows = range(first, first + len(stamps))
    names = [f"{place.topic}{row}".encode() for row in rows]
    return RawBatch(place.topic, place.partition, names, names, stamps, list(rows))


def taken(waiting: TaskInput, now_ms: int = 0) -> list[str]:
    return [key.decode() for run in waiting.take(now_ms) for key in run.keys if key is not None]


def test_one_partition_is_taken_as_it_comes() -> None:
    waiting = TaskInput([A], records_max=10)
    waiting.add(batch(A, [5, 1]))
    waiting.add(batch(A, [3], first=2))
    assert taken(waiting) == ["a0", "a1", "a2"]
    assert waiting.waiting == 0


def test_the_earliest_record_comes_first_and_partitions_keep_their_order() -> None:
    waiting = TaskInput([A, B], records_max=10)
    waiting.add(batch(A, [1, 9, 2]))
    waiting.add(batch(B, [3, 4, 10]))
    waiting.reached_end(A, 3)
    waiting.reached_end(B, 3)
    assert taken(waiting) == ["a0", "b0", "b1", "a1", "a2", "b2"]


def test_nothing_is_taken_before_every_partition_was_seen() -> None:
    waiting = TaskInput([A, B], records_max=10)
    waiting.add(batch(A, [1, 2]))
    assert taken(waiting) == []
    waiting.add(batch(B, [2]))
    assert taken(waiting) == ["a0", "a1"]
    assert waiting.waiting == 1
    waiting.reached_end(A, 2)
    assert taken(waiting) == ["b0"]


def test_an_empty_partition_is_waited_for_as_long_as_asked() -> None:
    waiting = TaskInput([A, B], records_max=10, idle_ms=100)
    waiting.add(batch(A, [1]))
    waiting.reached_end(B, 0)
    assert taken(waiting, now_ms=1_000) == []
    assert taken(waiting, now_ms=1_099) == []
    assert taken(waiting, now_ms=1_100) == ["a0"]


def test_what_was_read_to_its_end_and_handed_out_is_told_with_that_end() -> None:
    waiting = TaskInput([A, B], records_max=10)
    waiting.add(batch(A, [1]))
    waiting.reached_end(A, 7)
    waiting.reached_end(B, 4)
    assert waiting.ends() == {B: 4}
    assert taken(waiting) == ["a0"]
    assert waiting.ends() == {A: 7, B: 4}
    waiting.add(batch(B, [2]))
    assert waiting.ends() == {A: 7}


def test_a_partition_that_holds_more_than_it_should_is_full() -> None:
    waiting = TaskInput([A, B], records_max=2)
    waiting.add(batch(A, [1, 2]))
    assert waiting.full == set()
    waiting.add(batch(A, [3], first=2))
    assert waiting.full == {A}


def test_a_rewind_forgets_also_half_a_batch() -> None:
    waiting = TaskInput([A, B], records_max=10)
    waiting.add(batch(A, [1, 5]))
    waiting.add(batch(B, [3]))
    assert taken(waiting) == ["a0", "b0"]
    waiting.clear()
    assert waiting.waiting == 0
    waiting.add(batch(A, [1, 5]))
    waiting.add(batch(B, [3]))
    assert taken(waiting) == ["a0", "b0"]


STAMPS = st.lists(st.integers(0, 6), max_size=12)


@given(STAMPS, STAMPS, st.integers(1, 5), st.integers(1, 5))
def test_the_order_does_not_depend_on_where_batches_end(
    ones: list[int], others: list[int], size: int, other_size: int
) -> None:
    orders = []
    for sizes in ((size, other_size), (1, 1), (99, 99)):
        waiting = TaskInput([A, B], records_max=100)
        for place, stamps, each in ((A, ones, sizes[0]), (B, others, sizes[1])):
            for start in range(0, len(stamps), each):
                waiting.add(batch(place, stamps[start : start + each], first=start))
            waiting.reached_end(place, len(stamps))
        orders.append(taken(waiting))
    assert orders[0] == orders[1] == orders[2]
    assert len(orders[0]) == len(ones) + len(others)
