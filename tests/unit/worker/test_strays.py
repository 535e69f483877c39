"""What is read and asked ahead of processing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from streamer.errors import KafkaUnavailableError, StreamerError
from streamer.ids import Layout, TopicPartition
from streamer.kafka.api import Fetched
from streamer.kafka.fake import FakeBroker
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.strays.wait import Look
from streamer.topology.partitioner import partition_of
from streamer.topology.partitions import Partitions
from streamer.worker.strays import Grown, Lookout, Scout, grown

A, B = TopicPartition("in", 0), TopicPartition("in", 1)
PATIENCE_S = 60.0


def test_strays_are_in_topics_of_others_in_parts_that_were_grown() -> None:
    two = Layout(2)
    inputs = {"in": InputLayout(3), "app-own-repartition": InputLayout(3, is_internal=True)}
    layout = ApplicationLayout(
        Layout(3),
        {
            0: SubtopologyLayout(3, two, inputs, "grow"),
            1: SubtopologyLayout(3, two, {"other": InputLayout(3)}),
        },
    )
    found = grown("app", Partitions({}, {}, {}, layout=layout))
    assert found == [Grown("in", "app-in-strays.layout-2", 3)]
    assert found[0].places("in") == [A, B, TopicPartition("in", 2)]


# -- the scout -------------------------------------------------------------------------------------


@pytest.fixture
def broker() -> FakeBroker:
    made = FakeBroker(partition_of=partition_of, now_ms=lambda: 7)
    made.create("in", 2)
    return made


def write(broker: FakeBroker, place: TopicPartition, count: int) -> None:
    producer = broker.producer(None)
    rows: list[bytes | None] = [b"x"] * count
    where = [place.partition] * count
    producer.send("in", rows, rows, timestamps=[1] * count, partitions=where)
    producer.commit({}, None)


def read_all(scout: Scout, place: TopicPartition, position: int) -> tuple[list[int], int]:
    offsets: list[int] = []
    while True:
        batches, behind = scout.read(place, position)
        offsets += [offset for batch in batches for offset in batch.offsets]
        if behind == position:
            return offsets, position
        position = behind


def test_a_scout_reads_each_partition_on_from_where_it_is_asked(broker: FakeBroker) -> None:
    with Scout(broker.reader("app.strays"), records_max=3) as scout:
        write(broker, A, 5)
        write(broker, B, 4)
        assert read_all(scout, A, 2) == ([2, 3, 4], 5)
        assert read_all(scout, B, 0) == ([0, 1, 2, 3], 4)
        write(broker, A, 1)
        assert read_all(scout, A, 5) == ([5], 6)
        # What was forwarded was taken back.
        assert read_all(scout, A, 1) == ([1, 2, 3, 4, 5], 6)
        scout.leave(B)
        write(broker, B, 2)
        assert read_all(scout, A, 6) == ([], 6)
        assert read_all(scout, B, 5) == ([5], 6)


class Reader:
    """Gives what it is told to, as a consumer does after the answers have come."""

    def __init__(self, *answers: Fetched) -> None:
        self.answers: Iterator[Fetched] = iter(answers)

    def add(self, _positions: Any) -> None: ...

    def remove(self, _partitions: Any) -> None: ...

    def fetch(self, _records_max: int, timeout_ms: int) -> Fetched:
        assert timeout_ms == 0
        return next(self.answers, Fetched())


def test_a_position_goes_behind_the_markers_at_a_partitions_end() -> None:
    reader: Any = Reader(Fetched(ends={A: 9, B: 4}), Fetched(ends={B: 7}))
    scout = Scout(reader, records_max=3)
    assert scout.read(A, 8) == ([], 9)
    assert scout.read(B, 2) == ([], 7)  # the first was told while nobody read it
    assert scout.read(A, 9) == ([], 9)


def test_a_partition_that_cannot_be_read_is_told_to_who_asks_for_it() -> None:
    reader: Any = Reader(Fetched(), Fetched(ends={A: 3}, failures={B: StreamerError("gone")}))
    scout = Scout(reader, records_max=3)
    assert scout.read(B, 0) == ([], 0)
    assert scout.read(A, 0) == ([], 3)
    with pytest.raises(StreamerError, match="gone"):
        scout.read(B, 0)


# -- the lookout -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_look_that_counts_has_begun_after_the_question() -> None:
    may_end, has_begun = threading.Semaphore(0), threading.Semaphore(0)
    answers = iter(range(100))

    def ask() -> dict[str, Look]:
        has_begun.release()
        assert may_end.acquire(timeout=PATIENCE_S)
        return {"in": Look(ends={0: next(answers)})}

    with Lookout(ask) as lookout:
        assert lookout.look("in") == (0, Look())
        assert lookout.asked() == 0
        assert has_begun.acquire(timeout=PATIENCE_S)
        asked = lookout.asked()
        assert asked == 1  # this one has begun before
        may_end.release()
        assert has_begun.acquire(timeout=PATIENCE_S)
        assert lookout.look("in") == (1, Look(ends={0: 0}))
        may_end.release()
        assert has_begun.acquire(timeout=PATIENCE_S)
        assert lookout.look("in") == (2, Look(ends={0: 1}))
        assert lookout.look("other") == (2, Look())
        may_end.release(100)


def test_a_look_that_fails_says_nothing_and_is_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.worker.strays._AGAIN_S", 0.01)
    told = threading.Event()
    failures = iter(
        [KafkaUnavailableError("nobody there"), StreamerError("no right"), ValueError("odd")]
    )

    def ask() -> dict[str, Look]:
        for failure in failures:
            raise failure
        told.set()
        return {"in": Look(ends={0: 5})}

    with caplog.at_level(logging.INFO, "streamer"), Lookout(ask) as lookout:
        lookout.asked()
        assert told.wait(PATIENCE_S)
        while lookout.look("in")[0] == 0:
            assert lookout.asked() >= 4
        assert lookout.look("in") == (4, Look(ends={0: 5}))
    for text in ("brokers are away: nobody there", "no right", "trying again"):
        assert text in caplog.text
