"""One store on its way to the end of its changelog, and its rows on their way to the disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streamer.ids import TopicPartition
from streamer.kafka.changelog import Bounds, Records

__all__ = ["BULK_OFFSETS_MIN", "BULK_ROWS_MIN", "StoreRestore"]

# With fewer offsets to come, gathering rows and making files of them does not pay.
BULK_OFFSETS_MIN = 50_000
BULK_ROWS_MIN = 10_000
# Longer than a commit interval that is usual, and what it takes to read what was committed.
CURRENT_MS = 3_000
# Longer than the minute between two questions for the ends, and what an answer may take.
HEARD_MS = 90_000
# A gathered row costs this beside its bytes: two objects and a slot of a dictionary.
_ROW_BYTES = 170


@dataclass(slots=True, eq=False)
class StoreRestore:
    """`position` is next to read, `saved` is what the database has; `end` is exclusive, and what
    is aimed at. `known_end` is the latest that was heard of, beside what is aimed at."""

    store: str
    place: TopicPartition
    position: int
    saved: int
    topic_id: str = ""
    start: int = 0
    end: int = 0
    known_end: int = 0
    is_bulk: bool = False
    rows: dict[bytes, bytes | None] = field(default_factory=dict)
    gathered_bytes: int = 0
    is_at_end: bool = False
    at_end_ms: int = 0
    heard_ms: int | None = None
    """When the end was heard of last, by the monotonic clock: asked for, or reached."""
    due: int = 0
    """An end of a minute ago: long past what an open transaction may still hold back."""

    def aim(self, bounds: Bounds, asked_ms: int) -> None:
        self.due, self.heard_ms = self.end, asked_ms
        self.start, self.end = bounds.start, bounds.end
        self.topic_id = bounds.topic_id or self.topic_id
        # Rows that are gathered already leave as files, however little is still to come.
        self.is_bulk = self.is_bulk or self.remaining_offsets >= BULK_OFFSETS_MIN

    @property
    def remaining_offsets(self) -> int:
        return max(self.end - self.position, 0)

    @property
    def lag(self) -> int:
        return max(self.end - self.position, self.known_end - self.position, 0)

    @property
    def is_loaded(self) -> bool:
        """Whether what was gathered is so much that it is added as files."""
        return self.is_bulk and len(self.rows) >= BULK_ROWS_MIN

    @property
    def memory_bytes(self) -> int:
        """Of the gathered rows, or more: rows that replaced others count until `recount`."""
        return self.gathered_bytes + _ROW_BYTES * len(self.rows)

    def recount(self) -> int:
        """The memory of the gathered rows, exactly."""
        self.gathered_bytes = _size_bytes(self.rows.keys(), self.rows.values())
        return self.memory_bytes

    def gather(self, records: Records) -> tuple[int, int]:
        """Take rows in: how many, and their bytes. The position is moved by whoever counts."""
        keys, values, offsets = records.keys, records.values, records.offsets
        if offsets[0] < self.position:
            # Fetched before a restore was cancelled and begun again.
            fresh = [index for index, offset in enumerate(offsets) if offset >= self.position]
            keys, values = [keys[i] for i in fresh], [values[i] for i in fresh]
        self.is_at_end = False
        self.rows.update(zip(keys, values, strict=True))
        size_bytes = _size_bytes(keys, values)
        self.gathered_bytes += size_bytes
        return len(keys), size_bytes

    def is_current(self, now_ms: int) -> bool:
        """Whether all that was committed is read, or was a moment ago: every commit takes the
        reader away from the end until it is told that it is there again. A reader that was cut off
        is told nothing: so the end must have been heard of, and what was then be read."""
        if self.heard_ms is None or now_ms - self.heard_ms >= HEARD_MS or self.position < self.due:
            return False
        return self.is_at_end or (self.at_end_ms > 0 and now_ms - self.at_end_ms < CURRENT_MS)

    def reach(self, now_ms: int) -> None:
        """The reader was told that it stands at the end."""
        self.is_at_end, self.at_end_ms, self.heard_ms = True, now_ms, now_ms

    def written(self) -> None:
        self.saved, self.rows, self.gathered_bytes = self.position, {}, 0


def _size_bytes(keys: Iterable[bytes], rows: Iterable[bytes | None]) -> int:
    return sum(map(len, keys)) + sum(map(len, filter(None, rows)))
