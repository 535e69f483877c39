"""Standbys: they follow their changelogs for ever, and what they cost beside restores."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.errors import (
    ChangelogTrimmedError,
    KafkaUnavailableError,
    StateOutdatedError,
    StreamerError,
)
from streamer.kafka.changelog import Bounds, Fetched
from streamer.restore import gathered
from streamer.restore.asking import RETRY_MS, STANDBY_RETRY_MS
from streamer.restore.gathered import FLUSH_MS
from streamer.restore.loop import AIM_MS, LOOK_MS
from streamer.restore.readers import FETCH_MS, FETCH_RECORDS, FEW_RECORDS
from streamer.restore.store import BULK_OFFSETS_MIN, HEARD_MS
from streamer.restore.task import RestoreState, TaskRestore
from tests.unit.restore.scripted import (
    MIB,
    RETENTION_MS,
    Bench,
    following,
    place,
    position,
    records,
    rows,
    stored,
)


def test_a_standby_reads_on_beyond_the_end_and_never_finishes(bench: Bench) -> None:
    one = bench.follow(1, Bounds(0, 10))
    bench.turn()
    assert (one.state, one.progress().remaining_offsets) == (RestoreState.READING, 10)
    assert bench.second.reading == {place(1): 0}
    bench.hear(Fetched(records=[records(1, range(9))], at_end={place(1): 10}))
    assert (one.state, position(one), rows(one)) == (RestoreState.FOLLOWING, 10, 9)
    bench.hear(Fetched(records=[records(1, range(10, 30))]))
    bench.wait(FLUSH_MS)
    assert (position(one), rows(one)) == (30, 29)
    assert (bench.ended, bench.consumer.reading) == ([], {})
    assert not bench.loop.is_idle


def test_one_without_anything_to_restore_follows_too(bench: Bench) -> None:
    one = bench.follow(1, Bounds(0, 0))
    bench.turn()
    assert (one.state, bench.second.reading) == (RestoreState.FOLLOWING, {place(1): 0})


def test_rows_wait_for_others_and_are_written_together_with_their_position(bench: Bench) -> None:
    one = following(bench)
    batches = count_batches(one)
    for offset in range(10, 20):
        bench.hear(Fetched(records=[records(1, range(offset, offset + 1))]))
        bench.clock.advance(FLUSH_MS // 10 - 1)
    assert (batches(), position(one)) == (0, 10)
    bench.wait(80)
    assert (batches(), position(one), rows(one)) == (1, 20, 20)
    # The next ones wait as long again.
    bench.hear(Fetched(records=[records(1, range(20, 21))]))
    assert position(one) == 20
    bench.wait(FLUSH_MS)
    assert position(one) == 21


def count_batches(*standbys: TaskRestore) -> Any:
    """How often their databases are written from now on."""
    count = 0
    for one in standbys:
        database: Any = one.database
        write = database.write

        def counted(*given: Any, write: Any = write) -> None:
            nonlocal count
            count += 1
            write(*given)

        database.write = counted
    return lambda: count


@pytest.mark.slow
def test_idle_standbys_are_not_written_and_cost_a_turn_nothing(bench: Bench) -> None:
    standbys = [following(bench, number) for number in range(20)]
    batches = count_batches(*standbys)
    asked = len(bench.consumer.asked)
    for one in standbys:
        one.stores = Untouched(one.stores)
    for _ in range(AIM_MS // LOOK_MS - 1):
        bench.wait(LOOK_MS)
    assert (batches(), len(bench.consumer.asked)) == (0, asked)


class Untouched(dict[Any, Any]):
    """Nobody looks at what a task has."""

    def values(self) -> Any:
        raise AssertionError("looked at")

    items = __iter__ = values


@pytest.mark.slow
def test_two_hundred_standbys_keep_to_the_memory_and_are_not_written_for_each_record(
    bench: Bench,
) -> None:
    standbys = [following(bench, number) for number in range(200)]
    batches = count_batches(*standbys)
    held = []
    for turn in range(20):
        offsets = range(10 + turn * 5, 15 + turn * 5)
        brought = [records(number, offsets, 100) for number in range(200)]
        bench.hear(Fetched(records=brought), memory_bytes=MIB)
        held.append(sum(one.memory_bytes for each in standbys for one in each.stores.values()))
        bench.clock.advance(100)
    bench.wait(FLUSH_MS)
    assert max(held) <= MIB
    assert {position(one) for one in standbys} == {110}
    assert batches() <= 200 * 6, "of 20,000 records, where the memory is for 3,600"


def test_rows_of_a_standby_leave_the_memory_before_those_that_are_waited_for(bench: Bench) -> None:
    restore = bench.start(1, Bounds(0, 100_000))
    standby = bench.follow(2, Bounds(0, 100_000))
    bench.hear(Fetched(records=[records(2, range(100), 1_000)]))
    assert position(standby) == 0, "much is still to come, so rows are gathered"
    bench.turn(Fetched(records=[records(1, range(850), 1_000)]))
    assert (position(restore), position(standby)) == (850, 100)
    bench.hear(Fetched(records=[records(2, range(100, 700), 1_000)]))
    bench.turn(Fetched(records=[records(1, range(850, 1_150), 1_000)]))
    assert (position(restore), position(standby)) == (850, 700)


def test_standbys_gather_no_more_than_is_soon_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered, "STANDBY_BYTES_MAX", MIB // 4)
    restore = bench.start(1, Bounds(0, 100_000))
    standbys = [bench.follow(number, Bounds(0, 100_000)) for number in (2, 3)]
    bench.turn(Fetched(records=[records(1, range(500), 1_000)]))
    bench.hear(Fetched(records=[records(2, range(100), 1_000), records(3, range(200), 1_000)]))
    assert [position(one) for one in (restore, *standbys)] == [0, 0, 200]


def test_a_standby_behind_gathers_until_the_part_that_can_be_read_is_over(bench: Bench) -> None:
    end = BULK_OFFSETS_MIN + 100
    one = bench.follow(1, Bounds(0, end))
    bench.hear(Fetched(records=[records(1, range(500))]))
    bench.wait(10 * FLUSH_MS)
    assert position(one) == 0
    # The rest is in an open transaction.
    bench.hear(Fetched(at_end={place(1): 600}))
    assert (position(one), one.state) == (600, RestoreState.READING)
    assert one.lag() == end - 600


def test_lag_is_what_the_fetches_told_less_what_was_read(bench: Bench) -> None:
    one = bench.follow(1, KafkaUnavailableError("no broker"))
    bench.turn()
    assert one.lag() is None
    bench.consumer.ends[place(1)] = Bounds(0, 10)
    bench.wait(STANDBY_RETRY_MS)
    assert one.lag() == 10
    bench.hear(Fetched(records=[records(1, range(10))]))
    assert one.lag() == 0
    bench.second.heard = {place(1): 25}
    bench.wait(LOOK_MS)
    assert (one.lag(), one.progress().remaining_offsets) == (15, 15)
    bench.hear(Fetched(records=[records(1, range(10, 24))]))
    assert one.lag() == 1, "the marker"
    bench.hear(Fetched(at_end={place(1): 25}))
    assert (one.lag(), one.progress().eta_s) == (0, 0)
    # Brokers are away, or it is another client: what was known last.
    bench.second.heard = {}
    bench.wait(LOOK_MS)
    assert one.lag() == 0
    bench.loop.cancel(one)
    assert one.lag() is None


def test_an_end_that_an_older_fetch_told_takes_nothing_from_a_newer_one(bench: Bench) -> None:
    one = bench.follow(1, Bounds(0, 10))
    bench.second.heard = {place(1): 4}
    bench.turn()
    bench.wait(LOOK_MS)
    assert one.lag() == 10


# -- age -------------------------------------------------------------------------------------------


def test_a_standby_grows_no_older_than_a_minute_by_one_small_write(bench: Bench) -> None:
    one = following(bench)
    began_ms = stored(one).as_of_ms
    batches = count_batches(one)
    for _ in range(10):
        bench.wait(AIM_MS // 10)
    assert stored(one).as_of_ms == began_ms + AIM_MS
    assert batches() == 1
    for _ in range(9):
        bench.wait(AIM_MS // 10)
    assert batches() == 1


@pytest.mark.slow
def test_all_standbys_are_asked_for_at_once(bench: Bench) -> None:
    for number in range(30):
        bench.follow(number, Bounds(0, 0))
    bench.turn()
    bench.wait(AIM_MS)
    assert bench.consumer.asked == [30, 30]


def test_it_is_current_only_when_it_stands_where_the_end_was(bench: Bench) -> None:
    one = following(bench)
    began_ms = stored(one).as_of_ms
    bench.consumer.ends[place(1)] = Bounds(0, 30)
    bench.wait(AIM_MS)
    asked_ms = bench.clock.now_ms()
    bench.hear(Fetched(records=[records(1, range(10, 29))]))
    bench.wait(FLUSH_MS)
    assert (position(one), stored(one).as_of_ms) == (29, began_ms)
    bench.hear(Fetched(at_end={place(1): 30}))
    assert (position(one), stored(one).as_of_ms) == (30, asked_ms)


def test_one_that_hears_of_no_end_any_more_is_not_current(bench: Bench) -> None:
    """Whoever is cut off is at the end of what it knows for ever."""
    one = following(bench)
    bench.hear(Fetched(at_end={place(1): 10}))
    bench.consumer.ends[place(1)] = KafkaUnavailableError("no answer")
    told = []
    while (age_ms := one.age_ms(bench.clock.monotonic_ms()) or 0) < 2 * HEARD_MS:
        told.append((age_ms < HEARD_MS, one.is_current(bench.clock.monotonic_ms())))
        bench.wait(AIM_MS // 4)
    assert told
    assert all(is_heard == is_current for is_heard, is_current in told)
    assert not told[-1][1]
    bench.consumer.ends[place(1)] = Bounds(0, 10)
    bench.wait(AIM_MS)
    assert one.is_current(bench.clock.monotonic_ms())
    assert one.age_ms(bench.clock.monotonic_ms()) == 0


def test_one_that_does_not_get_to_the_end_of_a_minute_ago_is_not_current(bench: Bench) -> None:
    one = following(bench)
    bench.hear(Fetched(at_end={place(1): 10}))
    bench.consumer.ends[place(1)] = Bounds(0, 30)
    bench.wait(AIM_MS)
    # The rest may be of a transaction that is open.
    assert one.is_current(bench.clock.monotonic_ms())
    bench.wait(AIM_MS)
    assert not one.is_current(bench.clock.monotonic_ms())
    bench.hear(Fetched(records=[records(1, range(10, 29))]), Fetched(at_end={place(1): 30}))
    assert one.is_current(bench.clock.monotonic_ms())


def test_after_weeks_it_is_continued_by_the_next_process(bench: Bench) -> None:
    one = following(bench)
    for _ in range(3 * RETENTION_MS // AIM_MS):
        bench.wait(AIM_MS)
    assert bench.ended == []
    bench.loop.cancel(one)
    again = bench.follow(1, Bounds(0, 20))
    bench.turn()
    assert (again.state, again.error, bench.second.reading) == (
        RestoreState.READING,
        None,
        {place(1): 10},
    )


@pytest.mark.parametrize(("start", "error"), [(0, StateOutdatedError), (5, ChangelogTrimmedError)])
@pytest.mark.parametrize("promoted", [False, True])
def test_one_that_was_cut_off_for_too_long_takes_in_nothing_more(
    bench: Bench, start: int, error: type[StreamerError], promoted: bool
) -> None:
    one = following(bench)
    bench.consumer.ends[place(1)] = Bounds(start, 10)
    bench.wait(AIM_MS)
    bench.consumer.ends[place(1)] = KafkaUnavailableError("no broker")
    bench.wait(RETENTION_MS + 1)
    if promoted:
        bench.loop.promote(one)
    bench.hear(Fetched(records=[records(1, range(10, 20))]))
    assert bench.ended == [one]
    assert type(one.error) is error
    assert (position(one), rows(one), bench.second.reading) == (10, 10, {})


# -- beside restores -------------------------------------------------------------------------------


def test_standbys_get_a_part_of_what_is_read_beside_a_restore_at_full_speed(bench: Bench) -> None:
    following(bench)
    bench.start(2, Bounds(0, 100_000))
    bench.turn()
    assert bench.consumer.fetches[-1] == (FETCH_RECORDS, 0), "one with nothing to read ends now"
    bench.turn()
    assert bench.consumer.fetches[-1] == (FETCH_RECORDS, FETCH_MS)
    assert bench.second.fetches[-1] == (FETCH_RECORDS, 0)
    bench.turn(Fetched(records=[records(2, range(FETCH_RECORDS))]))
    assert bench.second.fetches[-1] == (FEW_RECORDS, 0)
    # A restore that waits for the end of a transaction holds up no standby.
    bench.hear(Fetched(records=[records(1, range(10, 10 + FETCH_RECORDS))]))
    bench.turn()
    assert bench.consumer.fetches[-1] == (FETCH_RECORDS, 0)


def test_alone_they_wait_and_the_other_consumer_is_still_served(bench: Bench) -> None:
    following(bench)
    bench.turn()
    assert bench.consumer.fetches[-1] == (FETCH_RECORDS, 0)
    assert bench.second.fetches[-1] == (FETCH_RECORDS, FETCH_MS)


def test_a_standby_that_cannot_be_asked_for_keeps_no_restore_waiting(bench: Bench) -> None:
    stuck = bench.follow(1, KafkaUnavailableError("no leader"))
    other = bench.follow(2, Bounds(0, 0))
    bench.turn()
    one = bench.start(3, Bounds(0, 0))
    bench.turn()
    assert bench.ended == [one]
    assert bench.consumer.asked == [2, 1]
    bench.wait(RETRY_MS)
    assert bench.consumer.asked == [2, 1], "asking holds up everything for seconds"
    # Nobody knows yet which of them it was; then the others go first.
    bench.wait(STANDBY_RETRY_MS)
    bench.wait(STANDBY_RETRY_MS)
    assert (other.state, stuck.state) == (RestoreState.FOLLOWING, RestoreState.WAITING)
    assert bench.consumer.asked == [2, 1, 1, 1, 1]
    bench.consumer.ends[place(1)] = Bounds(0, 0)
    bench.wait(STANDBY_RETRY_MS)
    assert stuck.state is RestoreState.FOLLOWING


def test_one_whose_age_cannot_be_told_follows_on_and_is_asked_for_in_a_minute(
    bench: Bench,
) -> None:
    one = following(bench)
    began_ms = stored(one).as_of_ms
    bench.consumer.ends[place(1)] = KafkaUnavailableError("no leader")
    asked = len(bench.consumer.asked)
    for _ in range(9):
        bench.wait(AIM_MS // 6)
    assert len(bench.consumer.asked) == asked + 1
    assert (one.state, stored(one).as_of_ms) == (RestoreState.FOLLOWING, began_ms)
    bench.consumer.ends[place(1)] = Bounds(0, 10)
    bench.wait(AIM_MS)
    assert stored(one).as_of_ms == bench.clock.now_ms()


def test_what_is_durable_is_what_was_saved_and_no_more(bench: Bench) -> None:
    one = bench.follow(1, Bounds(0, 10))
    assert one.durable() == {}, "before it has begun, nothing is known"
    bench.turn()
    assert one.durable() == {"plain": 0}
    bench.hear(Fetched(records=[records(1, range(9))], at_end={place(1): 10}))
    bench.hear(Fetched(records=[records(1, range(10, 30))]))
    assert one.durable() == {"plain": position(one)} == {"plain": 10}
    bench.wait(FLUSH_MS)
    assert one.durable() == {"plain": 30}
