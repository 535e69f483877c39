"""Producers that write on as if a topic had not been given more partitions, and who judges what
became of their records."""

from __future__ import annotations

import threading
from dataclasses import replace

from confluent_kafka import KafkaError, Message, Producer

from streamer.config import Config
from streamer.layout import ApplicationLayout
from streamer.record import Record
from streamer.testing.evidence import cluster_history
from streamer.testing.history import check, per_key
from streamer.topology.partitioner import partition_of
from tests.broker.applications.sequence import Chain, link
from tests.broker.exact import described
from tests.broker.workers import Application

__all__ = ["METADATA_MS", "Writer", "judge_chains"]

METADATA_MS = 12_000


class Writer:
    """A producer in a thread: a round has the next number of each of its keys, and ends when all
    of it is acknowledged. It chooses partitions as Java's do, by what it knows of the topic, or,
    where it never learns, by what it `believes`: librdkafka may ask earlier than it was told. One
    that places keys `by` a function chooses partitions itself, and so has to believe something."""

    def __init__(
        self,
        made: Application,
        keys: list[str],
        *,
        written: list[Record],
        believes: int = 0,
        by: str = "murmur2",
    ) -> None:
        self._believes = believes
        self._by = by
        self.keys = keys
        self.rounds = 0
        self._topic = made.topic("in")
        self._written = written
        self._stopping = threading.Event()
        self._producer = Producer(
            {
                **made.kafka.settings,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 1,
                "topic.metadata.refresh.interval.ms": METADATA_MS,
                "metadata.max.age.ms": METADATA_MS,
            }
        )
        self.partitions: set[int] = set()
        self.failures: list[KafkaError] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Writer:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(120)
        assert not self._thread.is_alive()
        assert not self.failures, self.failures[0]

    def _run(self) -> None:
        while not self._stopping.is_set():
            for key in self.keys:
                where = (
                    partition_of(key.encode(), self._believes, self._by) if self._believes else -1
                )
                self._producer.produce(
                    self._topic, str(self.rounds), key, where, on_delivery=self._acknowledged
                )
            self._producer.flush(60)
            self._written += [Record(key, self.rounds, 0) for key in self.keys]
            self.rounds += 1
            self._stopping.wait(0.02)

    def _acknowledged(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failures.append(error)
        self.partitions.add(message.partition() or 0)


def judge_chains(
    made: Application, config: Config, layout: ApplicationLayout | None, written: list[Record]
) -> None:
    """Each key's records in the order in which they were acknowledged, each once: the topic's
    partitions do not tell it where they were as many before and others now."""
    history = cluster_history(
        described(made),
        config,
        inputs=made.topic("in"),
        output=made.topic("results"),
        store="chains",
        layout=layout,
    )
    assert len(history.inputs) == len(written)
    verdict = check(replace(history, inputs=written), per_key(Chain, link), emit="every")
    assert verdict, verdict
