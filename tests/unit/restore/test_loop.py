"""The restoring thread's work with a consumer that brings what the test tells it to."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.errors import (
    ChangelogTrimmedError,
    KafkaUnavailableError,
    StreamerError,
    TaskCorruptedError,
    TopicMissingError,
)
from streamer.kafka.changelog import Bounds, Fetched
from streamer.restore.asking import RETRY_MS
from streamer.restore.task import RestoreState, TaskRestore
from tests.unit.restore.scripted import Bench, place, position, records


def test_tasks_end_each_at_its_own_end(bench: Bench) -> None:
    one, two = bench.start(1, Bounds(0, 10)), bench.start(2, Bounds(0, 20))
    bench.turn(Fetched(records=[records(1, range(10)), records(2, range(10))]))
    assert bench.ended == [one]
    assert bench.consumer.reading == {place(2): 0}
    assert (position(one), position(two)) == (10, 10)
    bench.turn(Fetched(records=[records(2, range(10, 19))], at_end={place(2): 20}))
    assert bench.ended == [one, two]
    assert position(two) == 20
    assert bench.loop.is_idle
    bench.loop.close()


def test_a_task_with_nothing_to_restore_ends_at_once(bench: Bench) -> None:
    one = bench.start(1, Bounds(0, 0))
    bench.turn()
    assert (bench.ended, one.error, one.state) == ([one], None, RestoreState.DONE)
    assert bench.consumer.reading == {}


def test_a_failure_is_that_tasks_alone(bench: Bench) -> None:
    missing = bench.start(1, TopicMissingError("no such topic"))
    wrong = bench.start(2, Bounds(3, 9))
    torn = bench.start(3, Bounds(0, 9))
    good = bench.start(4, Bounds(0, 9))
    bench.turn(
        Fetched(
            records=[records(4, range(5)), records(3, range(2))],
            failures={place(3): TaskCorruptedError("bad record")},
        )
    )
    assert bench.ended == [missing, wrong, torn]
    assert [type(one.error) for one in bench.ended] == [
        TopicMissingError,
        ChangelogTrimmedError,
        TaskCorruptedError,
    ]
    assert bench.consumer.reading == {place(4): 0}
    # What comes late for one that has ended is passed over.
    bench.turn(Fetched(records=[records(4, range(5, 9)), records(3, range(2, 9))]))
    assert bench.ended[-1] is good
    assert good.error is None
    assert position(torn) == 2


def test_a_closed_database_fails_its_restore_alone(bench: Bench) -> None:
    closed, good = bench.start(1, Bounds(0, 4)), bench.start(2, Bounds(0, 4))
    bench.turn()
    closed.database.close()
    bench.turn(Fetched(records=[records(1, range(4)), records(2, range(4))]))
    assert bench.ended == [closed, good]
    assert closed.error is not None
    assert good.error is None


def test_brokers_that_are_away_are_waited_for(bench: Bench) -> None:
    one = bench.start(1, KafkaUnavailableError("no broker"))
    bench.turn()
    bench.consumer.ends[place(1)] = Bounds(0, 0)
    bench.turn()
    assert one.state is RestoreState.WAITING
    bench.clock.advance(RETRY_MS)
    bench.turn()
    assert bench.ended == [one]


def test_a_cancelled_restore_is_saved_and_not_reported(bench: Bench) -> None:
    one = bench.start(1, Bounds(0, 100_000))
    bench.turn(Fetched(records=[records(1, range(500))]))
    assert position(one) == 0, "rows of a bulk restore are gathered first"
    bench.loop.cancel(one)
    bench.loop.cancel(one)
    assert (position(one), one.state) == (500, RestoreState.CANCELLED)
    assert len(list(one.database.scan("plain", b"", None))) == 500
    assert (bench.ended, bench.consumer.reading) == ([], {})


def test_gathered_rows_stay_within_their_memory_and_the_largest_go_first(bench: Bench) -> None:
    small, large = bench.start(1, Bounds(0, 100_000)), bench.start(2, Bounds(0, 100_000))
    bench.turn(Fetched(records=[records(1, range(100)), records(2, range(500), 1_000)]))
    assert (position(small), position(large)) == (0, 0)
    bench.turn(Fetched(records=[records(2, range(500, 1_000), 1_000)]))
    assert (position(small), position(large)) == (0, 1_000)


def test_rows_that_replace_each_other_are_gathered_on(bench: Bench) -> None:
    one = bench.start(1, Bounds(0, 100_000))
    for turn in range(20):
        again = records(1, range(200), 1_000)
        shifted = again._replace(offsets=list(range(turn * 200, turn * 200 + 200)))
        bench.turn(Fetched(records=[shifted]))
    assert position(one) == 0
    assert len(one.stores[place(1)].rows) == 200
    bench.loop.cancel(one)
    assert position(one) == 4_000


def out_of_range(bench: Bench, then: Bounds | StreamerError) -> TaskRestore:
    one = bench.start(1, Bounds(0, 100))
    bench.turn(Fetched(records=[records(1, range(10))]))
    bench.consumer.ends[place(1)] = then
    bench.turn(Fetched(out_of_range={place(1)}))
    return one


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (Bounds(50, 100), "position 10, but changelog .* begins at 50"),
        (Bounds(0, 5), "position 10 of changelog .* ends at 5"),
    ],
)
def test_a_position_that_got_lost_while_reading_is_refused_with_both(
    bench: Bench, then: Bounds, message: str
) -> None:
    one = out_of_range(bench, then)
    assert bench.ended == [one]
    with pytest.raises(TaskCorruptedError, match=message):
        raise one.error or AssertionError
    assert position(one) == 10
    assert bench.consumer.reading == {}


@pytest.mark.parametrize("then", [Bounds(0, 100), KafkaUnavailableError("no broker")])
def test_a_broker_that_was_behind_is_asked_again(bench: Bench, then: Any) -> None:
    one = out_of_range(bench, then)
    assert bench.ended == []
    assert bench.consumer.reading == {place(1): 10}
    bench.turn(Fetched(records=[records(1, range(10, 100))]))
    assert bench.ended == [one]


def test_a_broken_consumer_fails_all(bench: Bench) -> None:
    restores = [bench.start(1, Bounds(0, 9)), bench.start(2, Bounds(0, 9))]
    bench.turn()
    error = StreamerError("the client is broken")
    bench.loop.fail_all(error)
    assert bench.ended == restores
    assert all(one.error is error for one in restores)
    assert bench.loop.is_idle
