"""Numbered events of many keys at a steady rate, and when results are seen.

A first event of each key makes the state, and a last one shows at the end what has become of it.
In between keys are drawn at random. The results of all of it are read back: a ``Ledger`` says what
is lost, doubled or out of order.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

from bench.check import read_committed
from bench.events import BLOCK_EVENTS, key_of, number_of
from bench.measure import MeasureError
from bench.topics import Filler
from bench.traffic import JOIN_S, Silence, TwoThreads, longest

TICK_S = 0.02


class Seen(msgspec.Struct):
    """A result; further fields are ignored."""

    count: int
    disorder: int


@dataclass
class Ledger:
    """What the results of each key say, in their order."""

    doubled: int = 0
    reordered: int = 0
    _last: dict[int, Seen] = field(default_factory=dict)

    def take(self, key: int, seen: Seen) -> None:
        before = self._last.get(key)
        if before is not None and seen.count <= before.count:
            self.doubled += seen.count == before.count
            self.reordered += seen.count < before.count
        else:
            self._last[key] = seen

    def faults(self, sent: Sequence[int]) -> dict[str, int]:
        """``sent`` says how many events each key had."""
        known = [self._last.get(key, Seen(0, 0)) for key in range(len(sent))]
        ends = list(zip(sent, known, strict=True))
        strange = sum(one.count for key, one in self._last.items() if key >= len(sent))
        return {
            "lost": sum(max(count - one.count, 0) for count, one in ends),
            "doubled": self.doubled + strange + sum(max(one.count - n, 0) for n, one in ends),
            "reordered": self.reordered + sum(one.disorder for one in known),
        }


def read_back(bootstrap: str, topic: str) -> Ledger:
    """Raises RuntimeError where the topic has no reachable end."""
    ledger, decode = Ledger(), msgspec.json.Decoder(Seen).decode
    for keys, values in read_committed(bootstrap, topic):
        for key, value in zip(keys, values, strict=True):
            number = number_of(key)
            ledger.take(-1 if number is None else number, decode(value))
    return ledger


def _event(number: int) -> bytes:
    """As Kafka's own serializer writes numbers."""
    return int(number).to_bytes(8, "big", signed=True)


class Load(TwoThreads):
    """Between ``fill`` and ``round_off``."""

    def __init__(
        self, bootstrap: str, *, source: str, target: str, partitions: int, keys: int, rate: int
    ) -> None:
        super().__init__()
        self._bootstrap = bootstrap
        self._source, self._target = source, target
        self._partitions = partitions
        self._rate = rate
        self._sent = np.zeros(keys, dtype=np.int64)
        self._moments: dict[int, list[float]] = defaultdict(list)

    @property
    def sent(self) -> list[int]:
        """How many events each key had."""
        return [int(count) for count in self._sent]

    def fill(self) -> None:
        """One more event of each key."""
        filler = Filler(self._bootstrap, self._source)
        for start in range(0, len(self._sent), BLOCK_EVENTS):
            block = range(start, min(start + BLOCK_EVENTS, len(self._sent)))
            self._sent[block.start : block.stop] += 1
            filler.send(map(key_of, block), [_event(self._sent[key]) for key in block])
        filler.flush()

    def round_off(self) -> None:
        """Draw no more keys; one more event of each. Raises MeasureError where events were not
        sent to the end: what was measured was no load then."""
        if not self._threads[0].is_alive():
            raise MeasureError("the thread that sends events has ended before")
        self._has_sent.set()
        self._threads[0].join(JOIN_S)
        if self._threads[0].is_alive():
            raise MeasureError("events could not be sent")
        self.fill()

    def gap(self, since: float) -> Silence:
        """The longest time without a result of a partition that ended after a moment. Raises
        MeasureError where one had none since then."""
        try:
            found = [longest(list(self._moments[each]), since) for each in range(self._partitions)]
        except ValueError:
            raise MeasureError("no result of a partition was seen") from None
        return max(found, key=lambda one: one.seconds)

    def _send(self) -> None:
        chance = random.Random(1)
        producer = Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "log_level": 0,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 1,
            }
        )
        began, drawn = time.monotonic(), 0
        while not self._has_sent.wait(TICK_S):
            due = int((time.monotonic() - began) * self._rate)
            for _ in range(due - drawn):
                key = chance.randrange(len(self._sent))
                self._sent[key] += 1
                producer.produce(self._source, _event(self._sent[key]), key_of(key))
            drawn = due
            producer.poll(0)
        producer.flush(JOIN_S)

    def _see(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "log_level": 0,
                "group.id": f"{self._target}-seen",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
            }
        )
        places = [
            TopicPartition(self._target, each, OFFSET_END) for each in range(self._partitions)
        ]
        consumer.assign(places)
        try:
            while not self._is_over.is_set():
                messages = consumer.consume(1_000, 0.02)
                now = time.time()
                for place in {one.partition() or 0 for one in messages if one.error() is None}:
                    self._moments[place].append(now)
        finally:
            consumer.close()
