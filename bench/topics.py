"""The topics of a run: made, filled with the workload, watched, and removed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.events import Expected, Tally, Workload, blocks

# Kept whatever the broker's clock says: a run reads what it wrote and removes it afterwards.
FOREVER = {"retention.ms": "-1"}
# For changelogs that are made here; not compacted for a day, so that every run reads the same.
CHANGELOG = {**FOREVER, "cleanup.policy": "compact,delete", "min.compaction.lag.ms": "86400000"}


COORDINATOR_ATTEMPTS = 40
COORDINATOR_WAIT_S = 0.5


class Topics:
    """Names, makes and removes the topics on one broker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "log_level": 0,
        }
        self._admin = AdminClient(self._settings)
        self._readers: dict[str, Consumer] = {}

    def create(self, name: str, *, partitions: int, settings: Mapping[str, str] = FOREVER) -> None:
        topic = NewTopic(name, partitions, 1, config=dict(settings))
        for future in self._admin.create_topics([topic], operation_timeout=30).values():
            future.result()

    def remove(self, part_of_name: str) -> None:
        """Removes every topic whose name holds the text: an application's internal ones too."""
        names = [
            name for name in self._admin.list_topics(timeout=30).topics if part_of_name in name
        ]
        if names:
            for future in self._admin.delete_topics(names, operation_timeout=30).values():
                future.result()

    def commit_start(self, group: str, *, topic: str, partitions: int) -> None:
        """Makes the group one that has read nothing yet, but is known to the broker.

        A new broker first has to make and load its topic of group offsets, hence the attempts.
        """
        start = [TopicPartition(topic, partition, 0) for partition in range(partitions)]
        request = ConsumerGroupTopicPartitions(group, start)
        for _ in range(COORDINATOR_ATTEMPTS):
            problem = self._try_commit(group, request)
            if problem is None:
                return
            if problem.code() not in _NOT_YET:
                break
            time.sleep(COORDINATOR_WAIT_S)
        raise KafkaException(problem)

    def _try_commit(self, group: str, request: ConsumerGroupTopicPartitions) -> KafkaError | None:
        """What went wrong: with the request, or with one of its partitions."""
        try:
            changes = self._admin.alter_consumer_group_offsets([request], request_timeout=20)
            changed: Sequence[TopicPartition] = changes[group].result().topic_partitions
        except KafkaException as error:
            failed: KafkaError = error.args[0]
            return failed
        return next((one.error for one in changed if one.error is not None), None)

    def committed(self, group: str, *, topic: str, partitions: int) -> int:
        """The sum of the group's committed positions; 0 while there is no group."""
        if group not in self._readers:
            # The admin client's own call crashes the process when the broker answers that it is
            # not the group's coordinator (librdkafka 2.16).
            settings = {"group.id": group, "isolation.level": "read_uncommitted"}
            self._readers[group] = Consumer({**self._settings, **settings})
        wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
        try:
            found = self._readers[group].committed(wanted, timeout=20)
        except KafkaException as error:
            if error.args[0].code() in _NOT_YET:
                return 0
            raise
        return sum(max(0, partition.offset) for partition in found)

    def close(self) -> None:
        while self._readers:
            self._readers.popitem()[1].close()


_NOT_YET = (
    KafkaError.GROUP_ID_NOT_FOUND,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError._TIMED_OUT,
)


class Filler:
    """Sends records fast, in order, without duplicates, to where Java clients would send them."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._bootstrap = bootstrap
        self._sent = 0
        self._failed: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 50,
                "queue.buffering.max.messages": 2_000_000,
                "queue.buffering.max.kbytes": 512 * 1024,
                "log_level": 3,
            }
        )

    def send(self, keys: Iterable[bytes], values: Iterable[bytes]) -> None:
        messages = [{"key": k, "value": v} for k, v in zip(keys, values, strict=True)]
        # Far below the queue's own limits, at which single messages would be refused.
        self._producer.poll(0)
        if len(self._producer) > 200_000:
            self._producer.flush()
        queued = self._producer.produce_batch(self._topic, messages)
        if queued != len(messages):
            raise RuntimeError(
                f"only {queued} of {len(messages)} records were queued: {messages[-1]}"
            )
        self._sent += queued

    def flush(self) -> None:
        """Waits for all; RuntimeError if that takes too long."""
        if self._producer.flush(120):
            raise RuntimeError(f"{self._topic}: records are still unsent after 120 s")

    def finish(self) -> int:
        """Waits for all and returns how many; RuntimeError if the topic holds another number."""
        self.flush()
        found = count(self._bootstrap, self._topic)
        if found != self._sent:
            raise RuntimeError(f"{self._topic} holds {found:,} records, {self._sent:,} were sent")
        return found


def fill(bootstrap: str, topic: str, *, workload: Workload) -> Expected:
    """Sends the workload; returns the exact result that every system must reach."""
    filler = Filler(bootstrap, topic)
    tally = Tally(workload.customers)
    for block in blocks(workload):
        filler.send(block.keys(), block.values())
        tally.add(block)
    filler.finish()
    return tally.expected()


def count(bootstrap: str, topic: str) -> int:
    """How many offsets the topic holds: its records, if no transaction wrote to it."""
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-count"})
    try:
        partitions = reader.list_topics(topic, timeout=30).topics[topic].partitions
        marks = [reader.get_watermark_offsets(TopicPartition(topic, p), 30) for p in partitions]
        return sum(high - low for low, high in marks)
    finally:
        reader.close()
