"""Where the tasks of the next layout read on, and what they know of their parents."""

from __future__ import annotations

import pytest

from streamer.errors import OperationRefusedError, UnfinishedError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import Committed
from streamer.operations.repartition.positions import (
    check_positions,
    merged,
    next_positions,
    read_by,
    read_by_all,
    still_closing,
)
from streamer.store.closing import Closing, Passed
from streamer.task.metadata import Metadata, input_mark, store_mark
from streamer.topology.stores import StoreKind
from tests.unit.operations.repartition.rig import INPUT, OWN, asked, final

NEXT = f"{OWN}.layout-2"


def committed(times: dict[int, int]) -> dict[TopicPartition, Committed]:
    """Of both subtopologies; partition p stands at 10 p, its task's time is as given."""
    return {
        TopicPartition(topic, partition): Committed(
            10 * partition, Metadata(time, frozenset({input_mark(topic), "5tore"})).encode()
        )
        for topic in (INPUT, OWN)
        for partition, time in times.items()
    }


def told(found: dict[TopicPartition, Committed], topic: str) -> dict[int, tuple[int, int]]:
    """By partition, the position and the stream time beside it."""
    return {
        place.partition: (one.position, Metadata.decode(one.metadata).stream_time_ms)
        for place, one in found.items()
        if place.topic == topic
    }


def test_tasks_that_become_one_go_on_at_the_latest_of_their_times() -> None:
    found = next_positions(asked({0: 2, 1: 2}), committed({0: 5, 1: 9, 2: 7, 3: 1}))
    assert told(found, INPUT) == {0: (0, 7), 2: (20, 7), 1: (10, 9), 3: (30, 9)}
    assert told(found, NEXT) == {0: (0, 7), 1: (0, 9)}
    assert not told(found, OWN), "nobody reads it any more"


def test_a_new_topic_of_its_own_is_known_and_the_former_one_is_forgotten() -> None:
    found = next_positions(asked({1: 2}), committed(dict.fromkeys(range(4), 3)))
    (marks,) = {Metadata.decode(one.metadata).marks for one in found.values()}
    assert marks == {input_mark(NEXT), "5tore"}
    assert {place.topic for place in found} == {NEXT}


def test_a_number_that_shares_no_divisor_has_all_tasks_for_parents() -> None:
    found = next_positions(asked({1: 3}), committed({0: 5, 1: 9, 2: 7, 3: 1}))
    assert told(found, NEXT) == {task: (0, 9) for task in range(3)}
    many = next_positions(asked({1: 8}), committed({0: 5, 1: 9, 2: 7, 3: 1}))
    assert told(many, NEXT) == {task: (0, [5, 9, 7, 1][task % 4]) for task in range(8)}


def test_a_position_that_is_missing_is_named() -> None:
    known = committed({0: 5, 1: 9, 3: 1})
    with pytest.raises(OperationRefusedError, match="has committed no position for sales/2"):
        check_positions(asked({0: 2}), known)
    check_positions(asked({1: 2}), known)  # A topic of its own is read from its begin.


def test_each_partition_of_a_moved_part_is_looked_at_once() -> None:
    places = read_by(asked({0: 2, 1: 2}))
    assert sorted(places) == sorted(
        TopicPartition(topic, partition) for topic in (INPUT, OWN) for partition in range(4)
    )


def test_times_of_stores_are_the_latest_of_those_that_have_them() -> None:
    one = Metadata(100, frozenset("ab"), {"a": 40})
    two = Metadata(70, frozenset("ac"), {"c": 10})
    found = merged([one, two], [])
    assert found.stream_time_ms == 100
    assert {mark: found.time_of(mark) for mark in "abc"} == {"a": 70, "b": 100, "c": 10}
    assert Metadata.decode(found.encode()) == Metadata(
        100, found.marks, {"a": 70, "c": 10}, found.closings
    )


def test_whose_results_are_left_to_pass_on_is_known_of_all_subtopologies() -> None:
    one = asked({0: 2})
    closing = Metadata(100, frozenset("a"), {}, {"a": Closing(50, 3)}).encode()
    known = committed(dict.fromkeys(range(4), 100))
    assert still_closing(one.before, known) == []
    known[TopicPartition(OWN, 2)] = Committed(1, closing)
    assert 1 not in one.moved
    assert still_closing(one.before, known) == [TaskId(1, 2)]
    assert {TopicPartition(OWN, 2), TopicPartition(INPUT, 3)} <= set(read_by_all(one.before))


def test_what_is_left_to_pass_on_holds_the_switch() -> None:
    left = Metadata(100, frozenset("a"), {}, {"a": Closing(50, 3)})
    with pytest.raises(UnfinishedError, match="left to pass on"):
        merged([left], [])
    # An older word of another partition, which said that something was left then.
    later = Metadata(120, frozenset("a"))
    assert merged([left, later], []).closings == {}


def test_what_each_parent_has_passed_on_as_final_is_kept_where_they_differ() -> None:
    """Windows of a second: at 9,500 all that begin before 8,501 have closed."""
    one = asked({0: 2}, final())
    mark = store_mark("totals", StoreKind.WINDOW)
    times = {0: 9_500, 1: 7_000, 2: 4_200, 3: 7_000}
    known = {
        TopicPartition(INPUT, partition): Committed(
            1, Metadata(time, frozenset({input_mark(INPUT), mark})).encode()
        )
        for partition, time in times.items()
    }
    found = {
        place.partition: Metadata.decode(one.metadata)
        for place, one in next_positions(one, known).items()
    }
    assert found[0] == found[2]
    assert found[0].passed == {mark: Passed(4, "murmur2", {0: 9_500, 2: 4_200})}
    assert found[0].passed[mark].before_ms(999) == {0: 8_501, 2: 3_201}
    assert found[1].stream_time_ms == 7_000
    assert found[1].passed == {}, "they had come as far as each other"


def test_a_parent_that_has_closed_nothing_yet_has_passed_nothing_on() -> None:
    one = asked({0: 2}, final())
    mark = store_mark("totals", StoreKind.WINDOW)
    known = {
        TopicPartition(INPUT, partition): Committed(
            1,
            Metadata(
                9_500 if partition == 0 else -1, frozenset({input_mark(INPUT), mark})
            ).encode(),
        )
        for partition in range(4)
    }
    found = Metadata.decode(next_positions(one, known)[TopicPartition(INPUT, 2)].metadata)
    assert found.passed == {mark: Passed(4, "murmur2", {0: 9_500, 2: -1})}
    assert found.passed[mark].before_ms(999)[2] == 0


def test_what_one_parent_has_left_holds_the_switch_whatever_the_others_have_done() -> None:
    one = asked({0: 2}, final())
    mark = store_mark("totals", StoreKind.WINDOW)
    marks = frozenset({input_mark(INPUT), mark})
    known = {
        TopicPartition(INPUT, partition): Committed(1, Metadata(9_500, marks).encode())
        for partition in range(4)
    }
    lagging = TopicPartition(INPUT, 2)
    for left in (
        Metadata(7_000, marks, closings={mark: Closing(3_000, 1)}),
        Metadata(7_000, marks, passed={mark: Passed(8, "murmur2", {2: 5_000, 6: 7_000})}),
    ):
        with pytest.raises(UnfinishedError, match="left to pass on"):
            next_positions(one, known | {lagging: Committed(1, left.encode())})
    with pytest.raises(UnfinishedError, match="was set by hand"):
        next_positions(one, known | {lagging: Committed(1, "")})
    assert next_positions(one, known)
