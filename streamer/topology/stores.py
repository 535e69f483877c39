"""Store specifications: what a store is called, what it holds, and how long.

`Store` is what a user writes; the engine and the stores read `StoreSpec`. A store's name is part of
topic and directory names, so it is always given and never made up (KIP-1111 came to the same rule).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from typing import Any

from streamer.errors import TopologyError
from streamer.ids import check_store_name
from streamer.topology.serde import Serde, serde_of

__all__ = [
    "Store",
    "StoreKind",
    "StoreSpec",
    "WindowStore",
    "check_known",
    "check_size",
    "given_store",
    "given_stores",
    "milliseconds",
]


class StoreKind(Enum):
    KEY_VALUE = "key-value"
    WINDOW = "window"
    SESSION = "session"


def milliseconds(duration: timedelta, name: str, *, least: int = 0) -> int:
    """Whole milliseconds of a duration. Raises TopologyError below zero, or `least`, and for one
    that would be cut to nothing."""
    if not isinstance(duration, timedelta):
        raise TopologyError(f"{name} must be a timedelta, not {duration!r}")
    value = duration // timedelta(milliseconds=1)
    if value < 0:
        raise TopologyError(f"{name} must not be negative, not {duration!r}")
    if value < least or (value == 0 and duration):
        raise TopologyError(f"{name} must be at least one millisecond, not {duration!r}")
    return value


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """A store as the engine sees it; times in milliseconds, None where unlimited."""

    name: str
    kind: StoreKind
    key: Serde[Any]
    value: Serde[Any]
    ttl_ms: int | None = None
    retention_ms: int | None = None
    window_size_ms: int | None = None
    window_advance_ms: int | None = None
    rocksdb: Mapping[str, Any] = field(default_factory=dict)
    partition_key: Callable[[Any], Any] | None = None
    record_key: Serde[Any] | None = None
    """Of the stream whose records fill the store: what `partition_key` gives."""

    def encode_partition_key(self, key: Any) -> bytes:
        """The bytes of a record's key, as its producer wrote them. Raises TypeError for anything
        but bytes where the stream's keys have no type."""
        if self.record_key is not None:
            return self.record_key.encode(key)
        if not isinstance(key, bytes):
            raise TypeError(f"the keys of the stream have no type, so {key!r} must be bytes")
        return key

    @property
    def is_windowed(self) -> bool:
        return self.kind is not StoreKind.KEY_VALUE

    @property
    def is_indexed_by_time(self) -> bool:
        """Whether a second column family orders the rows by time, so that expiry need not scan."""
        return self.kind is StoreKind.SESSION or self.ttl_ms is not None


@dataclass(frozen=True, slots=True)
class Store:
    """A key-value store, for `process(stores=[...])` or as `store=` of an aggregation.

    Store("seen", key=str, value=int, ttl=timedelta(days=30))
    Store("totals", rocksdb={"compression_type": "zstd"})

    `key` and `value` may be left out where the aggregation knows them. `ttl` removes a row when
    stream time has passed the row's timestamp by that much. `rocksdb` sets any option of RocksDB.

    `partition_key` is for a store that `process` fills under keys which are not those of its
    records: it takes a key of the store, and gives the key of the records whose row that is, so
    that a change of the number of partitions can tell which task the row goes to.

    Store("visits", key=tuple[str, str], value=int, partition_key=lambda key: key[0])
    """

    name: str
    key: Any = None
    value: Any = None
    ttl: timedelta | None = None
    rocksdb: Mapping[str, Any] = field(default_factory=dict)
    partition_key: Callable[[Any], Any] | None = None

    def spec(self, key: Serde[Any] | None = None, value: Serde[Any] | None = None) -> StoreSpec:
        """The specification, with the serdes that the place of use knows as fallback."""
        return StoreSpec(
            name=check_store_name(self.name),
            kind=StoreKind.KEY_VALUE,
            key=_serde(self.name, "key", self.key, key),
            value=_serde(self.name, "value", self.value, value),
            ttl_ms=self._ttl_ms(),
            rocksdb=dict(self.rocksdb),
            partition_key=self.partition_key,
            record_key=None if self.partition_key is None else key,
        )

    def _ttl_ms(self) -> int | None:
        """With one of nothing, every row would be gone with the record that wrote it."""
        return None if self.ttl is None else milliseconds(self.ttl, f"ttl of {self.name}", least=1)


