"""Bytes of the statuses that a change caused, as the broker stores them.

Statuses are repeated all the time, many in a batch or one, as it comes: the same 1,200 of them take
100 KB in one interval and 150 KB in the next. A difference of two windows shows that, and not the
change. So those are counted that say more than before: each with its share of its batch.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.measure import MeasureError
from streamer.config import Config
from streamer.control.messages import decode_status
from streamer.control.topics import ControlTopics
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.table import TableReader

__all__ = ["Batch", "Statuses", "batches"]

_READ_S = 60.0
# Of the second format of batches: where the first offset, the length of what follows and the
# number of records stand.
_HEAD, _COUNT, _HEAD_BYTES = struct.Struct(">qi"), struct.Struct(">i"), 61
_COUNT_AT = 57


class Batch(NamedTuple):
    """Records that were written together; `size` is in bytes, all of it."""

    first: int
    records: int
    size: int


def batches(partition: Path) -> Iterator[Batch]:
    """All that stand in the segments of a partition's directory, in their order."""
    for segment in sorted(partition.glob("*.log")):
        data, at = segment.read_bytes(), 0
        while at + _HEAD_BYTES <= len(data):
            first, length = _HEAD.unpack_from(data, at)
            (records,) = _COUNT.unpack_from(data, at + _COUNT_AT)
            size = _HEAD.size + length
            if at + size > len(data):
                break
            yield Batch(first, records, size)
            at += size


class Statuses:
    """Reads them between windows, with a client that ends then: reading is traffic, too."""

    def __init__(self, config: Config, logs: Path) -> None:
        self._config = config
        self._admin = Admin(config)
        self._places = ControlTopics.find(config, self._admin).statuses()
        self._logs = logs
        self._since: dict[TopicPartition, int] = {}

    def mark(self) -> None:
        """From here on it is counted."""
        self._since = self._admin.ends(self._places)

    def caused(self) -> int:
        """Bytes of those since the mark that tell of another assignment than the one before of the
        same worker, of another incarnation or of an end."""
        with TableReader(self._config, self._places) as reader:
            rows = reader.read_to(self._admin.ends(self._places), timeout_s=_READ_S)
        stored = {place: [*batches(self._directory(place))] for place in self._places}
        last: dict[str, tuple[str, int, bool]] = {}
        found = 0.0
        for row in rows:
            if row.value is None:
                continue
            record = decode_status(row.place.topic, row.key, row.value)
            said = record.incarnation, record.seen, record.left
            before, last[row.key] = last.get(row.key), said
            if said != before and row.offset >= self._since[row.place]:
                found += _share(stored[row.place], row.offset)
        return round(found)

    def _directory(self, place: TopicPartition) -> Path:
        return self._logs / f"{place.topic}-{place.partition}"


def _share(stored: list[Batch], offset: int) -> float:
    at = bisect_right(stored, offset, key=lambda batch: batch.first) - 1
    if at < 0:
        raise MeasureError(f"no batch of the statuses holds offset {offset}")
    return stored[at].size / stored[at].records
