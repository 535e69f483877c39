"""One task's pipeline over a database in memory: batches in, records out, nothing around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamer import metrics
from streamer.config import load
from streamer.engine.pipeline import Pipeline
from streamer.ids import TaskId
from streamer.record import Headers, RawBatch
from streamer.store.closing import Closing
from streamer.store.keys import index_key, payload, timestamp
from streamer.task.build import Plan
from streamer.testing.topics import Topics
from streamer.topology.app import App
from streamer.topology.stores import StoreKind, StoreSpec

Row = tuple[bytes | None, bytes | None, int]
Sent = tuple[bytes | None, bytes | None, int, tuple[tuple[str, bytes | None], ...]]
TASK = TaskId(0, 0)
REASONS = ("null_key", "null_value", "late", "skip")


class MemoryDatabase:
    """What `TaskDatabase` does for a pipeline, in dictionaries."""

    def __init__(self, specs: Sequence[StoreSpec]) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.rows: dict[str, dict[bytes, bytes]] = {spec.name: {} for spec in specs}
        self.index: dict[str, set[bytes]] = {spec.name: set() for spec in specs}

    def get_many(self, store: str, keys: list[bytes]) -> list[bytes | None]:
        return [self.rows[store].get(key) for key in keys]

    def scan(
        self,
        store: str,
        start: bytes,
        end: bytes | None,
        *,
        reverse: bool = False,
        index: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = dict.fromkeys(self.index[store], b"") if index else self.rows[store]
        keys = sorted(rows, reverse=reverse)
        return iter(
            [(key, rows[key]) for key in keys if key >= start and (end is None or key < end)]
        )

    def write(self, changes: Mapping[str, Sequence[tuple[bytes, bytes | None]]]) -> None:
        for store, rows in changes.items():
            spec = self.specs[store]
            for key, row in rows:
                if row is not None:
                    self.rows[store][key] = row
                    if spec.is_indexed_by_time:
                        self.index[store].add(index_key(spec, key, row))
                    continue
                self.rows[store].pop(key, None)
                if spec.kind is StoreKind.SESSION:
                    self.index[store].discard(index_key(spec, key, b""))

    def delete_index(self, store: str, keys: Sequence[bytes]) -> None:
        self.index[store].difference_update(keys)


@dataclass
class Collected:
    """An Output that keeps what the open transaction holds apart from what was committed."""

    partitions: int = 1
    open: list[tuple[str, Sent, int | None]] = field(default_factory=list)
    committed: list[tuple[str, Sent, int | None]] = field(default_factory=list)

    def send(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *,
        timestamps: Sequence[int],
        headers: Sequence[Headers] | None = None,
        partitions: Sequence[int] | None = None,
    ) -> None:
        assert len(keys) == len(values) == len(timestamps)
        for row, key in enumerate(keys):
            given = () if headers is None else tuple(headers[row])
            place = None if partitions is None else partitions[row]
            self.open.append((topic, (key, values[row], timestamps[row], given), place))

    def partition_count(self, topic: str) -> int:
        return self.partitions


class Rig:
    """A pipeline with its past: `run` and `commit` as a task does, `abort` and `restart` too."""

    def __init__(self, app: App, **settings: Any) -> None:
        self.topology = app.topology()
        self.config = load(
            app.application_id,
            keywords={**app.settings, **settings},
            environment={},
            directory=Path("/nonexistent"),
        )
        self.now_ms = 0
        self.output = Collected()
        self.database = MemoryDatabase(self.topology.subtopologies[0].stores)
        self.stream_time_ms = -1
        self.times: dict[str, int] = {}
        self.closings: dict[str, Closing] = {}
        self.passed: dict[str, Callable[[bytes], bool]] = {}
        self.offsets: dict[str, int] = {}
        self.is_replay = False
        self.topics = Topics(self.topology, self.config)
        self._dropped = self._counts()
        self.pipeline = self._pipeline()

    def _pipeline(self) -> Pipeline:
        plan = Plan(
            topology=self.topology,
            config=self.config,
            output=self.output,
            wall_time_ms=lambda: self.now_ms,
            recent_bytes=20_000,
            limits=dict if self.is_replay else None,
        )
        database: Any = self.database
        return plan.pipeline(
            TASK,
            database,
            stream_time_ms=self.stream_time_ms,
            times=self.times,
            closings=self.closings,
            passed=self.passed,
            recent_bytes=9_000,
        )

    def batch(self, topic: str, records: Sequence[tuple[Any, ...]]) -> RawBatch:
        """Records `(key, value, timestamp, headers)` through the source's serdes."""
        serdes = self.topics.source(topic)
        first = self.offsets.get(topic, 0)
        self.offsets[topic] = first + len(records)
        headers = [list(one[3]) if len(one) > 3 else [] for one in records]
        return RawBatch(
            topic=topic,
            partition=0,
            keys=[_encoded(serdes.key, one[0]) for one in records],
            values=[_encoded(serdes.value, one[1]) for one in records],
            timestamps=[one[2] for one in records],
            offsets=list(range(first, first + len(records))),
            read_headers=lambda: headers,
        )

    def run(self, topic: str, records: Sequence[tuple[Any, ...]]) -> None:
        if records:
            self.pipeline.run(self.batch(topic, records))

    def commit(self) -> None:
        self.pipeline.flush()
        changes = self.pipeline.changes()
        for store, keys in self.pipeline.stale_index().items():
            self.database.delete_index(store, keys)
        self.database.write(changes)
        self.pipeline.committed(changes)
        self.output.committed += self.output.open
        self.output.open = []
        self.stream_time_ms = self.pipeline.stream_time_ms
        self.times = self.pipeline.times
        self.closings = {
            store: place for store, place in self.pipeline.closings.items() if place is not None
        }

    def abort(self) -> None:
        self.output.open = []
        self.pipeline.abort()

    def restart(self) -> None:
        """What a crash leaves: the committed rows and stream times."""
        self.output.open = []
        self.pipeline = self._pipeline()

    # -- what came out -------------------------------------------------------------------------

    def sent(self, topic: str) -> list[tuple[Any, Any, int, tuple[tuple[str, bytes | None], ...]]]:
        """Committed records of a topic, decoded by its sink's serdes."""
        serdes = self.topics.decoding(topic)
        return [
            (
                None if key is None else serdes.key.decode(key),
                None if value is None else serdes.value.decode(value),
                stamp,
                headers,
            )
            for name, (key, value, stamp, headers), _partition in self.output.committed
            if name == self.topics.name(topic)
        ]

    def rows(self, store: str) -> dict[bytes, tuple[Any, int]]:
        """Committed rows: value and timestamp by stored key."""
        spec = self.database.specs[store]
        decode = self.topics.of_store(spec).value.decode
        return {
            key: (decode(payload(row)), timestamp(row))
            for key, row in self.database.rows[store].items()
        }

    def dropped(self) -> dict[str, int]:
        """Records dropped since the rig was made, by reason."""
        now = self._counts()
        return {reason: now[reason] - self._dropped[reason] for reason in REASONS}

    def _counts(self) -> dict[str, int]:
        found = dict.fromkeys(REASONS, 0)
        for family in metrics.records_dropped.collect():
            for sample in family.samples:
                reason = sample.labels.get("reason")
                if sample.name.endswith("_total") and sample.labels["task"] == str(TASK):
                    found[str(reason)] = int(sample.value)
        return found


def _encoded(serde: Any, item: Any) -> bytes | None:
    if item is None or isinstance(item, bytes):
        return item
    encoded: bytes = serde.encode(item)
    return encoded
