"""The in-memory broker keeps what Kafka keeps: offsets, markers, isolation, fencing."""

from __future__ import annotations

import pytest

from streamer.errors import FencedError, RecordTooLargeError, TaskCorruptedError, TopicMissingError
from streamer.ids import TopicPartition
from streamer.kafka.api import AbortableError, Committed, InputReader, ResultProducer
from streamer.kafka.fake import FakeBroker, FakeProducer
from streamer.record import Headers
from streamer.topology.partitioner import partition_of

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


@pytest.fixture
def broker() -> FakeBroker:
    broker = FakeBroker(partition_of=partition_of, now_ms=lambda: 77, message_bytes_max=100)
    broker.create("t", 2)
    return broker


def opened(broker: FakeBroker, name: str | None = "app-1") -> FakeProducer:
    producer = broker.producer(name)
    producer.init()
    return producer


def send(producer: FakeProducer, *values: bytes, partition: int = 0) -> None:
    count = len(values)
    producer.send(
        "t", [b"k"] * count, values, timestamps=[5] * count, partitions=[partition] * count
    )


def values(broker: FakeBroker) -> list[bytes | None]:
    return [record.value for record in broker.records("t")]


def test_it_obeys_the_protocols(broker: FakeBroker) -> None:
    reader: InputReader = broker.reader("g")
    producer: ResultProducer = broker.producer("id")
    assert reader.group() == "g"
    assert producer.is_transactional


def test_records_are_read_when_their_transaction_has_committed(broker: FakeBroker) -> None:
    producer = opened(broker)
    reader = broker.reader("g")
    reader.add({A: 0})
    send(producer, b"1", b"2")
    assert producer.is_open
    assert values(broker) == []
    fetched = reader.fetch(10, 0)
    assert (fetched.batches, fetched.ends) == ([], {A: 0})
    producer.commit({}, reader.group())
    (batch,) = reader.fetch(10, 0).batches
    assert (batch.keys, batch.values, batch.offsets) == ([b"k", b"k"], [b"1", b"2"], [0, 1])
    assert batch.timestamps == [5, 5]
    assert broker.bounds(A) == (0, 3)  # the marker has an offset too


def test_an_open_transaction_holds_back_what_was_committed_behind_it(broker: FakeBroker) -> None:
    slow, fast = opened(broker, "slow"), opened(broker, "fast")
    send(slow, b"slow")
    send(fast, b"fast")
    fast.commit({}, "g")
    assert values(broker) == []
    slow.commit({}, "g")
    assert values(broker) == [b"slow", b"fast"]


def test_aborted_records_are_never_read_but_keep_their_offsets(broker: FakeBroker) -> None:
    producer = opened(broker)
    reader = broker.reader("g")
    reader.add({A: 0})
    send(producer, b"gone")
    producer.abort()
    send(producer, b"kept")
    producer.commit({}, "g")
    fetched = reader.fetch(10, 0)
    assert [batch.offsets for batch in fetched.batches] == [[2]]
    assert fetched.ends == {A: 4}
    assert reader.fetch(10, 0).ends == {}


def test_taking_over_an_id_aborts_and_fences_its_former_owner(broker: FakeBroker) -> None:
    old = opened(broker)
    send(old, b"lost")
    new = opened(broker)
    send(old, b"never")
    with pytest.raises(FencedError, match="app-1"):
        old.commit({A: Committed(9)}, "g")
    with pytest.raises(FencedError):
        old.abort()
    send(new, b"kept")
    new.commit({}, "g")
    assert values(broker) == [b"kept"]
    assert broker.groups == {"g": {}}


def test_positions_are_committed_with_the_transaction_or_not_at_all(broker: FakeBroker) -> None:
    producer = opened(broker)
    reader = broker.reader("g")
    broker.fail_next("commit", AbortableError("no"))
    send(producer, b"1")
    with pytest.raises(AbortableError, match="no"):
        producer.commit({A: Committed(1, "m")}, reader.group())
    assert producer.is_open
    producer.abort()
    assert reader.committed([A, B]) == {}
    send(producer, b"2")
    producer.commit({A: Committed(1, "m")}, reader.group())
    assert reader.committed([A, B]) == {A: Committed(1, "m")}
    assert broker.reader("other").committed([A]) == {}
    assert values(broker) == [b"2"]


def test_without_a_transactional_id_results_are_there_at_once(broker: FakeBroker) -> None:
    producer = opened(broker, None)
    reader = broker.reader("g")
    send(producer, b"1")
    assert values(broker) == [b"1"]
    producer.send_changes(B, [(b"a", b"row")])
    producer.abort()
    assert producer.commit({}, "g") == {}
    assert values(broker) == [b"1"]
    producer.send_changes(B, [(b"a", b"row")])
    assert producer.commit({A: Committed(5)}, "g") == {B: 1}
    assert values(broker) == [b"1", b"row"]
    assert reader.committed([A]) == {A: Committed(5)}


