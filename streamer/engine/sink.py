"""Sinks: encode results and hand them to the transaction's output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

from streamer.engine.batch import Batch, Order, Source
from streamer.engine.node import Operator
from streamer.engine.policy import Policy
from streamer.record import Headers
from streamer.topology.graph import Sink
from streamer.topology.partitioner import murmur2
from streamer.topology.serde import Serde, Typed
from streamer.topology.windowed_serde import WindowedKey

__all__ = ["Output", "SharedTopic", "SinkOperator", "sent"]


class Output(Protocol):
    """Where results go: the open transaction of the worker."""

    def send(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *,
        timestamps: Sequence[int],
        headers: Sequence[Headers] | None = None,
        partitions: Sequence[int] | None = None,
    ) -> None: ...

    def partition_count(self, topic: str) -> int: ...


@dataclass(slots=True)
class SharedTopic:
    """Records for a topic that several sinks of a subtopology write. They wait for the end of the
    batch and leave in the order of their source records, so that no key is reordered. Sources, of
    which a commit has several, go in the order they came in."""

    records: list[tuple[int, Order, int, tuple[Any, ...]]] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)

    def add(self, source: Source, places: Sequence[Order], records: Iterable[Any]) -> None:
        known = (number for number, one in enumerate(self.sources) if one is source)
        number = next(known, len(self.sources))
        if number == len(self.sources):
            self.sources.append(source)
        for place, record in zip(places, records, strict=True):
            self.records.append((number, place, len(self.records), record))

    def take(self) -> list[tuple[Any, ...]]:
        ordered = sorted(self.records, key=lambda entry: entry[:3])
        self.clear()
        return [entry[3] for entry in ordered]

    def clear(self) -> None:
        self.records.clear()
        self.sources.clear()


class SinkOperator(Operator):
    """Writes one topic. `key_is_raw` and `value_is_payload` say that the bytes a batch carries are
    this sink's own encoding, so that nothing is encoded twice."""

    stage = "production"

    def __init__(
        self,
        node: Sink,
        policy: Policy,
        *,
        topic: str,
        key: Serde[Any],
        value: Serde[Any],
        output: Output,
        key_is_raw: bool,
        value_is_payload: bool,
    ) -> None:
        super().__init__(node.name, policy)
        self.topic = topic
        self.shared: SharedTopic | None = None
        self.sends_shared = False
        self._choose = node.partition
        self._key = key
        self._value = value
        self._output = output
        self._key_is_raw = key_is_raw
        self._value_is_payload = value_is_payload

    @property
    def takes_payload(self) -> bool:
        """Whether it never looks at a value that comes with its bytes."""
        return self._value_is_payload and self._choose is None

    def run(self, batch: Batch) -> None:
        partitions: list[int] | None = None
        if self._choose is not None:
            count = self._output.partition_count(self.topic)
            chosen = _chooser(self._choose, count)
            partitions, left = self.call(chosen, batch, batch.keys, batch.values)
            batch = batch if left is None else batch.take(left)
        keys: Sequence[bytes | None]
        if self._key_is_raw and batch.raw_keys is not None:
            keys = batch.raw_keys
        else:
            encode = _nullable(self._key.encode, batch.keys)
            keys, left = self.call(encode, batch, batch.keys)
            if left is not None:
                batch = batch.take(left)
                partitions = partitions and [partitions[row] for row in left]
        values: Sequence[bytes | None]
        if self._value_is_payload and batch.payloads is not None:
            values = batch.payloads
        else:
            encode = _nullable(self._value.encode, batch.values)
            values, left = self.call(encode, batch, batch.values)
            if left is not None:
                batch = batch.take(left)
                keys = [keys[row] for row in left]
                partitions = partitions and [partitions[row] for row in left]
        self._send(batch, keys, values, partitions=partitions)

    def _send(
        self,
        batch: Batch,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *,
        partitions: list[int] | None,
    ) -> None:
        if isinstance(self._key, WindowedKey) and partitions is None:
            partitions = self._by_inner_key(keys)
        headers = _headers(batch)
        if self.shared is not None:
            count = len(batch)
            given = headers or [[]] * count
            chosen: Sequence[int | None] = partitions or [None] * count
            records = zip(keys, values, batch.timestamps, given, chosen, strict=True)
            self.shared.add(batch.source, batch.places, records)
            return
        self._output.send(
            self.topic,
            keys,
            values,
            timestamps=batch.timestamps,
            headers=headers,
            partitions=partitions,
        )

    def _by_inner_key(self, keys: Sequence[bytes | None]) -> list[int]:
        assert isinstance(self._key, WindowedKey)
        count = self._output.partition_count(self.topic)
        inner = self._key.partition_key
        return [(murmur2(inner(key or b"")) & 0x7FFFFFFF) % count for key in keys]

    def flush(self, stream_time_ms: int) -> None:
        self.end_of_batch()

    def end_of_batch(self) -> None:
        if self.shared is None or not self.sends_shared or not self.shared.records:
            return
        # Runs of one kind: where one sink chooses partitions, another may leave it to the producer.
        for is_chosen, run in groupby(self.shared.take(), lambda record: record[4] is not None):
            keys, values, timestamps, headers, partitions = zip(*run, strict=True)
            self._output.send(
                self.topic,
                keys,
                values,
                timestamps=timestamps,
                headers=headers if any(headers) else None,
                partitions=partitions if is_chosen else None,
            )

    def abort(self) -> None:
        if self.shared is not None:
            self.shared.clear()


def sent(value: Serde[Any], node: Sink, topic: str) -> Serde[Any]:
    """The serde of a sink's values. Of what goes to the application itself nothing may be
    unreadable there."""
    if node.is_internal and isinstance(value, Typed):
        return value.checked(f"repartition topic {topic!r}")
    return value


def _headers(batch: Batch) -> list[Headers] | None:
    raw = batch.source.raw
    if batch.headers is None and (raw is None or raw.headers is None):
        return None
    headers = [batch.headers_at(row) for row in range(len(batch))]
    return headers if any(headers) else None


def _chooser(choose: Callable[[Any, Any, int], int], count: int) -> Callable[[Any, Any], int]:
    def chosen(key: Any, value: Any) -> int:
        partition = choose(key, value, count)
        if not isinstance(partition, int) or not 0 <= partition < count:
            raise ValueError(f"the partition function returned {partition!r}, not 0 <= n < {count}")
        return partition

    return chosen


def _nullable(encode: Callable[[Any], bytes], column: Sequence[Any]) -> Callable[[Any], Any]:
    """The encoder itself, or one that lets None pass where the column has some."""
    if not any(item is None for item in column):
        return encode
    return lambda item: None if item is None else encode(item)
