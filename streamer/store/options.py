"""The RocksDB options of a task's databases: defaults with reasons, under what the user sets.

Layers, the later winning: the defaults here, the worker's `rocksdb`, the store's `rocksdb`. An
option that RocksDB has once per database (`DATABASE_WIDE`) holds for the whole task, whichever
store sets it; two stores of a task that disagree are refused. `check_stores` runs before anything
starts, and `trial` then asks RocksDB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import rocksdict

from streamer.errors import ConfigError
from streamer.store.defaults import DATABASE_WIDE, DEFAULTS, INDEX_DEFAULTS, ROW_DEFAULTS
from streamer.store.limits import check_levels, excess
from streamer.store.pool import MemoryPool
from streamer.store.settings import ALIASES, OWNED, Setting, apply, settings
from streamer.store.values import natural
from streamer.topology.stores import StoreSpec

__all__ = ["OptionSet", "check", "check_stores"]

_NO_SOURCES: Mapping[str, str] = {}


def check(options: Mapping[str, Any], place: str, sources: Mapping[str, str] = _NO_SOURCES) -> None:
    """Raise ConfigError for an option that is unknown, not for users, or of a wrong value.

    `place` is where it stands for messages, such as "store totals"; `sources` who gave each there.
    """
    for given, value in options.items():
        where = f"{sources[given]}: {place}" if given in sources else place
        setting = _find(given, where)
        try:
            plain = natural(setting, value)
            said = excess(setting.name, plain)
            if said:
                raise ValueError(said)
            apply(setting, getattr(rocksdict, setting.holder)(), plain)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{where}: RocksDB option {given} = {value!r} is wrong: {error}",
                hint="docs/rocksdb-options.md lists every option with what it takes",
            ) from error


def check_stores(
    specs: Sequence[StoreSpec],
    options: Mapping[str, Any],
    sources: Mapping[str, str] = _NO_SOURCES,
) -> None:
    """Check the options of all stores of one task, and of the worker, together."""
    check(options, "rocksdb", sources)
    for spec in specs:
        check(spec.rocksdb, f"store {spec.name}")
    layer = _database_layer(specs, options)
    check_levels(layer, "rocksdb")
    for spec in specs:
        check_levels(layer | _named(spec.rocksdb), f"store {spec.name}")


def _find(given: str, where: str) -> Setting:
    name = ALIASES.get(given, given)
    known = settings()
    if name in OWNED:
        raise ConfigError(
            f"{where}: RocksDB option {given} cannot be set: {OWNED[name]}",
            hint=f"remove {given}",
        )
    if name not in known:
        near = get_close_matches(given, [*(set(known) - set(OWNED)), *ALIASES], n=1)
        raise ConfigError(
            f"{where}: RocksDB has no option {given!r} that can be set",
            hint=f"did you mean {near[0]}?" if near else "docs/rocksdb-options.md lists them all",
        )
    return known[name]


def _named(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that were checked, by RocksDB's names and as what each takes."""
    named = ((ALIASES.get(name, name), value) for name, value in options.items())
    return {name: natural(settings()[name], value) for name, value in named}


def _database_layer(specs: Sequence[StoreSpec], options: Mapping[str, Any]) -> dict[str, Any]:
    """The worker's options with what stores set for the whole database."""
    layer: dict[str, Any] = {}
    setters: dict[str, str] = {}
    for spec in specs:
        for name, value in _named(spec.rocksdb).items():
            if name not in DATABASE_WIDE:
                continue
            if name in layer and layer[name] != value:
                raise ConfigError(
                    f"stores {setters[name]} and {spec.name} of one task set the RocksDB option "
                    f"{name} to {layer[name]!r} and {value!r}, but a database has one",
                    hint="set it in the worker's rocksdb settings, or alike in both stores",
                )
            layer[name], setters[name] = value, spec.name
    return _named(options) | layer


class OptionSet:
    """The option objects of one task's database."""

    def __init__(
        self, specs: Sequence[StoreSpec], options: Mapping[str, Any], pool: MemoryPool
    ) -> None:
        check_stores(specs, options)
        self._pool = pool
        self._stores = {spec.name: _named(spec.rocksdb) for spec in specs}
        self._database = dict(DEFAULTS) | _database_layer(specs, options)
        wanted = sum(self._filter_bytes(spec.name) for spec in specs)
        self.filter_bytes = wanted if pool.has_room_for_filters(wanted) else 0
        """What an empty memtable of each store takes, together."""

    def database(self) -> rocksdict.Options:
        """For the database as a whole and its default family, which holds the metadata."""
        return self._options(self._database)

    def family(self, store: str, index: bool = False) -> rocksdict.Options:
        layer = self._database | self._stores.get(store, {})
        rows = ROW_DEFAULTS if self.filter_bytes else {}
        return self._options(dict(INDEX_DEFAULTS if index else rows) | layer)

    def _filter_bytes(self, store: str) -> int:
        layer = dict(ROW_DEFAULTS) | self._database | self._stores[store]
        return int(layer["memtable_prefix_bloom_ratio"] * layer["write_buffer_size"])

    def read(self, store: str) -> rocksdict.ReadOptions:
        target = rocksdict.ReadOptions()
        self._apply(self._database | self._stores.get(store, {}), "ReadOptions", target)
        return target

    def write(self) -> rocksdict.WriteOptions:
        target = rocksdict.WriteOptions()
        self._apply(self._database, "WriteOptions", target)
        return target

    def _options(self, layer: Mapping[str, Any]) -> rocksdict.Options:
        # Without raw_mode here the binding rewrites its own mark and no row is readable again.
        target = rocksdict.Options(raw_mode=True)
        target.create_if_missing(True)
        target.create_missing_column_families(True)
        target.set_write_buffer_manager(self._pool.write_buffers)
        # A preset resets single options, so it comes before them.
        self._apply(layer, "Options", target, presets=True)
        if "plain_table_factory" not in layer and "cuckoo_table_factory" not in layer:
            blocks = rocksdict.BlockBasedOptions()
            blocks.set_block_cache(self._pool.cache)
            self._apply(layer, "BlockBasedOptions", blocks)
            target.set_block_based_table_factory(blocks)
        self._apply(layer, "Options", target, presets=False)
        return target

    @staticmethod
    def _apply(
        layer: Mapping[str, Any], holder: str, target: Any, *, presets: bool = False
    ) -> None:
        for name, value in layer.items():
            setting = settings()[name]
            if setting.holder == holder and setting.is_preset == presets:
                apply(setting, target, value)
