"""Standbys that fail, are refused or cancelled: reported, and nothing is lost."""

from __future__ import annotations

import pytest

from streamer import failpoints
from streamer.changelog.format import PASSED, Positions
from streamer.errors import (
    TaskCorruptedError,
    TopicMissingError,
)
from streamer.failpoints import InjectedError
from streamer.ids import TopicPartition
from streamer.kafka.changelog import Bounds, Fetched, Records
from streamer.restore.gathered import FLUSH_MS
from streamer.restore.loop import AIM_MS
from streamer.restore.task import RestoreState
from tests.unit.restore.scripted import (
    Bench,
    following,
    place,
    position,
    records,
    rows,
    stored,
)


def test_a_standby_that_fails_is_reported_and_the_others_go_on(bench: Bench) -> None:
    missing = bench.follow(1, TopicMissingError("no such topic"))
    bench.turn()
    others = [following(bench, number) for number in (2, 3, 4, 5)]
    gone, torn, odd, well = others
    strange = Records(place(4), [b"a"], [b"\x07abc"], [10])
    bench.hear(
        Fetched(
            records=[strange, records(5, range(10, 12))],
            failures={place(2): TopicMissingError("deleted")},
        )
    )
    torn.database.close()
    bench.hear(Fetched(records=[records(3, range(10, 12))]))
    bench.wait(FLUSH_MS)
    assert set(bench.ended) == {missing, gone, torn, odd}
    assert isinstance(odd.error, TaskCorruptedError)
    assert torn.error is not None
    assert bench.second.reading == {place(5): 0}
    assert position(well) == 12
    assert (position(odd), rows(odd)) == (10, 10)
    assert odd.lag() is None


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (Bounds(50, 100), "position 10, but changelog .* begins at 50"),
        (Bounds(0, 5), "position 10 of changelog .* ends at 5"),
        (Bounds(0, 20, "other"), "its id was first and is other"),
    ],
)
@pytest.mark.parametrize("noticed", ["by the reader", "within a minute", "at its promotion"])
def test_a_changelog_that_is_another_is_refused_and_nothing_is_wiped(
    bench: Bench, then: Bounds, message: str, noticed: str
) -> None:
    one = bench.follow(1, Bounds(0, 10, "first"))
    bench.hear(Fetched(records=[records(1, range(10))]))
    bench.consumer.ends[place(1)] = then
    if noticed == "by the reader":
        bench.hear(Fetched(out_of_range={place(1)}))
    elif noticed == "within a minute":
        bench.wait(AIM_MS)
    else:
        bench.loop.promote(one)
        bench.turn()
    assert bench.ended == [one]
    with pytest.raises(TaskCorruptedError, match=message):
        raise one.error or AssertionError
    assert (position(one), rows(one)) == (10, 10)
    assert bench.second.reading == {}


def test_a_changelog_trimmed_up_to_the_position_is_followed(bench: Bench) -> None:
    one = following(bench)
    bench.consumer.ends[place(1)] = Bounds(10, 10)
    bench.wait(AIM_MS)
    assert (bench.ended, one.state) == ([], RestoreState.FOLLOWING)


def test_a_broker_that_was_behind_is_asked_again_by_who_follows(bench: Bench) -> None:
    following(bench)
    bench.hear(Fetched(out_of_range={place(1)}))
    assert (bench.ended, bench.second.reading) == ([], {place(1): 10})


def test_one_that_is_cancelled_is_saved_and_goes_on_where_it_was(bench: Bench) -> None:
    one = following(bench)
    bench.hear(Fetched(records=[records(1, range(10, 15))]))
    bench.loop.cancel(one)
    assert (position(one), one.state) == (15, RestoreState.CANCELLED)
    assert (bench.ended, bench.second.reading, bench.loop.is_idle) == ([], {}, True)
    again = bench.start(1, Bounds(0, 20))
    bench.turn()
    assert bench.consumer.reading == {place(1): 15}
    assert again.progress().remaining_offsets == 5
    bench.loop.cancel(again)
    bench.loop.close()


@pytest.mark.parametrize("failpoint", ["restore.before_batch", "restore.after_batch"])
def test_an_error_around_a_batch_never_leaves_a_position_ahead(
    bench: Bench, failpoint: str
) -> None:
    one = following(bench)
    bench.hear(Fetched(records=[records(1, range(10, 15))]))
    with pytest.raises(InjectedError), failpoints.armed(failpoint, "error"):
        bench.wait(FLUSH_MS)
    written = 10 if failpoint == "restore.before_batch" else 15
    assert (position(one), rows(one)) == (written, written)


def test_rows_of_others_pass_the_stored_input_positions(bench: Bench) -> None:
    source = TopicPartition("in", 1)
    bench.database(1).write({}, Positions({"plain": 10}, inputs={source: 100}).encode())
    one = bench.follow(1, Bounds(0, 10))
    bench.turn()
    bench.wait(AIM_MS)
    assert stored(one).inputs == {source: 100}
    bench.hear(Fetched(records=[records(1, range(10, 12))]))
    bench.wait(FLUSH_MS)
    assert stored(one).inputs == {source: PASSED}
