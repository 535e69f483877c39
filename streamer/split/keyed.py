"""The families of a database, and the partition key of each of their rows.

A row belongs to the record key in its stored key (`streamer.store.keys`): all of it, or what lies
beside a window's start or a session's ends; an entry of an index to that of its row. A store that
`process` fills under other keys says whose row a key is by `Store(partition_key=...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from streamer.errors import KafkaUnavailableError, ProcessingError, TaskCorruptedError
from streamer.store.keys import kind_of
from streamer.store.reading import StoredDatabase
from streamer.store.schema import family_name
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = ["Family", "KeysOf", "families_of", "keys_of_rows", "order_family"]

KeysOf = Callable[[Sequence[bytes]], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Family:
    """A column family of a store. `keys_of` gives the partition keys of stored keys."""

    name: str
    store: str
    kind: StoreKind
    is_index: bool
    keys_of: KeysOf


def families_of(database: StoredDatabase, specs: Iterable[StoreSpec]) -> list[Family]:
    """All of a database, those of stores that are not in the topology (any more) as well: they may
    come back, and their rows are split by the kind that they say themselves.

    Raises TaskCorruptedError for a family that nothing is known of.
    """
    known = {spec.name: spec for spec in specs}
    kinds = database.kinds
    found = []
    for name in database.families:
        store = name.partition(".")[2]
        if name not in (family_name(store), family_name(store, index=True)):
            raise TaskCorruptedError(
                f"{database.directory} has a column family {name}, which is no store's",
                hint="another version of Streamer, or another program, has written it",
            )
        kind = kinds[store][0] if store in kinds else _kind_in(database, store)
        is_index = name == family_name(store, index=True)
        keys_of = keys_of_rows(kind, known.get(store), is_index=is_index)
        found.append(Family(name, store, kind, is_index, keys_of))
    return found


def keys_of_rows(
    kind: StoreKind, spec: StoreSpec | None = None, *, is_index: bool = False
) -> KeysOf:
    """What gives the partition keys of stored keys; `spec` is the store's, where it is known."""
    keys_of = _keys_of(kind, is_index=is_index)
    if spec is not None and spec.partition_key is not None:
        return _named(spec, keys_of)
    return keys_of


def order_family(store: str, kind: StoreKind) -> str:
    """The family whose keys order a windowed store's rows by time."""
    return family_name(store, index=kind is StoreKind.SESSION)


def _kind_in(database: StoredDatabase, store: str) -> StoreKind:
    """By its first row; a store without a record and without rows is as good as any."""
    first = next(database.blocks(family_name(store)), None)
    kind = kind_of(first.rows[0]) if first is not None else StoreKind.KEY_VALUE
    if kind is None:
        raise TaskCorruptedError(
            f"store {store} in {database.directory} has rows of an unknown form",
            hint="run the version of Streamer that wrote them",
        )
    return kind


def _keys_of(kind: StoreKind, *, is_index: bool) -> KeysOf:
    start = 8 * (is_index + (kind is StoreKind.WINDOW))
    end = -16 if kind is StoreKind.SESSION else None
    if not start and end is None:
        return lambda keys: keys
    part = slice(start, end)
    return lambda keys: [key[part] for key in keys]


def _named(spec: StoreSpec, keys_of: KeysOf) -> KeysOf:
    decode, name, encode = spec.key.decode, spec.partition_key, spec.encode_partition_key
    assert name is not None

    def one(key: bytes) -> bytes:
        try:
            return encode(name(decode(key)))
        except KafkaUnavailableError:
            # A schema registry that is away is no fault of the key, and is waited for.
            raise
        except Exception as error:
            raise ProcessingError(
                f"partition_key of store {spec.name} failed for key {key!r}:"
                f" {type(error).__name__}: {error}",
                hint="it takes a key of the store, and gives the key of the record whose row it is",
            ) from error

    return lambda keys: list(map(one, keys_of(keys)))
