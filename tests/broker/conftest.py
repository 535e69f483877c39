"""One real Kafka for the whole session, and the few things that every scenario does with it.

`STREAMER_TEST_BROKER=host:port` uses a running broker instead of starting one.
Names are made from the test's, so scenarios never see each other's topics and groups.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streamer.config import Config
from streamer.ids import TopicPartition as Place
from streamer.kafka.admin import Admin
from streamer.kafka.attempts import Attempts
from streamer.sandbox import Sandbox
from streamer.sandbox.registry import SchemaRegistry
from tests.broker.workers import PATIENCE_S, Application, pauses
from tests.session import CLEANER_PAUSE, session_broker

if TYPE_CHECKING:
    from tests.broker.folds import Conductor
    from tests.broker.secured import SecuredKafka

# How long the end of a transaction may take after its commit was told.
HELD_UP_S = 3.0


class Read(NamedTuple):
    """A record as a plain consumer sees it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Names:
    """Unique names for one test."""

    application: str

    def topic(self, name: str) -> str:
        return f"{self.application}.{name}"


class Kafka:
    """A plain client for scenarios: makes topics, writes, and reads what was committed."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        # Scenarios take brokers away; librdkafka's lines about it would hide a real failure.
        self.settings = {"bootstrap.servers": bootstrap_servers, "log_level": 2}
        self.admin = AdminClient(self.settings)
        # For what is to be asked again while a broker comes back.
        self.requests = Admin(Config(application_id="test", bootstrap_servers=bootstrap_servers))

    def create(self, *topics: str, partitions: int = 4, **config: str) -> None:
        """`config` takes Kafka's names with `_` for `.`: `cleanup_policy="compact"`.

        Records stay whatever their times are: the broker looks for old ones every 15 seconds.
        """
        settings = {"retention.ms": "-1"} | {
            name.replace("_", "."): value for name, value in config.items()
        }
        wanted = [NewTopic(topic, partitions, -1, config=settings) for topic in topics]
        for made in self.admin.create_topics(wanted, operation_timeout=30).values():
            made.result(60)
        for topic in topics:
            wait_until(lambda name=topic: len(self.partitions(name)) == partitions)

    def delete(self, *topics: str) -> None:
        for gone in self.admin.delete_topics(list(topics), operation_timeout=30).values():
            gone.result(60)

    def topics(self) -> set[str]:
        return set(self.admin.list_topics(timeout=120).topics)

    def partitions(self, topic: str) -> list[int]:
        """Empty where the topic does not exist."""
        found = self.admin.list_topics(topic, timeout=120).topics[topic]
        return [] if found.error is not None else sorted(found.partitions)

    def produce(
        self,
        topic: str,
        records: Iterable[tuple[bytes | str | None, bytes | str | None]],
        *,
        partition: int = -1,
        timestamp_ms: int | Callable[[int], int] = 0,
        headers: list[tuple[str, bytes]] | None = None,
        partitioner: str = "murmur2_random",
    ) -> int:
        """Write (key, value) pairs and wait until all are acknowledged; their number.

        `timestamp_ms` is one time for all, a function of the record's index, or 0 for the present.
        """
        failures: list[KafkaError] = []

        def acknowledged(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error)

        producer = Producer(
            {
                **self.settings,
                "partitioner": partitioner,
                "linger.ms": 5,
                "enable.idempotence": True,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        count = 0
        for key, value in records:
            stamp = timestamp_ms(count) if callable(timestamp_ms) else timestamp_ms
            producer.produce(
                topic,
                value,
                key,
                partition=partition,
                timestamp=stamp,
                headers=headers,
                on_delivery=acknowledged,
            )
            count += 1
            if count % 10_000 == 0:
                producer.poll(0)
        assert producer.flush(60) == 0, f"{topic}: not all records were acknowledged within 60 s"
        assert not failures, f"{topic}: {failures[0]}"
        return count

    def read(
        self,
        topic: str,
        *,
        timeout: float = PATIENCE_S,
        isolation: str = "read_committed",
        held_up_s: float = HELD_UP_S,
    ) -> list[Read]:
        """All records from the start to the end of every partition, ordered by partition. What an
        open transaction holds up is waited for a little: markers come after the commit is told."""
        partitions = self.partitions(topic)
        assert partitions, f"topic {topic} does not exist"
        places = [Place(topic, number) for number in partitions]
        ends = self.requests.ends(places, "read_uncommitted")
        consumer = Consumer(
            {
                **self.settings,
                "group.id": f"reader-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": isolation,
                # The end is told by the first fetch that brings nothing.
                "fetch.wait.max.ms": 10,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
            wanted = {place.partition: end for place, end in ends.items()}
            return sorted(
                _read_to_end(consumer, topic, wanted, timeout=timeout, held_up_s=held_up_s)
            )
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The committed positions of a consumer group; partitions without one are left out."""
        consumer = Consumer({**self.settings, "group.id": group})
        try:
            asked = [TopicPartition(topic, number) for number in self.partitions(topic)]
            answer = Attempts(PATIENCE_S, self.bootstrap_servers)(
                f"asking for the positions of {group}",
                lambda left_s: consumer.committed(asked, timeout=left_s),
            )
        finally:
            consumer.close()
        return {found.partition: found.offset for found in answer if found.offset >= 0}


