"""Events that come all the time, and when their results are seen: for how long none comes.

Every tick has an event for each of some keys, which are spread over all partitions. A result is
seen when a consumer of committed records gets it, so a silence holds everything: the commit that
was lost, the time until somebody else has the task, and its first commit.
"""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Self

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.measure import MeasureError

TICK_S = 0.02
KEYS = 48
JOIN_S = 30.0


class Silence(NamedTuple):
    """Between two results of a partition that follow each other; seconds since 1970."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def longest(moments: Sequence[float], since: float) -> Silence:
    """The longest silence that ended after a moment. ValueError where nothing came after it."""
    silences = (Silence(began, ended) for began, ended in pairwise(moments) if ended > since)
    return max(silences, key=lambda one: one.seconds)


def percentile(values: Sequence[float], share: float) -> float:
    """By the nearest rank, so it is one of the values."""
    ranked = sorted(values)
    return ranked[max(0, -(-int(share * 100) * len(ranked) // 100) - 1)]


class TwoThreads(ABC):
    """One sends and one sees, from `with` to its end."""

    def __init__(self) -> None:
        self._has_sent, self._is_over = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=one, daemon=True) for one in (self._send, self._see)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._has_sent.set()
        self._is_over.set()
        for thread in self._threads:
            thread.join(JOIN_S)

    @abstractmethod
    def _send(self) -> None:
        """Until `_has_sent`."""

    @abstractmethod
    def _see(self) -> None:
        """Until `_is_over`."""


class Traffic(TwoThreads):
    """`finish` waits for the last results."""

    def __init__(self, bootstrap: str, *, source: str, target: str, partitions: int) -> None:
        super().__init__()
        self._common = {"bootstrap.servers": bootstrap, "log_level": 0}
        self._source, self._target = source, target
        self._partitions = partitions
        self._sent = 0
        self._seen: dict[bytes, int] = {}
        self._moments: dict[int, list[float]] = defaultdict(list)
        self._fault = ""

    def silence(self, partition: int, since: float) -> Silence:
        """Raises MeasureError where no result came since then."""
        try:
            return longest(list(self._moments[partition]), since)
        except ValueError:
            raise MeasureError(f"no result of partition {partition} was seen") from None

    def finish(self, timeout_s: float) -> str:
        """Send no more, and wait for what is on its way; returns what is wrong, if anything is."""
        self._has_sent.set()
        if self._threads[0].is_alive():
            self._threads[0].join(JOIN_S)
        deadline = time.monotonic() + timeout_s
        while not self._fault and set(self._seen.values()) != {self._sent}:
            if time.monotonic() > deadline:
                return f"{self._sent} events of each key were sent, results say {self._seen}"
            time.sleep(0.1)
        return self._fault

    def _send(self) -> None:
        producer = Producer(
            {
                **self._common,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 1,
            }
        )
        while not self._has_sent.wait(TICK_S):
            now_ms = time.time_ns() // 1_000_000
            for number in range(KEYS):
                key = f"c{number}"
                event = {"customer": key, "type": "exchange", "amount": 1, "ts": now_ms}
                producer.produce(self._source, json.dumps(event), key)
            self._sent += 1
            producer.poll(0)
        producer.flush(JOIN_S)

    def _see(self) -> None:
        consumer = Consumer(
            {
                **self._common,
                "group.id": f"{self._target}-seen",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
            }
        )
        places = [TopicPartition(self._target, number, 0) for number in range(self._partitions)]
        consumer.assign(places)
        try:
            while not self._is_over.is_set():
                for message in consumer.consume(1_000, 0.02):
                    if message.error() is None:
                        self._take(
                            message.partition() or 0, message.key() or b"", message.value() or b""
                        )
        finally:
            consumer.close()

    def _take(self, partition: int, key: bytes, value: bytes) -> None:
        count = int(json.loads(value)["count"])
        if count <= self._seen.get(key, 0):
            self._fault = self._fault or f"{key!r}: {count} after {self._seen[key]}"
        self._seen[key] = count
        self._moments[partition].append(time.time())
