"""The open transaction of one store: decoded values above the rows that are committed.

What a task reads and writes between two commits lives in `values`; at the commit each touched key
is encoded once, for changelog, output and RocksDB alike. Nothing reaches RocksDB before the Kafka
transaction has committed, so local state is never ahead, and an abort only clears dictionaries.
Committed rows that were used lately stay at hand as bytes, in `RecentRows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from streamer.errors import ProcessingError, TopologyError
from streamer.store.footprint import Footprint
from streamer.store.keys import ROW_HEAD_BYTES, payload, rows, timestamp
from streamer.store.recent import RecentRows
from streamer.store.stamps import ANY_TIME_MS, Stamps
from streamer.topology.serde import Serde
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = [
    "ANY_TIME_MS",
    "Database",
    "Dirty",
    "Found",
    "KeyValueState",
    "Saved",
    "UnreadableKeysError",
    "check_keys",
    "merged",
    "newest_times",
    "undecodable",
]

_ABSENT = object()


class Database(Protocol):
    """What the states need of a task's database."""

    def get_many(self, store: str, keys: list[bytes]) -> list[bytes | None]: ...

    def scan(
        self, store: str, start: bytes, end: bytes | None, *, reverse: bool = ..., index: bool = ...
    ) -> Iterator[tuple[bytes, bytes]]: ...


@dataclass(slots=True)
class Dirty:
    """What a transaction has changed in a store, encoded; None as payload is a removed key."""

    keys: list[bytes] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    payloads: list[bytes | None] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)

    def rows(self, kind: StoreKind) -> list[bytes | None]:
        return rows(kind, self.timestamps, self.payloads)


class Saved(NamedTuple):
    """A key as it was: its value, and the times and the row that stand for it, None for none."""

    state: KeyValueState
    key: bytes
    value: Any
    stamp: int | None
    row: bytes | None


class UnreadableKeysError(Exception):
    """Keys that the store's serde cannot decode, and why; nothing was loaded."""

    def __init__(self, errors: dict[bytes, Exception]) -> None:
        super().__init__(f"{len(errors)} keys cannot be decoded")
        self.errors = errors


