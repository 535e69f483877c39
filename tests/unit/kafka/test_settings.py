from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from streamer.config import Config, budget, load
from streamer.errors import ConfigError
from streamer.kafka import settings
from streamer.kafka.properties import properties

MIB = 1024 * 1024
CONSUMERS = (
    settings.input_consumer,
    settings.restore_consumer,
    settings.standby_consumer,
    settings.candidate_consumer,
    settings.control_consumer,
)


def _config(**values: Any) -> Config:
    return Config(application_id="spend", worker_id="w1", bootstrap_servers="127.0.0.1:9", **values)


@pytest.mark.parametrize("role", CONSUMERS)
def test_no_consumer_reads_aborted_records_or_commits_by_itself(role: Any) -> None:
    made = role(_config())
    assert made["isolation.level"] == "read_committed"
    assert made["enable.auto.commit"] is False
    assert made["enable.auto.offset.store"] is False
    assert made["client.id"] == "w1"


def test_positions_are_committed_in_the_applications_own_group() -> None:
    groups = [role(_config())["group.id"] for role in CONSUMERS]
    others = ["spend.restore", "spend.restore", "spend.members", "spend.control"]
    assert groups == ["spend", *others]


def test_a_lost_position_is_an_error_never_a_jump() -> None:
    made = settings.input_consumer(_config(auto_offset_reset="latest"))
    assert made["auto.offset.reset"] == "error"


def test_ends_are_known_soon() -> None:
    waits = [role(_config())["fetch.wait.max.ms"] for role in CONSUMERS]
    assert waits == [100, 20, 250, 100, 100]


def test_who_only_follows_control_topics_asks_seldom() -> None:
    made = settings.control_consumer(_config(), wait_ms=settings.FOLLOW_WAIT_MS)
    assert made["fetch.wait.max.ms"] == 6_000


def test_standbys_ask_seldom_and_share_the_memory_of_restores() -> None:
    config = _config(memory_bytes_max=4096 * MIB)
    standby, restore = settings.standby_consumer(config), settings.restore_consumer(config)
    assert standby["fetch.min.bytes"] > 1
    assert "fetch.min.bytes" not in restore
    held = 0
    for made in (standby, restore):
        held += made["queued.max.messages.kbytes"] * 1024 + made["queued.min.messages"] * 400
        held += made["fetch.max.bytes"] * 5
    assert held <= budget(config).restore_queue_bytes


def test_slow_code_costs_no_membership() -> None:
    made = settings.candidate_consumer(_config(session_timeout_ms=9000))
    assert made["max.poll.interval.ms"] == 86_400_000
    assert made["session.timeout.ms"] == 9000
    assert made["partition.assignment.strategy"] == "cooperative-sticky"


def test_a_producer_is_transactional_only_with_an_id() -> None:
    plain = settings.producer(_config())
    assert "transactional.id" not in plain
    assert plain["enable.idempotence"] is True
    assert plain["partitioner"] == "murmur2_random"
    made = settings.producer(_config(transaction_timeout_ms=30_000), "spend-w1")
    assert made["transactional.id"] == "spend-w1"
    assert made["transaction.timeout.ms"] == 30_000


@pytest.mark.parametrize("total", [384 * MIB, 512 * MIB, 4096 * MIB])
def test_queues_stay_inside_their_part_of_the_budget(total: int) -> None:
    config = _config(memory_bytes_max=total)
    part = budget(config)
    made = settings.input_consumer(config)
    held = made["queued.max.messages.kbytes"] * 1024 + made["queued.min.messages"] * 400
    held += made["fetch.max.bytes"] * 5
    assert held <= part.input_queue_bytes
    assert held >= part.input_queue_bytes * 0.9
    made = settings.producer(config)
    held = made["queue.buffering.max.kbytes"] * 1024 + made["queue.buffering.max.messages"] * 256
    assert held <= part.producer_queue_bytes
    assert held >= part.producer_queue_bytes * 0.9


