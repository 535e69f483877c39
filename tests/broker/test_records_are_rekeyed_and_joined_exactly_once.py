"""A chain over two repartition topics with a stream-table join, killed in the middle."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from confluent_kafka.admin import ConfigResource, ResourceType

from streamer.topology.partitioner import murmur2
from tests.broker.workers import KILLED, Application

CUSTOMERS, CITIES, PURCHASES = 90, 7, 4_000
START_MS = 1_700_000_000_000


def settings_of(application: Application, topic: str) -> dict[str, str | None]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    found = application.kafka.admin.describe_configs([resource])[resource].result(60)
    return {name: entry.value for name, entry in found.items()}


def purchases(begin: int) -> list[tuple[str, str]]:
    return [
        (f"order-{row}", json.dumps({"customer": f"c{row * 31 % 100}", "cents": row % 500}))
        for row in range(begin, begin + PURCHASES)
    ]


def totals(records: list[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Customers 90 to 99 are not in the table: their purchases are dropped by the join."""
    sales: Counter[str] = Counter()
    cents: Counter[str] = Counter()
    for _key, value in records:
        purchase = json.loads(value)
        number = int(purchase["customer"][1:])
        if number < CUSTOMERS:
            city = f"city-{number % CITIES}"
            sales[city] += 1
            cents[city] += purchase["cents"]
    return {city: (sales[city], cents[city]) for city in sales}


def test_the_sums_are_right_and_internal_topics_as_they_must_be(application: Any) -> None:
    made: Application = application("shop", partitions=2)
    customers = made.topic("customers")
    made.kafka.create(customers, partitions=3, retention_ms="-1", cleanup_policy="compact")
    rows = [(f"c{one}", json.dumps({"city": f"city-{one % CITIES}"})) for one in range(CUSTOMERS)]
    made.kafka.produce(customers, rows, timestamp_ms=START_MS)
    records = purchases(0)
    made.kafka.produce(made.topic("in"), records, timestamp_ms=START_MS + 1_000)

    in_steps = {"commit_interval_ms": 1, "max_poll_records": 300}
    points = "commit.before_transaction_commit=kill@9"
    assert made.worker(failpoints=points, **in_steps).wait() == KILLED
    points = "commit.after_transaction_commit=kill@5"
    assert made.worker(failpoints=points, **in_steps).wait() == KILLED
    more = purchases(PURCHASES)
    made.kafka.produce(made.topic("in"), more, timestamp_ms=START_MS + 1_000)
    worker = made.worker()

    # The first repartition topic has the partitions of the table, the second those of the first.
    repartition = [f"{made.name}-by-customer-repartition", f"{made.name}-cities-repartition"]
    topics = (made.topic("in"), customers, *repartition)
    made.wait_until_done(*topics, watch=[worker])

    found: dict[str, tuple[int, int]] = {}
    for record in made.kafka.read(made.topic("out")):
        city, row = (record.key or b"").decode(), json.loads(record.value or b"null")
        assert row["sales"] > found.get(city, (0, 0))[0]
        found[city] = (row["sales"], row["cents"])
        assert record.timestamp_ms >= START_MS
        assert record.partition == (murmur2(record.key or b"") & 0x7FFFFFFF) % 2
    assert found == totals(records + more)

    for topic in repartition:
        assert made.kafka.partitions(topic) == [0, 1, 2]
        settings = settings_of(made, topic)
        assert (settings["cleanup.policy"], settings["retention.ms"]) == ("delete", "-1")
    for store in ("customers", "cities"):
        assert made.kafka.partitions(made.changelog(store)) == [0, 1, 2]
        settings = settings_of(made, made.changelog(store))
        assert set((settings["cleanup.policy"] or "").split(",")) == {"compact", "delete"}
        assert (settings["retention.ms"], settings["retention.bytes"]) == ("-1", "-1")
    assert worker.stop() == 0
