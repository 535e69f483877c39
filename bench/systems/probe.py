"""The plain parts without a product around them: what Python, librdkafka and RocksDB can reach.

consume(10,000) -> decode -> fold per key in a dict -> one list-get of the missing keys -> changelog
and results by produce_batch with the input positions in one Kafka transaction -> one write batch.
It starts empty, cannot recover and has fixed partitions: a ceiling, not an application.
"""

from __future__ import annotations

import gc
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from rocksdict import Options, Rdict, WriteBatch

from bench.systems import Case, System

CONSUME_RECORDS = 10_000
IDLE_S = 0.05


class Event(msgspec.Struct, gc=False):
    customer: str
    type: str
    amount: int
    ts: int


class Fields(msgspec.Struct, gc=False):
    """Only what the built-in aggregates need: the decoder skips the rest."""

    amount: int
    ts: int


class Stats(msgspec.Struct):
    count: int = 0
    sum: int = 0
    last: int = 0


def add(key: bytes, event: Event, stats: Stats) -> Stats:
    """What a user would write."""
    return Stats(stats.count + 1, stats.sum + event.amount, event.ts)


@dataclass(frozen=True)
class Variant:
    """How the probe works on its state."""

    object_cache: bool = True
    collect_garbage: bool = True
    every: bool = False
    packed: bool = False


VARIANTS = {
    "fold": Variant(),
    "every": Variant(every=True),
    "lean": Variant(object_cache=False, collect_garbage=False),
    "packed": Variant(object_cache=False, collect_garbage=False, packed=True),
}


class Folds:
    """State as objects, a user's function per event, JSON as stored form and as result."""

    def __init__(self) -> None:
        self._event = msgspec.json.Decoder(Event).decode
        self._load = msgspec.json.Decoder(Stats).decode
        self._encode = msgspec.json.Encoder().encode
        self.cache: dict[bytes, Any] = {}

    def load(self, keys: list[bytes], stored: Sequence[bytes | None]) -> None:
        for key, value in zip(keys, stored, strict=True):
            self.cache[key] = Stats() if value is None else self._load(value)

    def fold(self, keys: list[bytes], values: list[bytes]) -> None:
        cache = self.cache
        for key, event in zip(keys, map(self._event, values), strict=True):
            cache[key] = add(key, event, cache[key])

    def fold_every(self, keys: list[bytes], values: list[bytes]) -> list[dict[str, bytes]]:
        cache, encode, results = self.cache, self._encode, []
        for key, event in zip(keys, map(self._event, values), strict=True):
            stats = cache[key] = add(key, event, cache[key])
            results.append({"key": key, "value": encode(stats)})
        return results

    def stored(self, keys: set[bytes]) -> list[dict[str, bytes]]:
        cache, encode = self.cache, self._encode
        return [{"key": key, "value": encode(cache[key])} for key in keys]

    results: Callable[..., list[dict[str, bytes]]] | None = None


class Packed:
    """State as 24 bytes, the three aggregates inline, JSON only for the results."""

    def __init__(self) -> None:
        self._fields = msgspec.json.Decoder(Fields).decode
        self._form = struct.Struct("<qqq")
        self.cache: dict[bytes, Any] = {}

    def load(self, keys: list[bytes], stored: Sequence[bytes | None]) -> None:
        unpack = self._form.unpack
        for key, value in zip(keys, stored, strict=True):
            self.cache[key] = [0, 0, 0] if value is None else [*unpack(value)]

    def fold(self, keys: list[bytes], values: list[bytes]) -> None:
        cache = self.cache
        for key, event in zip(keys, map(self._fields, values), strict=True):
            stats = cache[key]
            stats[0] += 1
            stats[1] += event.amount
            if event.ts > stats[2]:
                stats[2] = event.ts

    def stored(self, keys: set[bytes]) -> list[dict[str, bytes]]:
        cache, pack = self.cache, self._form.pack
        return [{"key": key, "value": pack(*cache[key])} for key in keys]

    def results(self, keys: set[bytes]) -> list[dict[str, bytes]]:
        cache, form = self.cache, b'{"count":%d,"sum":%d,"last":%d}'
        return [{"key": key, "value": form % tuple(cache[key])} for key in keys]


