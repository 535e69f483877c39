"""The order in which a task takes the records of several partitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.ids import TopicPartition
from streamer.record import RawBatch
from streamer.task.input import RECORD_OVERHEAD_BYTES, Crowd, TaskInput, crowded

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


def test_a_partition_that_was_not_read_for_a_while_is_waited_for_again() -> None:
    """Something earlier may have come meanwhile."""
    waiting = TaskInput([A, B], records_max=10)
    waiting.reached_end(A, 0)
    waiting.reached_end(B, 0)
    waiting.forget_ends([A, B])
    waiting.add(batch(A, [2]))
    assert taken(waiting) == []
    waiting.add(batch(B, [1]))
    waiting.reached_end(B, 1)
    assert taken(waiting) == ["b0", "a0"]


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


def test_what_waits_is_known_in_bytes_until_its_batch_has_gone() -> None:
    waiting = TaskInput([A, B], records_max=10)
    assert waiting.held_bytes() == {}
    waiting.add(RawBatch("a", 0, [b"key", None], [b"x" * 1_000, None], [1, 9], [0, 1]))
    heavy = 1_003 + 2 * RECORD_OVERHEAD_BYTES
    assert waiting.held_bytes() == {A: heavy}
    waiting.add(batch(A, [10], first=2))
    light = 4 + RECORD_OVERHEAD_BYTES
    assert waiting.held_bytes() == {A: heavy + light}
    waiting.add(batch(B, [5]))
    assert taken(waiting) == ["key", "b0"]
    # One record of the batch is left, and so are the columns of all of it.
    assert waiting.held_bytes() == {A: heavy + light}
    waiting.add(batch(B, [9], first=1))
    for _ in range(2):
        taken(waiting)
    assert waiting.held_bytes() == {A: light}
    waiting.clear()
    assert waiting.held_bytes() == {}


def test_where_nothing_can_wait_nothing_is_weighed() -> None:
    waiting = TaskInput([A], records_max=10)
    waiting.add(batch(A, [1]))
    assert waiting.held_bytes() == {}


C, D = TopicPartition("c", 0), TopicPartition("d", 0)


def test_the_fullest_partition_is_paused_first_and_at_the_limit_all_that_hold_anything() -> None:
    assert crowded({A: 30, B: 20}, set(), 100) == set()
    assert crowded({A: 40, B: 15, C: 5}, set(), 100) == {A}
    assert crowded({A: 40, B: 35, C: 5}, set(), 100) == {A, B}
    assert crowded({A: 60, B: 35, C: 5, D: 0}, set(), 100) == {A, B, C}


def test_a_paused_partition_goes_on_when_it_is_empty_or_most_of_all_has_gone() -> None:
    assert crowded({A: 20, B: 10}, {A}, 100) == {A}
    assert crowded({B: 30}, {A}, 100) == set()
    assert crowded({A: 20, B: 5}, {A}, 100) == set()


def test_the_inputs_of_all_tasks_share_the_memory() -> None:
    first = TaskInput([A, B], records_max=2)
    second = TaskInput([C, D], records_max=9)
    crowd = Crowd()
    first.add(batch(A, [1, 2, 3]))
    second.add(RawBatch("c", 0, [None], [b"x" * 50_000], [1], [0]))
    assert crowd.full([first, second], 1_000_000) == {A}
    assert crowd.full([first, second], 60_000) == {A, C}
    second.clear()
    assert crowd.full([first, second], 60_000) == {A}


PLACES = [TopicPartition("t", number) for number in range(5)]
STEPS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20), st.booleans()), max_size=200)


@given(STEPS)
def test_what_waits_outgrows_its_memory_by_one_fetch_and_nobody_waits_in_vain(
    steps: list[tuple[int, int, bool]],
) -> None:
    held = dict.fromkeys(PLACES, 0)
    paused: set[TopicPartition] = set()
    for number, size, is_taken in steps:
        place = PLACES[number]
        if is_taken:
            held[place] = 0
        elif place not in paused:
            held[place] += size
        paused = crowded(held, paused, 100)
        assert sum(held.values()) < 100 + 20
        assert all(held[one] for one in paused)


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


def test_what_is_gated_waits_for_its_release_and_nobody_for_it() -> None:
    waiting = TaskInput([A, B], records_max=2, gated=[B])
    waiting.add(batch(A, [5]))
    waiting.add(batch(B, [1, 2]))
    waiting.reached_end(B, 2)
    waiting.add(batch(B, [3], first=2))
    waiting.reached_end(B, 3)
    assert taken(waiting) == ["a0"]
    assert waiting.held(B) == 2
    assert waiting.full == {B}
    assert waiting.held_bytes()[B] > 3 * RECORD_OVERHEAD_BYTES
    waiting.reached_end(A, 1)
    assert waiting.ends() == {A: 1}  # what is held is not handed out
    waiting.release(B, 1)
    assert taken(waiting) == ["b0", "b1"]
    waiting.open(B)
    assert taken(waiting) == ["b2"]
    assert waiting.ends() == {A: 1, B: 3}
    waiting.add(batch(B, [4], first=3))
    assert taken(waiting) == ["b3"]


def test_what_is_held_is_forgotten_with_the_rest() -> None:
    waiting = TaskInput([A, B], records_max=2, gated=[B])
    waiting.add(batch(B, [1, 2]))
    waiting.clear()
    assert waiting.held(B) == 0
    assert waiting.waiting == 0


# -- limits ------------------------------------------------------------------------------------


def test_nothing_at_the_limit_or_behind_it_is_handed_out() -> None:
    waiting = TaskInput([A], records_max=10)
    waiting.limit({A: 0})
    waiting.add(batch(A, [1, 2, 3]))
    assert taken(waiting) == []
    assert waiting.ends() == {A: 0}
    waiting.limit({A: 2})
    assert waiting.ends() == {}, "there is something to be done before it"
    assert taken(waiting) == ["a0", "a1"]
    assert (waiting.ends(), waiting.waiting) == ({A: 2}, 1)
    waiting.add(batch(A, [4], first=3))
    waiting.reached_end(A, 9)
    waiting.limit({A: 7})
    assert taken(waiting) == ["a2", "a3"]
    assert waiting.ends() == {A: 7}, "behind the last record there may be markers"
    waiting.limit({A: 12})
    assert waiting.ends() == {A: 9}


def test_what_waits_for_its_limit_is_weighed_and_paused() -> None:
    waiting = TaskInput([A], records_max=2)
    waiting.limit({A: 1})
    waiting.add(batch(A, [1, 2, 3, 4]))
    assert taken(waiting) == ["a0"]
    assert waiting.full == {A}
    assert waiting.held_bytes()[A] > 0


def test_a_partition_at_its_limit_is_waited_for_by_nobody() -> None:
    """Who is followed had done what lies before both limits, whatever is behind them."""
    waiting = TaskInput([A, B], records_max=10, idle_ms=1_000)
    waiting.limit({A: 1, B: 2})
    waiting.add(batch(A, [1, 5]))
    waiting.add(batch(B, [2, 9]))
    assert taken(waiting) == ["a0", "b0", "b1"]
    assert waiting.ends() == {A: 1, B: 2}


def test_what_lies_before_a_limit_is_waited_for_however_long_it_takes() -> None:
    waiting = TaskInput([A, B], records_max=10)
    waiting.limit({A: 2, B: 1})
    waiting.add(batch(B, [7]))
    waiting.reached_end(A, 0)
    assert taken(waiting, now_ms=10**9) == []
    waiting.add(batch(A, [3, 4]))
    assert taken(waiting) == ["a0", "a1", "b0"]


stamps = st.lists(st.integers(0, 20), min_size=1, max_size=12)


@given(stamps, stamps, st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6))
def test_limits_that_move_part_what_is_handed_out_as_commits_did(
    first: list[int], second: list[int], steps: list[tuple[int, int]]
) -> None:
    """Between two moves of the limits everything before the first comes before all behind it."""
    waiting = TaskInput([A, B], records_max=100)
    waiting.limit({A: 0, B: 0})
    waiting.add(batch(A, first))
    waiting.add(batch(B, second))
    waiting.reached_end(A, len(first))
    waiting.reached_end(B, len(second))
    at = {A: 0, B: 0}
    for limits in [*steps, (len(first), len(second))]:
        now = {
            A: max(at[A], min(limits[0], len(first))),
            B: max(at[B], min(limits[1], len(second))),
        }
        waiting.limit(now)
        wanted = {f"a{row}" for row in range(at[A], now[A])}
        wanted |= {f"b{row}" for row in range(at[B], now[B])}
        found = taken(waiting)
        assert set(found) == wanted
        assert len(found) == len(wanted)
        assert waiting.ends() == now
        at = now