def test_librdkafka_accepts_all_that_is_made() -> None:
    config = _config(memory_bytes_max=128 * MIB)
    for role in CONSUMERS:
        Consumer(role(config)).close()
    for name in (None, "spend-w1"):
        Producer(settings.producer(config, name)).poll(0)
    AdminClient(settings.admin(config)).poll(0)
    for made in (role(config) for role in CONSUMERS):
        assert set(made) - {"logger"} <= set(properties())


def test_a_setting_reaches_the_clients_that_it_concerns() -> None:
    config = _config(
        kafka={
            "security.protocol": "SSL",
            "linger.ms": 7,
            "fetch.min.bytes": 1,
            "consumer.fetch.min.bytes": 5,
            "admin.request.timeout.ms": 3,
        }
    )
    consumer, producer = settings.input_consumer(config), settings.producer(config)
    assert (consumer["fetch.min.bytes"], producer["linger.ms"]) == (5, 7)
    assert "linger.ms" not in consumer
    assert "fetch.min.bytes" not in producer
    for made in (consumer, producer, settings.admin(config)):
        assert made["security.protocol"] == "SSL"
    assert "request.timeout.ms" not in consumer | producer


def test_membership_is_not_up_for_change() -> None:
    made = settings.candidate_consumer(_config(kafka={"fetch.wait.max.ms": 10}))
    assert made["fetch.wait.max.ms"] == 10
    with pytest.raises(ConfigError, match=r"session\.timeout\.ms cannot be set"):
        settings.candidate_consumer(_config(kafka={"session.timeout.ms": 10}))


@pytest.mark.parametrize(
    ("kafka", "message", "hint"),
    [
        ({"linger.mss": 1}, "linger.mss is unknown to librdkafka", "did you mean linger.ms?"),
        ({"producer.linger.mss": 1}, "producer.linger.mss is unknown", "did you mean linger.ms?"),
        ({"linger.ms": "x"}, "linger.ms is wrong: Invalid value", ""),
        ({"security.protocol": "TSL"}, 'is wrong: Invalid value "TSL"', ""),
        ({"enable.auto.commit": True}, "cannot be set: positions are committed", "remove"),
        ({"consumer.isolation.level": "read_uncommitted"}, "aborted transactions", "remove"),
        ({"acks": 1}, "acks cannot be set: an acknowledged record", "remove"),
        ({"metadata.broker.list": "x"}, "cannot be set: set bootstrap_servers", "remove"),
        ({"consumer.linger.ms": 1}, "does not concern the consumer client", ""),
        ({"admin.linger.ms": 1}, "does not concern the admin client", ""),
    ],
)
def test_what_cannot_be_set_is_refused(kafka: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings.check(_config(kafka=kafka))
    assert message in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["linger.mss", "acks", "consumer.linger.ms", "oauth_cb"])
def test_what_cannot_be_set_is_refused_with_its_source(tmp_path: Path, name: str) -> None:
    (tmp_path / "given.toml").write_text(f'[kafka]\n"{name}" = "1"\n')
    variable = f"STREAMER_KAFKA__{name.replace('.', '__').upper()}"
    given: list[tuple[str, dict[str, Any]]] = [
        (f"{tmp_path / 'given.toml'}", {"file": tmp_path / "given.toml"}),
        (f"--set kafka.{name}", {"sets": [f"kafka.{name}=1"]}),
        ("App(...)", {"keywords": {"kafka": {name: "1"}}}),
    ]
    if "_" not in name:
        given.append((f"environment {variable}", {"environment": {variable: "1"}}))
    for source, sources in given:
        config = load("spend", **{"environment": {}, "directory": tmp_path, **sources})
        with pytest.raises(ConfigError) as caught:
            settings.check(config)
        assert caught.value.message.startswith(f"{source}: kafka setting {name} ")


def test_librdkafkas_own_list_is_known() -> None:
    known = properties()
    assert known["bootstrap.servers"].canonical == "metadata.broker.list"
    assert known["linger.ms"].role == "P"
    assert known["queued.min.messages"].role == "C"
    assert len(known) > 150
    settings.check(_config(kafka={"oauth_cb": print, "socket.nagle.disable": True}))