class Probe:
    """The loop."""

    def __init__(self, case: Case, variant: Variant) -> None:
        self._case = case
        self._variant = variant
        self._state: Folds | Packed = Packed() if variant.packed else Folds()
        self._store = Rdict(str(case.state / f"db-{case.process}"), _options())
        self._consumer = Consumer(
            {
                "bootstrap.servers": case.bootstrap,
                "group.id": case.application,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                # By default a full queue stops fetching for a whole second and then runs dry:
                # 8 of 17 s were spent waiting.
                "fetch.queue.backoff.ms": 10,
            }
        )
        mine = range(case.process, case.partitions, case.processes)
        self._assigned = [TopicPartition(case.source, partition, 0) for partition in mine]
        self._consumer.assign(self._assigned)
        self._producer = Producer(
            {
                "bootstrap.servers": case.bootstrap,
                "transactional.id": f"{case.application}-{case.process}",
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "queue.buffering.max.messages": 5_000_000,
            }
        )
        self._producer.init_transactions(60)
        self._changelog = f"{case.application}-changelog"
        self._touched: set[bytes] = set()
        self.stopped = False

    def run(self) -> None:
        commit_s = self._case.commit_ms / 1_000
        due = time.monotonic() + commit_s
        while not self.stopped:
            left = max(0.0, due - time.monotonic())
            messages = self._consumer.consume(CONSUME_RECORDS, timeout=min(IDLE_S, left))
            if messages:
                self._take(messages)
            if self._touched and time.monotonic() >= due:
                self._commit()
            if time.monotonic() >= due:
                due = time.monotonic() + commit_s

    def _take(self, messages: list[Any]) -> None:
        keys = [message.key() for message in messages]
        if None in keys:
            raise KafkaException(next(m.error() for m in messages if m.key() is None))
        values = [message.value() for message in messages]
        if not self._touched:
            self._producer.begin_transaction()
        distinct = set(keys)
        missing = list(distinct - self._state.cache.keys())
        if missing:
            stored: Any = self._store.get(missing)
            self._state.load(missing, stored)
        if self._variant.every and isinstance(self._state, Folds):
            results = self._state.fold_every(keys, values)
            self._producer.produce_batch(self._case.target, results)
            self._producer.poll(0)
        else:
            self._state.fold(keys, values)
        self._touched |= distinct

    def _commit(self) -> None:
        stored = self._state.stored(self._touched)
        self._producer.produce_batch(self._changelog, stored)
        if not self._variant.every:
            results = self._state.results
            again = stored if results is None else results(self._touched)
            self._producer.produce_batch(self._case.target, again)
        self._producer.send_offsets_to_transaction(
            self._consumer.position(self._assigned), self._consumer.consumer_group_metadata()
        )
        self._producer.commit_transaction(60)
        batch = WriteBatch(raw_mode=True)
        for record in stored:
            batch.put(record["key"], record["value"])
        self._store.write(batch)
        self._touched = set()
        if not self._variant.object_cache:
            self._state.cache = {}


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    return options


def _row(name: str, variant: str, commit_ms: int = 1_000) -> System:
    command = [sys.executable, "-m", "bench.systems.probe", variant]
    return System(
        name=f"probe: {name}",
        commit_ms=commit_ms,
        command=lambda _: command,
        topics=("changelog",),
    )


SYSTEMS = (
    _row("fold function", "fold"),
    _row("fold function", "fold", commit_ms=100),
    _row("fold function, no object cache, no cyclic GC", "lean"),
    _row("packed state, no object cache, no cyclic GC", "packed"),
    _row("result for every event", "every"),
)


def main(variant: str) -> None:
    chosen = VARIANTS[variant]
    if not chosen.collect_garbage:
        gc.disable()
    probe = Probe(Case.from_environment(), chosen)

    def stop(*_: object) -> None:
        probe.stopped = True

    signal.signal(signal.SIGTERM, stop)
    probe.run()


if __name__ == "__main__":
    main(sys.argv[1])
