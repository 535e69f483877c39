"""The open transaction of one store: decoded values above the rows that are committed.

What a task reads and writes between two commits lives in `values`; at the commit each touched key
is encoded once, for changelog, output and RocksDB alike. Nothing reaches RocksDB before the Kafka
transaction has committed, so local state is never ahead, and an abort only clears dictionaries.
Committed rows that were used lately stay in `RecentRows` as bytes: bytes cost the cyclic garbage
collector nothing, where millions of live objects made it the largest cost of all (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from streamer.errors import ProcessingError
from streamer.store.footprint import Footprint
from streamer.store.keys import ROW_HEAD_BYTES, payload, rows, timestamp
from streamer.topology.serde import Serde
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = ["Database", "Dirty", "KeyValueState", "RecentRows", "newest_times"]

# What a dictionary entry costs beside its key's and row's bytes: two bytes objects and the slot.
_ENTRY_BYTES = 170
_ABSENT = object()
_NEVER = 1 << 63


class Database(Protocol):
    """What the states need of a task's database."""

    def get_many(self, store: str, keys: list[bytes]) -> list[bytes | None]: ...

    def scan(
        self, store: str, start: bytes, end: bytes | None, *, reverse: bool = ..., index: bool = ...
    ) -> Iterator[tuple[bytes, bytes]]: ...


class RecentRows:
    """Committed rows by key, bounded in bytes: two generations, the older is dropped whole."""

    __slots__ = ("_bytes_max", "_old", "_young", "_young_bytes")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max // 2
        self._young: dict[bytes, bytes | None] = {}
        self._old: dict[bytes, bytes | None] = {}
        self._young_bytes = 0

    @property
    def generations(self) -> tuple[dict[bytes, bytes | None], dict[bytes, bytes | None]]:
        """(younger, older) rows by key; None is a row that is known to be absent."""
        return self._young, self._old

    @property
    def size_bytes(self) -> int:
        return self._young_bytes + len(self._old) * _ENTRY_BYTES

    def resize(self, bytes_max: int) -> None:
        """Change the bound; it takes effect as rows come in."""
        self._bytes_max = bytes_max // 2

    def add(self, keys: Sequence[bytes], rows: Sequence[bytes | None]) -> None:
        self._young.update(zip(keys, rows, strict=True))
        added = sum(map(len, filter(None, rows))) + sum(map(len, keys))
        self._young_bytes += added + len(keys) * _ENTRY_BYTES
        if self._young_bytes > self._bytes_max:
            self._old, self._young, self._young_bytes = self._young, {}, 0

    def clear(self) -> None:
        self._young, self._old, self._young_bytes = {}, {}, 0


@dataclass(slots=True)
class Dirty:
    """What a transaction has changed in a store, encoded; None as payload is a removed key."""

    keys: list[bytes] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    payloads: list[bytes | None] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)

    def rows(self, kind: StoreKind) -> list[bytes | None]:
        return rows(kind, self.timestamps, self.payloads)


