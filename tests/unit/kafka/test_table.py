"""Rows of control topics: the newest of a key counts; a key that is no text is shown as it is."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException

from streamer.config import Config
from streamer.errors import ConfigError
from streamer.ids import TopicPartition
from streamer.kafka import table
from streamer.kafka.table import ExclusiveWriter, Row, TableReader, TableWriter, newest

PLACE = TopicPartition("spend.status", 0)
CONFIG = Config(application_id="spend", worker_id="w1")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """What every client is."""
    made = MagicMock()
    made.__len__.return_value = 0
    made.consume.return_value = []
    monkeypatch.setattr(table, "Consumer", lambda _settings: made)
    monkeypatch.setattr(table, "Producer", lambda _settings: made)
    return made


def message(*, error: KafkaError | None = None, key: bytes | None = b"w1", offset: int = 0) -> Any:
    found = MagicMock()
    found.error.return_value = error
    found.topic.return_value, found.partition.return_value = PLACE
    found.offset.return_value, found.key.return_value = offset, key
    found.value.return_value = b"v"
    return found


def test_the_newest_row_of_a_key_in_its_partition_is_left() -> None:
    other = TopicPartition("spend.status", 1)
    rows = [Row(PLACE, 0, "a", b"bad"), Row(PLACE, 1, "b", b"1"), Row(PLACE, 2, "a", None)]
    rows.append(Row(other, 0, "a", b"2"))
    assert newest(rows) == [rows[2], rows[1], rows[3]]


def test_a_key_that_is_no_text_is_a_row_all_the_same(client: MagicMock) -> None:
    client.poll.return_value = message(key=b"w\xff1")
    [row] = TableReader(CONFIG, [PLACE]).read(0)
    assert row.key == "w\\xff1"


def test_a_reader_knows_when_a_broker_was_last_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    client = MagicMock()
    monkeypatch.setattr(table, "Consumer", client)
    reader = TableReader(CONFIG, [PLACE])

    def hear(said: str) -> float | None:
        client.call_args.args[0]["error_cb"](KafkaError(KafkaError._TRANSPORT, said))
        return reader.trouble_s

    gone = "127.0.0.1:9092/{}: Connect to ipv4#127.0.0.1:9092 failed: Connection refused"
    # An address of bootstrap_servers may be dead for long, and another one does.
    assert hear(gone.format("bootstrap")) is None
    first_s = hear(gone.format(3))
    assert first_s is not None
    reader.ask_after(500)
    assert client.call_args.args[0]["fetch.wait.max.ms"] == reader.wait_ms == 500
    # The next client tells it too.
    next_s = hear(gone.format(1))
    assert next_s is not None
    assert next_s > first_s


def test_who_may_not_look_at_the_group_reads_all_the_same(
    client: MagicMock, caplog: pytest.LogCaptureFixture
) -> None:
    client.poll.return_value = message(error=KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))
    assert TableReader(CONFIG, [PLACE]).read(0) == []
    assert "Describe on group spend.control is not granted" in caplog.text
    client.poll.return_value = message(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(ConfigError, match=r"Read on topic spend\.status is not granted"):
        TableReader(CONFIG, [PLACE]).read(0)


def test_a_row_that_may_not_be_written_is_told_by_its_topic(client: MagicMock) -> None:
    denied = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    client.produce.side_effect = denied
    with pytest.raises(ConfigError, match=r"Write on topic spend\.status is not granted"):
        TableWriter(CONFIG).put(PLACE, "w1", b"v")


def test_whoever_sends_a_row_hears_when_it_has_arrived(client: MagicMock) -> None:
    writer, arrived = TableWriter(CONFIG), MagicMock()
    writer.put(PLACE, "w1", b"v", arrived=arrived)
    delivered = client.produce.call_args.kwargs["on_delivery"]
    delivered(KafkaError(KafkaError._MSG_TIMED_OUT), message())
    arrived.assert_not_called()
    delivered(None, message())
    arrived.assert_called_once_with()


@pytest.mark.parametrize(("wait_ms", "begin"), [(100, 0), (6_000, OFFSET_BEGINNING)])
def test_only_those_who_wait_long_for_news_ask_where_a_table_begins(
    client: MagicMock, wait_ms: int, begin: int
) -> None:
    """The questions keep the order of a few places, and are half a second late."""
    other = TopicPartition("spend.orders", 0)
    TableReader(CONFIG, [PLACE, other], wait_ms=wait_ms)
    [first], [second] = (
        getattr(client, name).call_args.args[0] for name in ("assign", "incremental_assign")
    )
    assert (first.topic, first.offset) == (PLACE.topic, begin)
    assert (second.topic, second.offset) == (other.topic, begin)


def test_who_is_in_a_hurry_looks_a_topic_up_before_it_takes_an_id_over(client: MagicMock) -> None:
    ExclusiveWriter(CONFIG, "spend.controller").claim(30, topic="spend.operations")
    names = [name for name, *_rest in client.method_calls]
    assert names.index("list_topics") < names.index("init_transactions")
    assert client.list_topics.call_args.args == ("spend.operations",)