# (key, value, timestamp ms)
Found = tuple[bytes, Any, int]


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
        self.committed_time_ms = ANY_TIME_MS
        self._database = database
        self._serde = value
        self._footprint = Footprint(value.encode)
        self._recent = RecentRows(recent_bytes_max)
        self._loaded: dict[bytes, bytes] = {}
        self._stamps = Stamps()
        self._dirty: Dirty | None = None
        self._purged: dict[bytes, None] = {}
        # Called when a value that was computed cannot be encoded, before that is raised.
        self.on_unencodable: Callable[[BaseException], None] = lambda _error: None

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

    def load(
        self, keys: Iterable[bytes], *, decode_key: Callable[[bytes], Any] | None = None
    ) -> int:
        """Make sure that `values` has an entry for each of these keys. Returns how many of those
        that it did not have are absent.

        Raises UnreadableKeysError for those at which `decode_key` fails; keys of rows that are at
        hand are not decoded again.
        """
        missing = set(keys).difference(self.values)
        if not missing:
            return 0
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
            if decode_key is not None:
                check_keys(unknown, decode_key)
            rows = self._database.get_many(self.spec.name, unknown)
            found.extend(zip(unknown, rows, strict=True))
        values, loaded, decode = self.values, self._loaded, self._serde.decode
        loaded_before = len(loaded)
        try:
            for key, stored in found:
                if stored is None:
                    values[key] = None
                else:
                    loaded[key] = stored
                    values[key] = decode(stored[ROW_HEAD_BYTES:])
        except Exception as error:
            raise undecodable(self.spec, key, error) from error
        return len(missing) - (len(loaded) - loaded_before)

    def get(self, key: bytes) -> Any:
        if key not in self.values:
            self.load((key,))
        return self.values[key]

    def timestamp_of(self, key: bytes) -> int:
        """The timestamp of a present key's value, this transaction included; of one that this
        transaction removed, that of its removal."""
        stored = self._loaded.get(key)
        before = -1 if stored is None else timestamp(stored)
        return max(before, self._stamps.times.get(key, -1))

    def decode(self, encoded: bytes) -> Any:
        """A value from its serde's bytes."""
        return self._serde.decode(encoded)

    def encode(self, value: Any) -> bytes:
        """The serde's bytes of a value. Raises what the serde raises."""
        return self._serde.encode(value)

    def forget(self, key: bytes) -> None:
        """Make a key absent without a change of its own: its row is past its time."""
        self.values[key] = None
        self._loaded.pop(key, None)
        self._stamps.put_back(key, None, is_removed=False)
        self._dirty = None

    def scan(self, start: bytes, end: bytes | None) -> Iterator[Found]:
        """Rows of [start, end) as of this call, in the order of their bytes, this transaction
        included. Stored rows are read as the iterator goes on, and do not become part of it."""
        changed = self._stamps.between(start, end)
        own = [(key, self.values[key], self.timestamp_of(key)) for key in changed]
        return merged(self._database.scan(self.spec.name, start, end), own, self._serde.decode)

    # -- writing -------------------------------------------------------------------------------

    def put(self, key: bytes, value: Any, timestamp_ms: int) -> None:
        """Set one key; None removes it. The row keeps the greatest timestamp it has seen."""
        if key not in self.values:
            self.load((key,))
        begins = self.values[key] is None
        self.values[key] = value
        self.stamp(key, timestamp_ms, begins=begins, is_absent=value is None)

    def stamp(
        self, key: bytes, timestamp_ms: int, *, begins: bool, is_absent: bool = False
    ) -> None:
        """Note one change of `values`, in order; `begins` where the key was absent before it."""
        self._dirty = None
        begins = begins or key in self._stamps.removed
        if begins:
            self._loaded.pop(key, None)
        self._stamps.note(key, timestamp_ms, begins=begins, is_absent=is_absent)

    @property
    def has_removed(self) -> bool:
        """Whether `put` removed a key since the last commit: who cannot tell asks this."""
        return bool(self._stamps.removed)

    def saved(self, key: bytes) -> Saved:
        """What this transaction knows of a key, for `put_back`."""
        self.load((key,))
        return Saved(
            self, key, self.values[key], self._stamps.times.get(key), self._loaded.get(key)
        )

    def put_back(self, saved: Saved) -> None:
        """Undo what was done to a key by `put` and `forget` since it was saved."""
        key = saved.key
        self._dirty = None
        self.values[key] = saved.value
        is_removed = saved.value is None and saved.stamp is not None
        self._stamps.put_back(key, saved.stamp, is_removed=is_removed)
        _set(self._loaded, key, saved.row)

    def touch(self, newest: Mapping[bytes, int], oldest_ms: int, newest_ms: int) -> None:
        """Note that these rows of `values` changed, each with its newest timestamp; all of them
        lie between `oldest_ms` and `newest_ms`."""
        self._dirty = None
        self._stamps.note_all(newest, oldest_ms, newest_ms)

    # -- commit --------------------------------------------------------------------------------

    def dirty(self) -> Dirty:
        """All changed keys with value, encoded value and timestamp; encoded at most once."""
        if self._dirty is None:
            self._dirty = self._encode(self._stamps.times)
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
        if self._stamps.oldest_ms >= self.committed_time_ms:
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
                    hint=getattr(error, "hint", "")
                    or f"the store's values are {self._serde.name}: return that from the"
                    " aggregation, or give the store the right type",
                )
        return error

    def purge(self, stored: Sequence[bytes], changed: Sequence[bytes]) -> None:
        """Remove rows that are past their time: stored ones, unless they were changed, and changed
        ones. What results said of them was passed on before."""
        stamps = self._stamps.times
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
        purged = self._purged
        kept = [pair for pair in changes if pair[0] not in purged] if purged else changes
        if kept:
            keys, rows = zip(*kept, strict=True)
            self._recent.add(keys, rows)
        self._recent.drop(purged)
        self._begin()

    def abort(self) -> None:
        """Forget all since the last commit."""
        self._begin()

    def _begin(self) -> None:
        self.values = {}
        self._purged = {}
        self._loaded = {}
        self._stamps = Stamps()
        self._dirty = None


def check_keys(keys: Sequence[bytes], decode: Callable[[bytes], Any]) -> None:
    """Raise UnreadableKeysError for the keys at which `decode` fails."""
    try:
        for _key in map(decode, keys):
            pass
        return
    except Exception:
        errors = {key: error for key in keys if (error := _error(decode, key)) is not None}
    raise UnreadableKeysError(errors)


def _error(decode: Callable[[bytes], Any], key: bytes) -> Exception | None:
    try:
        decode(key)
    except Exception as error:
        return error
    return None


def _set(known: dict[bytes, Any], key: bytes, value: Any) -> None:
    if value is None:
        known.pop(key, None)
    else:
        known[key] = value


def merged(
    stored: Iterator[tuple[bytes, bytes]], own: list[Found], decode: Callable[[bytes], Any]
) -> Iterator[Found]:
    """Stored rows and changed ones in the order of their keys; a change hides the stored row."""
    place, count = 0, len(own)
    for key, row in stored:
        while place < count and own[place][0] < key:
            if own[place][1] is not None:
                yield own[place]
            place += 1
        if place == count or own[place][0] != key:
            yield key, decode(payload(row)), timestamp(row)
    for one in own[place:]:
        if one[1] is not None:
            yield one


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


def undecodable(spec: StoreSpec, key: bytes, error: BaseException) -> TopologyError:
    """For a stored value that this topology cannot read; no record is at fault."""
    return TopologyError(
        f"store {spec.name!r}: the value of key {key!r} is not {spec.value.name}: {error}",
        hint="the type of its values was changed: give new fields a default, so that the type"
        " accepts the old values too, or give the store a new name, so that it begins anew",
    )