class KeyValueState:
    """One store of one task between two commits.

    `values` holds every key read or written since the last commit; None means absent. A caller
    that changes `values` itself says so with `touch`.
    """

    def __init__(
        self, spec: StoreSpec, database: Database, *, value: Serde[Any], recent_bytes_max: int
    ) -> None:
        self.spec = spec
        self.values: dict[bytes, Any] = {}
        self.committed_time_ms = _NEVER
        self._database = database
        self._serde = value
        self._footprint = Footprint(value.encode)
        self._recent = RecentRows(recent_bytes_max)
        self._loaded: dict[bytes, bytes] = {}
        self._stamps: dict[bytes, int] = {}
        self._newest = -1
        self._oldest = _NEVER
        self._dirty: Dirty | None = None
        self._purged: dict[bytes, None] = {}
        # Called when a value that was computed cannot be encoded, before that is raised.
        self.on_unencodable: Callable[[Exception], None] = lambda _error: None

    @property
    def serde(self) -> Serde[Any]:
        """The serde of the values, bound to the store's changelog."""
        return self._serde

    @property
    def recent(self) -> RecentRows:
        return self._recent

    @property
    def touched(self) -> int:
        """How many keys this transaction holds, read or written."""
        return len(self.values)

    @property
    def held_bytes(self) -> int:
        """About how much memory they take."""
        return self._footprint.estimate(self.values)

    # -- reading -------------------------------------------------------------------------------

    def load(self, keys: Iterable[bytes]) -> None:
        """Make sure that `values` has an entry for each of these keys."""
        missing = set(keys).difference(self.values)
        if not missing:
            return
        young, old = self._recent.generations
        unknown: list[bytes] = []
        found: list[tuple[bytes, bytes | None]] = []
        for key in missing:
            stored: Any = young.get(key, _ABSENT)
            if stored is _ABSENT:
                stored = old.get(key, _ABSENT)
            if stored is _ABSENT:
                unknown.append(key)
            else:
                found.append((key, stored))
        if unknown:
            rows = self._database.get_many(self.spec.name, unknown)
            found.extend(zip(unknown, rows, strict=True))
        values, loaded, decode = self.values, self._loaded, self._serde.decode
        for key, stored in found:
            if stored is None:
                values[key] = None
            else:
                loaded[key] = stored
                values[key] = decode(stored[ROW_HEAD_BYTES:])

    def get(self, key: bytes) -> Any:
        if key not in self.values:
            self.load((key,))
        return self.values[key]

    def timestamp_of(self, key: bytes) -> int:
        """The timestamp of a present key's value, this transaction included."""
        stored = self._loaded.get(key)
        before = -1 if stored is None else timestamp(stored)
        return max(before, self._stamps.get(key, -1))

    def decode(self, encoded: bytes) -> Any:
        """A value from its serde's bytes."""
        return self._serde.decode(encoded)

    def encode(self, value: Any) -> bytes:
        """The serde's bytes of a value. Raises what the serde raises."""
        return self._serde.encode(value)

    def row_time(self, key: bytes) -> int:
        """The timestamp of a row that may not be loaded yet."""
        self.load((key,))
        return self.timestamp_of(key)

    def forget(self, key: bytes) -> None:
        """Make a key absent without a change of its own: its row is past its time."""
        self.values[key] = None
        self._loaded.pop(key, None)
        self._stamps.pop(key, None)
        self._dirty = None

    def scan(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, Any]]:
        """Rows of [start, end) in the order of their bytes, this transaction included."""
        own = sorted(key for key in self._stamps if key >= start and (end is None or key < end))
        place = 0
        for key, stored in self._database.scan(self.spec.name, start, end):
            while place < len(own) and own[place] < key:
                yield from self._own(own[place])
                place += 1
            if place < len(own) and own[place] == key:
                yield from self._own(key)
                place += 1
            elif key in self.values:
                yield from self._own(key)
            else:
                yield key, self._serde.decode(payload(stored))
        for key in own[place:]:
            yield from self._own(key)

    def _own(self, key: bytes) -> Iterator[tuple[bytes, Any]]:
        value = self.values[key]
        if value is not None:
            yield key, value

    # -- writing -------------------------------------------------------------------------------

    def put(self, key: bytes, value: Any, timestamp_ms: int) -> None:
        """Set one key; None removes it. The row keeps the greatest timestamp it has seen."""
        if key not in self.values:
            self.load((key,))
        self.values[key] = value
        self._dirty = None
        self._newest = max(self._newest, timestamp_ms)
        self._oldest = min(self._oldest, timestamp_ms)
        before = self._stamps.get(key, -1)
        self._stamps[key] = timestamp_ms if timestamp_ms > before else before

    def touch(self, newest: Mapping[bytes, int], oldest_ms: int, newest_ms: int) -> None:
        """Note that these rows of `values` changed, each with its newest timestamp; all of them
        lie between `oldest_ms` and `newest_ms`."""
        self._dirty = None
        if not newest:
            return
        if oldest_ms >= self._newest:
            self._stamps.update(newest)
        else:
            stamps = self._stamps
            for key, stamp in newest.items():
                if stamp > stamps.get(key, -1):
                    stamps[key] = stamp
        self._oldest = min(self._oldest, oldest_ms)
        self._newest = max(self._newest, newest_ms)

    # -- commit --------------------------------------------------------------------------------

    def dirty(self) -> Dirty:
        """All changed keys with value, encoded value and timestamp; encoded at most once."""
        if self._dirty is None:
            self._dirty = self._encode(self._stamps)
        return self._dirty

    def _encode(self, stamps: Mapping[bytes, int]) -> Dirty:
        encode = self._serde.encode
        loaded = self._loaded
        values = self.values
        dirty = Dirty(keys=list(stamps), values=[values[key] for key in stamps])
        try:
            dirty.payloads = [None if value is None else encode(value) for value in dirty.values]
        except Exception as error:
            raise self._unencodable(dirty, error) from error
        if self._oldest >= self.committed_time_ms:
            # No stored row is later than the stream time of its commit.
            dirty.timestamps = list(stamps.values())
            return dirty
        for key, stamp in stamps.items():
            before = loaded.get(key)
            if before is not None:
                stored = timestamp(before)
                stamp = stored if stored > stamp else stamp
            dirty.timestamps.append(stamp)
        return dirty

    def _unencodable(self, dirty: Dirty, error: Exception) -> Exception:
        """The error that names the first value that cannot be encoded."""
        for key, value in zip(dirty.keys, dirty.values, strict=True):
            try:
                if value is not None:
                    self._serde.encode(value)
            except Exception:
                self.on_unencodable(error)
                return ProcessingError(
                    f"store {self.spec.name!r} cannot hold what was computed for key {key!r}:"
                    f" {type(error).__name__}: {error}",
                    hint=f"the store's values are {self._serde.name}: return that from the"
                    " aggregation, or give the store the right type",
                )
        return error

    def purge(self, stored: Sequence[bytes], changed: Sequence[bytes]) -> None:
        """Remove rows that are past their time: stored ones, unless they were changed, and changed
        ones. What results said of them was passed on before."""
        stamps = self._stamps
        self._purged = dict.fromkeys(key for key in stored if key not in stamps)
        self._purged.update(dict.fromkeys(changed))

    def changes(self) -> list[tuple[bytes, bytes | None]]:
        """The rows to write, for the changelog and for RocksDB; None removes a row."""
        dirty = self.dirty()
        changed = list(zip(dirty.keys, dirty.rows(self.spec.kind), strict=True))
        purged = self._purged
        if purged:
            changed = [pair for pair in changed if pair[0] not in purged]
            changed += [(key, None) for key in purged]
        return changed

    def committed(self, changes: Sequence[tuple[bytes, bytes | None]]) -> None:
        """The changes are durable: keep their rows at hand and begin anew."""
        if changes:
            keys, rows = zip(*changes, strict=True)
            self._recent.add(keys, rows)
        self._begin()

    def abort(self) -> None:
        """Forget all since the last commit."""
        self._begin()

    def _begin(self) -> None:
        self.values = {}
        self._purged = {}
        self._loaded = {}
        self._stamps = {}
        self._newest = -1
        self._oldest = _NEVER
        self._dirty = None


def newest_times(
    keys: Sequence[bytes], timestamps: Sequence[int], *, is_in_order: bool
) -> dict[bytes, int]:
    """The newest timestamp of each key. In order, it is that of the key's last pair."""
    if is_in_order:
        return dict(zip(keys, timestamps, strict=True))
    newest: dict[bytes, int] = {}
    for key, stamp in zip(keys, timestamps, strict=True):
        if stamp > newest.get(key, -1):
            newest[key] = stamp
    return newest