def _read_to_end(
    consumer: Consumer,
    topic: str,
    unfinished: dict[int, int],
    *,
    timeout: float,
    held_up_s: float,
) -> Iterator[Read]:
    began = time.monotonic()
    deadline = began + timeout
    held_up: set[int] = set()
    while unfinished:
        left = deadline - time.monotonic()
        assert left > 0, f"{topic}: partitions {sorted(unfinished)} had no end within {timeout} s"
        for message in consumer.consume(10_000, min(left, 0.02)):
            error = message.error()
            if error is None:
                yield _as_read(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                partition = message.partition() or 0
                if (message.offset() or 0) >= unfinished.get(partition, 0):
                    unfinished.pop(partition, None)
                else:
                    held_up.add(partition)
            else:
                raise AssertionError(f"{topic}: {error}")
        if held_up >= unfinished.keys() and time.monotonic() > began + held_up_s:
            # Shown where a scenario fails: what is missing may be behind it, and not lost.
            print(f"{topic}: partitions {sorted(unfinished)} are held up by open transactions")
            return


def _as_read(message: Message) -> Read:
    kind, stamp = message.timestamp()
    return Read(
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        -1 if kind == TIMESTAMP_NOT_AVAILABLE else stamp,
        message.headers() or [],
    )


def wait_until(
    is_true: Callable[[], object], *, timeout: float = PATIENCE_S, what: str = "the condition"
) -> None:
    """Ask again and again; fails the test when it never becomes true."""
    looks = pauses(timeout)
    while not is_true():
        assert next(looks, None), f"{what} did not become true within {timeout} s"


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The session's own Kafka. A test that pauses or stops one starts one of its own."""
    with session_broker() as running:
        yield running


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> str:
    """Bootstrap servers of a real Kafka."""
    given = os.environ.get("STREAMER_TEST_BROKER", "")
    return given or request.getfixturevalue("sandbox").bootstrap_servers


@pytest.fixture
def eager_cleaner(kafka: Kafka) -> Iterator[None]:
    """The broker looks every second for what to compact, from now to the end of the test."""
    _set_cleaner_pause(kafka, "1000", AlterConfigOpType.SET)
    yield
    _set_cleaner_pause(kafka, "", AlterConfigOpType.DELETE)


def _set_cleaner_pause(kafka: Kafka, value: str, kind: AlterConfigOpType) -> None:
    entry = ConfigEntry(CLEANER_PAUSE, value, incremental_operation=kind)
    for number in kafka.admin.list_topics(timeout=120).brokers:
        broker = ConfigResource(ResourceType.BROKER, str(number), incremental_configs=[entry])
        for done in kafka.admin.incremental_alter_configs([broker]).values():
            done.result(60)


@pytest.fixture(scope="session")
def registry() -> Iterator[SchemaRegistry]:
    """The session's own schema registry."""
    with SchemaRegistry() as running:
        yield running


@pytest.fixture(scope="session")
def kafka(broker: str) -> Kafka:
    return Kafka(broker)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """A Kafka of the module's own that lets nobody do what was not granted."""
    from tests.broker.secured import SecuredKafka

    broker = SecuredKafka(tmp_path_factory.mktemp("secured"))
    yield broker
    broker.close()


@pytest.fixture
def names(request: pytest.FixtureRequest) -> Names:
    plain = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return Names(f"{plain.strip('-')[:60]}-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def application(kafka: Kafka, names: Names, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes the applications of a test, with their topics; ends their workers after it.

    application("counts", outputs=("totals",), partitions=2, commit_interval_ms=50)
    """
    made: list[Application] = []

    def make(
        module: str,
        *,
        inputs: tuple[str, ...] = ("in",),
        outputs: tuple[str, ...] = ("out",),
        partitions: int = 2,
        **settings: object,
    ) -> Application:
        name = names.application + (f"-{len(made)}" if made else "")
        one = Application(kafka, name, module, tmp_path / str(len(made)), **settings)
        made.append(one)
        # Scenarios choose their records' times, which lie years back.
        topics = map(one.topic, (*inputs, *outputs))
        kafka.create(*topics, partitions=partitions, retention_ms="-1")
        return one

    yield make
    for one in made:
        one.close()


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def conductor(made: Application) -> Iterator[Conductor]:
    """Commands about the application that a scenario has `made`."""
    # With the history checker, which few scenarios of this folder need.
    from tests.broker.folds import Conductor

    one = Conductor(made)
    yield one
    one.close()
