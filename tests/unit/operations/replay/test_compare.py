"""What differs is told for what stands at the same place of the input on both sides."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from streamer.errors import UnfinishedError
from streamer.feed.fake import FakePorts
from streamer.ids import TopicPartition
from streamer.kafka.api import Committed
from streamer.operations.replay import compare as module
from streamer.operations.replay.compare import Differences, compare
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import INPUT, OWN
from tests.unit.operations.replay.rig import ORIGIN, Rereading

LIVE = f"{NAME}-totals-changelog"
AGAIN = f"{ORIGIN}-totals-changelog"


class Both(Rereading):
    """Both sides have rows of their own, written by the test."""

    @property
    def is_needed(self) -> bool:
        return False

    def __init__(self) -> None:
        super().__init__()
        for topic in (AGAIN, f"{ORIGIN}-cities-changelog"):
            self.broker.create(topic, self.width)
        self.broker.create(f"{ORIGIN}-cities-repartition", self.width)
        self.broker.groups[ORIGIN] = {}
        for partition in range(self.width):
            for topic in (INPUT, OWN):
                place = TopicPartition(topic, partition)
                self.broker.groups[NAME][place] = Committed(self.broker.bounds(place)[1], "")
        self.waits = 0
        self.during: Callable[[], None] = lambda: None
        self.later: Callable[[], None] = lambda: None

    def put(self, topic: str, partition: int, **rows: str | None) -> None:
        for key, value in rows.items():
            at = TopicPartition(topic, partition)
            self.broker.append(at, key.encode(), None if value is None else value.encode())

    def catch_up(self) -> None:
        """Who reads again is where the live one is."""
        for partition in range(self.width):
            place = TopicPartition(INPUT, partition)
            self.broker.groups[ORIGIN][place] = self.broker.groups[NAME][place]

    def wait(self, _seconds: float) -> None:
        self.waits += 1
        if self.waits == 3:
            self.during()
            self.later()
            self.catch_up()

    def found(self, timeout_s: float = 60.0) -> Differences:
        def value(store: str, row: bytes) -> object:
            assert store == "totals"
            return {"count": int(row), "name": "x", "is": True}

        one = next(
            compare(
                FakePorts(self.broker),
                self.asked,
                wait=self.wait,
                timeout_s=timeout_s,
                value=value,
            )
        )
        assert one.store == "totals"
        return one


def made() -> Both:
    shop = Both()
    shop.put(LIVE, 0, same="1", other="1", lost="1", removed="1")
    shop.put(LIVE, 0, removed=None)
    shop.put(AGAIN, 0, same="1", other="2", new="1", removed=None)
    return shop


def test_keys_are_added_changed_and_gone() -> None:
    one = made().found()
    assert (one.same, one.added, one.changed, one.gone, one.moving) == (1, 1, 1, 1, 0)
    assert one.samples == {
        "added": [(b"new", None, b"1")],
        "changed": [(b"other", b"1", b"2")],
        "gone": [(b"lost", b"1", None)],
    }
    assert one.sums == {"count": (3.0, 4.0)}
    assert not one.is_equal


def test_who_reads_again_is_waited_for_before_it_is_compared() -> None:
    shop = made()
    shop.during = lambda: shop.put(AGAIN, 0, other="1", lost="1", new=None)
    one = shop.found()
    assert shop.waits == 3
    assert (one.same, one.moving, one.is_equal) == (3, 0, True)


def test_what_the_live_one_writes_meanwhile_is_told_apart() -> None:
    shop = made()
    shop.during = lambda: shop.put(LIVE, 0, other="3", same="1")
    one = shop.found()
    assert (one.same, one.changed, one.moving) == (1, 0, 1)


def test_what_the_live_one_had_in_between_is_the_same() -> None:
    """Keys that are written all the time have to be compared, too."""
    shop = made()
    shop.during = lambda: shop.put(LIVE, 0, other="2", same="3", lost=None)
    shop.later = lambda: shop.put(LIVE, 0, other="4")
    one = shop.found()
    assert (one.same, one.added, one.changed, one.gone, one.moving) == (2, 1, 0, 0, 0)


def test_a_key_that_several_tasks_have_is_compared_in_each() -> None:
    shop = Both()
    for partition in range(2):
        shop.put(LIVE, partition, count=f"{partition}")
        shop.put(AGAIN, partition, count="1")
    one = shop.found()
    assert (one.same, one.changed) == (1, 1)


def test_one_that_never_comes_so_far_ends_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = made()
    monkeypatch.setattr(
        module, "time", SimpleNamespace(monotonic=lambda: float(shop.waits), sleep=None)
    )
    with pytest.raises(UnfinishedError, match=f"{ORIGIN} is 4 offsets behind"):
        shop.found(timeout_s=1)


def test_one_that_was_trimmed_is_not_compared() -> None:
    shop = made()
    shop.broker.delete_before(TopicPartition(LIVE, 0), 2)
    one = shop.found()
    assert one.unknown == f"{LIVE}/0 was trimmed: older rows are in snapshots alone"
    assert not one.is_equal
    assert (one.same, one.added, one.gone) == (0, 0, 0)
