"""Topics, offsets, groups and fences, asked of a real broker and of one that is not there."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as Address

from streamer.config import Config
from streamer.errors import InternalTopicError, KafkaUnavailableError, TopicMissingError
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin, TopicSpec
from tests.broker.conftest import Kafka, Names


def admin_of(kafka: Kafka) -> Admin:
    return Admin(Config(application_id="asking", bootstrap_servers=kafka.bootstrap_servers))


def test_topics_are_created_once_and_then_checked(kafka: Kafka, names: Names) -> None:
    admin = admin_of(kafka)
    first, second = names.topic("first"), names.topic("second")
    admin.create([TopicSpec(first, 3, {"cleanup.policy": "compact"})])
    admin.create([TopicSpec(first, 3), TopicSpec(second, 1)])
    assert admin.partitions([first, second]) == {first: 3, second: 1}
    found = admin.topic_settings([first, names.topic("missing")])
    assert list(found) == [first]
    assert found[first]["cleanup.policy"] == "compact"
    with pytest.raises(InternalTopicError, match=f"{first} has 3 partitions, not 4"):
        admin.create([TopicSpec(first, 4)])
    admin.create([TopicSpec(first, 4, any_size=True)])
    assert admin.partitions([first]) == {first: 3}


def test_all_missing_topics_are_named_with_a_command(kafka: Kafka, names: Names) -> None:
    admin = admin_of(kafka)
    there, gone, lost = names.topic("there"), names.topic("gone"), names.topic("lost")
    kafka.create(there)
    with pytest.raises(TopicMissingError, match=f"{gone}, {lost}") as missing:
        admin.partitions([there, gone, lost])
    assert f"--create --topic {gone}" in missing.value.hint
    with pytest.raises(TopicMissingError, match=gone):
        admin.ends([TopicPartition(gone, 0)])


def test_ends_depend_on_what_is_committed(kafka: Kafka, names: Names) -> None:
    admin = admin_of(kafka)
    topic = names.topic("rows")
    kafka.create(topic, partitions=2)
    kafka.produce(topic, [("a", "1"), ("b", "2")], partition=1)
    places = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    assert admin.starts(places) == {places[0]: 0, places[1]: 0}
    assert admin.ends(places) == {places[0]: 0, places[1]: 2}

    fenced_id = names.topic("id")
    writer = Producer({**kafka.settings, "transactional.id": fenced_id})
    writer.init_transactions(30)
    writer.begin_transaction()
    writer.produce(topic, b"open", b"c", 1)
    writer.flush(60)
    assert admin.ends(places, "read_uncommitted")[places[1]] == 3
    assert admin.ends(places, "read_committed")[places[1]] == 2
    admin.fence(fenced_id)
    assert admin.ends(places, "read_committed")[places[1]] == 4
    with pytest.raises(KafkaException, match="fenced"):
        writer.commit_transaction(10)
    assert [row.value for row in kafka.read(topic)] == [b"1", b"2"]


def test_members_and_positions_of_a_group(kafka: Kafka, names: Names) -> None:
    admin = admin_of(kafka)
    topic, group = names.topic("rows"), names.topic("group")
    kafka.create(topic, partitions=1)
    kafka.produce(topic, [("a", "1"), ("b", "2")])
    place = TopicPartition(topic, 0)
    assert admin.group_members(group) == []
    assert admin.committed(group, [place]) == {}
    consumer = Consumer({**kafka.settings, "group.id": group, "client.id": "me#1"})
    consumer.subscribe([topic])
    try:
        deadline = time.monotonic() + 360
        while not consumer.assignment() and time.monotonic() < deadline:
            consumer.poll(0.1)
        (member,) = admin.group_members(group)
        assert (member.client_id, member.partitions) == ("me#1", {place})
        consumer.commit(offsets=[Address(topic, 0, 2)], asynchronous=False)
        assert admin.committed(group, [place]) == {place: 2}
    finally:
        consumer.close()
    assert admin.group_members(group) == []


def test_a_broker_that_is_not_there_is_given_up_in_time() -> None:
    config = Config(application_id="asking", bootstrap_servers="127.0.0.1:1")
    admin = Admin(config, timeout_s=1.5)
    for ask in (
        lambda: admin.partitions(["rows"]),
        lambda: admin.group_members("group"),
        lambda: admin.fence("id"),
    ):
        began = time.monotonic()
        with pytest.raises(KafkaUnavailableError, match=r"tried \d+ times in .* at 127.0.0.1:1"):
            ask()
        assert time.monotonic() - began < 15
    assert admin.partitions_if_available(["rows"]) is None
