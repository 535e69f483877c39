"""A standby becomes a restore that ends, and has nothing to restore where it was at the end."""

from __future__ import annotations

import pytest

from streamer.errors import KafkaUnavailableError
from streamer.kafka.changelog import Bounds, Fetched
from streamer.restore.asking import RETRY_MS
from streamer.restore.loop import AIM_MS
from streamer.restore.store import BULK_OFFSETS_MIN
from streamer.restore.task import RestoreState, TaskRestore
from tests.unit.restore.scripted import Bench, place, position, records, rows, stored


def following(bench: Bench, partition: int = 1, end: int = 10) -> TaskRestore:
    one = bench.follow(partition, Bounds(0, end))
    bench.hear(Fetched(records=[records(partition, range(end))]))
    return one


def test_one_that_is_caught_up_restores_nothing_and_ends_at_once(bench: Bench) -> None:
    one = following(bench)
    bench.clock.advance(AIM_MS // 2)
    bench.loop.promote(one)
    bench.turn()
    assert (bench.ended, one.error, one.state) == ([one], None, RestoreState.DONE)
    progress = one.progress()
    assert (progress.restored_records, progress.restored_bytes) == (0, 0)
    assert (progress.remaining_offsets, progress.eta_s) == (0, 0)
    assert (position(one), stored(one).as_of_ms) == (10, bench.clock.now_ms())
    assert (bench.second.reading, bench.consumer.reading) == ({}, {})
    assert bench.loop.is_idle


def test_rows_that_were_read_before_are_saved_and_not_counted(bench: Bench) -> None:
    one = following(bench)
    bench.hear(Fetched(records=[records(1, range(10, 14))]))
    bench.consumer.ends[place(1)] = Bounds(0, 14)
    bench.loop.promote(one)
    bench.turn()
    assert bench.ended == [one]
    assert (one.progress().restored_records, position(one), rows(one)) == (0, 14, 14)


def test_the_rest_is_read_by_the_consumer_of_restores_and_counted(bench: Bench) -> None:
    one = following(bench)
    bench.consumer.ends[place(1)] = Bounds(0, 21)
    one.is_asked_for = True
    assert one.progress().remaining_offsets == -1
    bench.loop.promote(one)
    bench.turn()
    assert (bench.consumer.reading, bench.second.reading) == ({place(1): 10}, {})
    progress = one.progress()
    assert (progress.restored_records, progress.remaining_offsets) == (0, 11)
    bench.turn(Fetched(records=[records(1, range(10, 20))]))
    assert bench.ended == []
    assert (one.progress().restored_records, one.progress().remaining_offsets) == (10, 1)
    # An open transaction ends, or the markers of the last one are passed.
    bench.turn(Fetched(at_end={place(1): 21}))
    assert bench.ended == [one]
    assert (position(one), rows(one), one.progress().remaining_offsets) == (21, 20, 0)


def test_the_ends_are_those_of_the_promotion_and_not_of_the_minute(bench: Bench) -> None:
    one = following(bench)
    bench.consumer.ends[place(1)] = Bounds(0, 12)
    bench.wait(AIM_MS)
    bench.consumer.ends[place(1)] = Bounds(0, 20)
    bench.loop.promote(one)
    bench.hear(Fetched(at_end={place(1): 12}))
    assert bench.ended == []
    assert one.progress().remaining_offsets == 8
    bench.turn(Fetched(at_end={place(1): 20}))
    assert bench.ended == [one]


@pytest.mark.slow
@pytest.mark.parametrize("behind", [1_000, BULK_OFFSETS_MIN])
def test_one_in_its_first_restore_goes_on_as_that(bench: Bench, behind: int) -> None:
    one = bench.follow(1, Bounds(0, 10 + behind))
    bench.hear(Fetched(records=[records(1, range(10))]))
    bench.consumer.ends[place(1)] = Bounds(0, 20 + behind)
    bench.loop.promote(one)
    bench.turn()
    assert (bench.consumer.reading, bench.second.reading) == ({place(1): 10}, {})
    rest = range(10, 20 + behind)
    bench.turn(Fetched(records=[records(1, rest)]))
    assert (bench.ended, one.error) == ([one], None)
    assert one.progress().restored_records == len(rest)
    assert (position(one), rows(one)) == (20 + behind, 20 + behind)


def test_one_that_has_not_begun_is_begun_as_a_restore(bench: Bench) -> None:
    one = bench.follow(1, KafkaUnavailableError("no broker"))
    bench.turn()
    bench.loop.promote(one)
    bench.consumer.ends[place(1)] = Bounds(0, 10)
    bench.wait(RETRY_MS)
    assert (bench.consumer.reading, bench.second.reading) == ({place(1): 0}, {})
    bench.turn(Fetched(records=[records(1, range(10))]))
    assert bench.ended == [one]
    assert one.progress().restored_records == 10


def test_brokers_that_are_away_are_waited_for(bench: Bench) -> None:
    one = following(bench)
    bench.consumer.ends[place(1)] = KafkaUnavailableError("no broker")
    bench.loop.promote(one)
    bench.turn()
    assert (bench.ended, one.state) == ([], RestoreState.READING)
    # It follows meanwhile: nobody knows the end yet.
    bench.hear(Fetched(records=[records(1, range(10, 12))]))
    bench.consumer.ends[place(1)] = Bounds(0, 12)
    bench.wait(RETRY_MS)
    assert bench.ended == [one]
    assert position(one) == 12


def test_many_are_asked_for_together_and_before_standbys(bench: Bench) -> None:
    standbys = [following(bench, number) for number in range(10)]
    bench.consumer.asked.clear()
    bench.clock.advance(AIM_MS)
    for one in standbys[:7]:
        bench.loop.promote(one)
    bench.turn()
    assert bench.consumer.asked == [7, 3]
    assert bench.ended == standbys[:7]


def test_a_promotion_waits_for_no_standby_that_has_much_to_read(bench: Bench) -> None:
    behind = bench.follow(1, Bounds(0, 1_000_000))
    one = following(bench, 2)
    bench.consumer.ends[place(2)] = Bounds(0, 11)
    bench.loop.promote(one)
    bench.second.script = [
        Fetched(records=[records(1, range(turn * 1_000, turn * 1_000 + 1_000))])
        for turn in range(5)
    ]
    bench.turn(Fetched(records=[records(2, range(10, 11))]))
    assert bench.ended == [one]
    assert behind.progress().restored_records == 1_000
    bench.second.script.clear()


def test_what_has_ended_or_is_a_restore_is_not_promoted(bench: Bench) -> None:
    restore, standby = bench.start(1, Bounds(0, 10)), following(bench, 2)
    bench.loop.cancel(standby)
    for one in (restore, standby):
        bench.loop.promote(one)
    bench.turn(Fetched(records=[records(1, range(10))]))
    assert bench.ended == [restore]
    assert restore.progress().restored_records == 10