@dataclass(frozen=True, slots=True)
class WindowStore:
    """A store of values per key and window start, for `process` or a windowed aggregation.

    `retention` is how long a window stays after stream time has passed its end: by default twice
    its `size`. A windowed aggregation knows the size, and takes a retention as its own `retention=`
    (by default the size once). `partition_key` is as that of a `Store`.
    """

    name: str
    key: Any = None
    value: Any = None
    size: timedelta | None = None
    retention: timedelta | None = None
    rocksdb: Mapping[str, Any] = field(default_factory=dict)
    partition_key: Callable[[Any], Any] | None = None

    def spec(self, key: Serde[Any] | None = None, value: Serde[Any] | None = None) -> StoreSpec:
        """The specification of a store used by `process`; aggregations fill in their windows."""
        if self.size is None:
            raise TopologyError(f"window store {self.name!r} needs size=timedelta(...)")
        retention = self.retention if self.retention is not None else self.size * 2
        return replace(
            self.without_times().spec(key, value),
            kind=StoreKind.WINDOW,
            window_size_ms=self.size_ms,
            window_advance_ms=None,
            retention_ms=milliseconds(retention, f"retention of {self.name}"),
        )

    @property
    def size_ms(self) -> int | None:
        name = f"size of {self.name}"
        return None if self.size is None else milliseconds(self.size, name, least=1)

    def without_times(self) -> Store:
        """What a windowed aggregation, which has times of its own, takes of it."""
        return Store(
            self.name,
            self.key,
            self.value,
            rocksdb=self.rocksdb,
            partition_key=self.partition_key,
        )


def given_store(store: Any, *, windows: bool = False) -> Any:
    """The store that is given as `store=`, a name or a Store; of `windows` of one size it may be a
    WindowStore. Raises TopologyError for others."""
    if isinstance(store, str):
        return Store(store)
    if isinstance(store, WindowStore) and not windows:
        raise TopologyError(
            f"store {store.name!r} cannot be a WindowStore: this step has no windows of one size",
            hint=f"write store={store.name!r} or Store({store.name!r}, ...); windows are made by"
            " group_by_key().windowed_by(TumblingWindows(...))",
        )
    if not isinstance(store, Store | WindowStore):
        raise TopologyError(
            f"store={store!r} is no store",
            hint='give it a name, as in store="totals", or a Store("totals", ...)',
        )
    if store.partition_key is not None:
        raise TopologyError(
            f"store {store.name!r} of a table or an aggregation cannot have a partition_key",
            hint="its keys are those of its records; partition_key is for stores of process()",
        )
    return store


def given_stores(stores: Any) -> list[Any]:
    """The stores that are given as `stores=[...]`. Raises TopologyError for names and others."""
    found = [stores] if isinstance(stores, str | Store | WindowStore) else list(stores)
    for store in found:
        if found == [stores] or not isinstance(store, Store | WindowStore):
            name = store if isinstance(store, str) else getattr(store, "name", "name")
            raise TopologyError(
                f"stores={stores!r} is not a list of Store and WindowStore",
                hint=f"write stores=[Store({name!r}, key=..., value=...)], without types where"
                " a table or an aggregation made the store",
            )
    return found


def check_known(store: Store | WindowStore, known: StoreSpec) -> None:
    """Raise TopologyError where `process` gives a store that is already there as another kind of
    store, and for sessions."""
    if known.kind is StoreKind.SESSION:
        raise TopologyError(
            f"store {store.name!r} holds sessions, which process() cannot read",
            hint="process the table's changes instead: table.stream().process(...)",
        )
    if isinstance(store, WindowStore):
        if known.kind is not StoreKind.WINDOW:
            raise TopologyError(
                f"store {store.name!r} has a value per key, so it is no WindowStore",
                hint=f"write stores=[Store({store.name!r})]",
            )
        if store.key is None and store.value is None:
            check_size(store, known.window_size_ms)


def check_size(store: WindowStore, size_ms: int | None) -> None:
    """Raise TopologyError for a size that is not that of the windows."""
    if store.size_ms not in (None, size_ms):
        raise TopologyError(
            f"store {store.name!r} has size={store.size!r}, but its windows are of {size_ms} ms",
            hint="leave size= out: it is that of the windows",
        )


def _serde(store: str, role: str, given: Any, known: Serde[Any] | None) -> Serde[Any]:
    if given is not None:
        return serde_of(given)
    if known is not None:
        return known
    raise TopologyError(
        f"store {store!r} has no {role} type",
        hint=f"write Store({store!r}, {role}=...) with a type such as str or a dataclass",
    )
