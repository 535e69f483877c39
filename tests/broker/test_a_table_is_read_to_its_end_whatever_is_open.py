"""Compacted tables: order, tombstones, the markers of transactions, and a topic made anew."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as Address

from streamer.config import Config
from streamer.errors import FencedError, KafkaUnavailableError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.table import ExclusiveWriter, Row, TableReader, TableWriter
from tests.broker.conftest import Kafka, Names


class Fixture:
    def __init__(self, kafka: Kafka, names: Names) -> None:
        self.config = Config(
            application_id=names.application, bootstrap_servers=kafka.bootstrap_servers
        )
        self.admin = Admin(self.config)
        self.topic = names.topic("table")
        kafka.create(self.topic, partitions=2, cleanup_policy="compact")
        self.places = [TopicPartition(self.topic, number) for number in range(2)]
        self.exclusive_id = names.topic("writer")

    def ends(self) -> dict[TopicPartition, int]:
        return self.admin.ends(self.places, "read_uncommitted")

    def exclusive(self) -> ExclusiveWriter:
        writer = ExclusiveWriter(self.config, self.exclusive_id)
        writer.claim(30)
        return writer


@pytest.fixture
def table(kafka: Kafka, names: Names) -> Fixture:
    return Fixture(kafka, names)


def keys(rows: list[Row]) -> list[tuple[str, bytes | None]]:
    return [(row.key, row.value) for row in rows]


def test_rows_come_in_order_and_the_end_counts_markers(table: Fixture) -> None:
    writer = TableWriter(table.config)
    for number in range(500):
        writer.put(table.places[0], f"k{number % 3}", str(number).encode())
    writer.put(table.places[0], "k0", None)
    writer.flush(30)
    exclusive = table.exclusive()
    exclusive.write([(place, "last", b"1") for place in table.places])
    with TableReader(table.config, table.places) as reader:
        rows = reader.read_to(table.ends(), timeout_s=120)
        first = [row for row in rows if row.place == table.places[0]]
        assert [row.offset for row in first] == sorted(row.offset for row in first)
        latest = {row.key: row.value for row in first}
        assert latest == {"k0": None, "k1": b"499", "k2": b"497", "last": b"1"}
        assert keys([row for row in rows if row.place == table.places[1]]) == [("last", b"1")]

        writer.put(table.places[1], "later", b"2")
        writer.flush(30)
        assert keys(reader.read_to(table.ends(), timeout_s=120)) == [("later", b"2")]
    writer.close()
    exclusive.close()


def test_an_open_transaction_is_waited_for_and_a_claim_ends_it(
    table: Fixture, kafka: Kafka
) -> None:
    former = Producer({**kafka.settings, "transactional.id": table.exclusive_id})
    former.init_transactions(30)
    former.begin_transaction()
    former.produce(table.topic, b"never", b"k", 0)
    former.flush(60)
    with TableReader(table.config, table.places) as reader:
        with pytest.raises(KafkaUnavailableError, match="took longer than 1 s"):
            reader.read_to(table.ends(), timeout_s=1)
        later = table.exclusive()
        assert reader.read_to(table.ends(), timeout_s=120) == []
        later.write([(table.places[0], "k", b"real")])
        assert keys(reader.read_to(table.ends(), timeout_s=120)) == [("k", b"real")]
    later.close()


def test_a_writer_that_was_replaced_says_so_every_time(table: Fixture) -> None:
    former, later = table.exclusive(), table.exclusive()
    for _ in range(2):
        with pytest.raises(FencedError):
            former.write([(table.places[0], "k", b"never")])
    later.write([(table.places[0], "k", b"real")])
    former.close()
    later.close()


def test_a_topic_made_anew_is_read_from_its_beginning(
    table: Fixture, kafka: Kafka, names: Names
) -> None:
    writer = TableWriter(table.config)
    for number in range(20):
        writer.put(table.places[0], f"old{number}", b"1")
    writer.flush(30)
    with TableReader(table.config, table.places[:1]) as reader:
        assert len(reader.read_to({table.places[0]: 20}, timeout_s=120)) == 20
        kafka.delete(table.topic)
        kafka.create(table.topic, partitions=2, cleanup_policy="compact")
        fresh = TableWriter(table.config)
        fresh.put(table.places[0], "new", b"2")
        fresh.flush(30)
        deadline = time.monotonic() + 360
        rows: list[Row] = []
        while not rows and time.monotonic() < deadline:
            try:
                rows = reader.read(0.2)
            except KafkaUnavailableError:
                continue
        assert keys(rows) == [("new", b"2")]
        fresh.close()
    writer.close()


def test_a_table_that_lost_its_begin_is_read_from_what_there_is(
    table: Fixture, kafka: Kafka, names: Names
) -> None:
    place = TopicPartition(names.topic("cut"), 0)
    kafka.create(place.topic, partitions=1, cleanup_policy="compact,delete")
    writer = TableWriter(table.config)
    for number in range(3):
        writer.put(place, f"k{number}", b"1")
    writer.flush(30)
    for done in kafka.admin.delete_records([Address(*place, 2)]).values():
        done.result(30)
    with TableReader(table.config, [*table.places, place]) as reader:
        assert keys(reader.read_to({place: 3}, timeout_s=120)) == [("k2", b"1")]
    writer.close()


def test_what_comes_in_the_first_partition_waits_for_no_other_one(table: Fixture) -> None:
    """A broker that waits for news of one partition answers nothing else meanwhile.

    A leader that is not known yet, or a question that is lost, may let the other one be first after
    all: who hits it three times in a row does so always.
    """
    writer = TableWriter(table.config)

    def hears(value: bytes) -> bool:
        with TableReader(table.config, table.places, wait_ms=50_000) as reader:
            reader.read(5)
            writer.put(table.places[0], "k", value)
            writer.flush(30)
            until = time.monotonic() + 30
            rows: list[Row] = []
            while ("k", value) not in keys(rows) and time.monotonic() < until:
                # Word that a partition has ended is no row, and may come first.
                rows += reader.read(until - time.monotonic())
        return ("k", value) in keys(rows)

    assert any(hears(value) for value in (b"1", b"2", b"3"))
    writer.close()


def test_a_reader_that_asks_less_goes_on_where_it_is(table: Fixture) -> None:
    writer = TableWriter(table.config)
    with TableReader(table.config, table.places) as reader:
        for place in table.places:
            writer.put(place, "k", b"1")
        writer.flush(30)
        assert len(reader.read_to(table.ends(), timeout_s=120)) == 2
        reader.ask_after(500)
        for place in table.places:
            writer.put(place, "k", b"2")
        writer.flush(30)
        assert keys(reader.read_to(table.ends(), timeout_s=120)) == [("k", b"2"), ("k", b"2")]
    writer.close()