def test_a_commit_tells_where_the_changelogs_end(broker: FakeBroker) -> None:
    producer = opened(broker)
    producer.send_changes(B, [(b"a", b"1"), (b"b", None)])
    assert producer.commit({}, "g") == {B: 2}
    producer.send_changes(A, [(b"a", b"1")])
    assert producer.commit({}, "g") == {A: 1}
    assert [record.timestamp_ms for record in broker.records("t")] == [77, 77, 77]


def test_keys_go_where_producers_send_them_and_others_go_round(broker: FakeBroker) -> None:
    producer = opened(broker, None)
    keys = [b"ann", b"bob", b"cat", None, None, None]
    producer.send("t", keys, keys, timestamps=[0] * 6)
    found = {record.value: record.partition for record in broker.records("t") if record.key}
    assert found == {key: partition_of(key, 2) for key in (b"ann", b"bob", b"cat")}
    places = [record.partition for record in broker.records("t") if record.key is None]
    assert sorted(map(str, places)) == ["0", "0", "1"]


def test_headers_and_order_over_partitions_are_kept(broker: FakeBroker) -> None:
    headers: list[Headers] = [[("a", b"1"), ("a", None)], []]
    producer = opened(broker)
    producer.send(
        "t", [b"x", b"y"], [b"1", b"2"], timestamps=[1, 2], headers=headers, partitions=[1, 0]
    )
    producer.commit({}, "g")
    assert [(one.value, one.headers, one.partition) for one in broker.records("t")] == [
        (b"1", headers[0], 1),
        (b"2", [], 0),
    ]


def test_a_seek_reads_again_and_tells_the_end_again(broker: FakeBroker) -> None:
    send(opened(broker, None), b"1", b"2", b"3")
    reader = broker.reader("g")
    reader.add({A: 1})
    assert reader.fetch(1, 0).batches[0].values == [b"2"]
    assert reader.fetch(9, 0).ends == {A: 3}
    reader.seek({A: 0})
    fetched = reader.fetch(9, 0)
    assert fetched.batches[0].values == [b"1", b"2", b"3"]
    assert fetched.ends == {A: 3}


def test_paused_and_removed_partitions_are_not_read(broker: FakeBroker) -> None:
    producer = opened(broker, None)
    send(producer, b"a")
    send(producer, b"b", partition=1)
    reader = broker.reader("g")
    reader.add({A: 0, B: 0})
    reader.pause([A])
    assert [batch.partition for batch in reader.fetch(9, 0).batches] == [1]
    reader.resume([A])
    reader.remove([B])
    assert [batch.partition for batch in reader.fetch(9, 0).batches] == [0]


def test_a_position_that_was_deleted_is_a_failure_of_its_partition(broker: FakeBroker) -> None:
    send(opened(broker, None), b"1", b"2")
    broker.delete_before(A, 1)
    reader = broker.reader("g")
    reader.add({A: 0, B: 0})
    fetched = reader.fetch(9, 0)
    assert isinstance(fetched.failures[A], TaskCorruptedError)
    assert broker.bounds(A) == (1, 2)


def test_compaction_keeps_the_newest_value_of_a_key(broker: FakeBroker) -> None:
    producer = opened(broker, None)
    pairs = [(b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None)]
    producer.send_changes(A, pairs)
    producer.commit({}, "g")
    broker.compact("t")
    assert [(one.key, one.value, one.offset) for one in broker.records("t")] == [(b"a", b"2", 2)]


def test_what_is_too_large_is_refused(broker: FakeBroker) -> None:
    producer = opened(broker)
    with pytest.raises(RecordTooLargeError, match="to t, key b'k'"):
        send(producer, b"x" * 100)
    refused: list[bytes | None] = []
    producer.on_refused = lambda topic, key, value, error: refused.append(key)
    send(producer, b"x" * 100, b"small")
    producer.commit({}, "g")
    assert refused == [b"k"]
    assert values(broker) == [b"small"]


def test_unknown_topics_and_partitions_are_named(broker: FakeBroker) -> None:
    with pytest.raises(TopicMissingError, match="'nope' does not exist"):
        opened(broker).send("nope", [b""], [b""], timestamps=[0])
    with pytest.raises(TopicMissingError, match="no partition 7"):
        broker.bounds(TopicPartition("t", 7))


def test_faults_come_in_turn(broker: FakeBroker) -> None:
    broker.fail_next("fetch", AbortableError("1"), AbortableError("2"))
    reader = broker.reader("g")
    for text in ("1", "2"):
        with pytest.raises(AbortableError, match=text):
            reader.fetch(1, 0)
    assert reader.fetch(1, 0).batches == []
