"""The RocksDB options of a task's databases: defaults with reasons, under what the user sets.

Layers, the later winning: the defaults here, the worker's `rocksdb`, the store's `rocksdb`. An
option that RocksDB has once per database (`DATABASE_WIDE`) holds for the whole task, whichever
store sets it; two stores of a task that disagree are refused. `check` runs before anything starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import rocksdict

from streamer.errors import ConfigError
from streamer.store.pool import MemoryPool
from streamer.store.settings import ALIASES, OWNED, Setting, apply, settings
from streamer.store.values import natural
from streamer.topology.graph import Topology
from streamer.topology.stores import StoreSpec

__all__ = [
    "DATABASE_WIDE",
    "DEFAULTS",
    "INDEX_DEFAULTS",
    "ROW_DEFAULTS",
    "OptionSet",
    "check",
    "check_stores",
    "check_topology",
]

_MIB = 1 << 20

DEFAULTS: Mapping[str, Any] = {
    # Many small databases share one budget: small buffers and blocks of memory leave each some.
    "write_buffer_size": 8 * _MIB,
    "arena_block_size": 64 * 1024,
    # A write that waits for a flush holds the GIL, so let two flushes be behind.
    "max_write_buffer_number": 4,
    # A snapshot sends changed files only, so files are moderate; 1 TB are still 32,000.
    "target_file_size_base": 32 * _MIB,
    "compaction_style": "level",
    "level_compaction_dynamic_level_bytes": True,
    "compression_type": "lz4",
    # Measured with a cache for a fifth of the data: a lookup takes 11 us, with 4 KiB, whose index
    # fills the cache, 18, with 16 KiB 13. With a large cache all are alike.
    "block_size": 8 * 1024,
    # 1 % of the lookups of absent keys read a block; without it all would.
    "bloom_filter": 10,
    # Index and filter blocks count against the budget, and those of new files stay in memory.
    "cache_index_and_filter_blocks": True,
    "pin_l0_filter_and_index_blocks_in_cache": True,
    # 100 tasks must fit into common limits of open files.
    "max_open_files": 128,
    "max_background_jobs": 2,
    # Bounds what is read again after a crash: below a second per task.
    "max_total_wal_size": 64 * _MIB,
    # Spread writing to disk instead of stalling on one large write-back.
    "bytes_per_sync": _MIB,
    # RocksDB's own log would grow for ever and says little.
    "keep_log_file_num": 2,
    "max_log_file_size": _MIB,
    "stats_dump_period_sec": 0,
}

# Most keys that are looked up are in none of a store's memtables, of which there are up to four: to
# search them cost as much as all else in a lookup (measured). A filter of 0.5 % has 4 bits per row
# of 100 bytes when a memtable is full. Every memtable takes it at once, an empty one too, so
# metadata and indexes, which are scanned, have none.
ROW_DEFAULTS: Mapping[str, Any] = {
    "memtable_whole_key_filtering": True,
    "memtable_prefix_bloom_ratio": 0.005,
}

# Expiry eats an index from its low end; without compaction it would walk its own tombstones.
INDEX_DEFAULTS: Mapping[str, Any] = {
    "add_compact_on_deletion_collector_factory": [10_000, 5_000, 0.5],
}

DATABASE_WIDE = frozenset(
    {
        "advise_random_on_open",
        "allow_concurrent_memtable_write",
        "allow_ingest_behind",
        "allow_mmap_reads",
        "allow_mmap_writes",
        "atomic_flush",
        "auto_tuned_ratelimiter",
        "avoid_unnecessary_blocking_io",
        "bytes_per_sync",
        "compaction_readahead_size",
        "db_log_dir",
        "db_write_buffer_size",
        "delete_obsolete_files_period_micros",
        "dump_malloc_stats",
        "enable_pipelined_write",
        "enable_statistics",
        "enable_write_thread_adaptive_yield",
        "increase_parallelism",
        "is_fd_close_on_exec",
        "keep_log_file_num",
        "log_file_time_to_roll",
        "low_pri",
        "manifest_preallocation_size",
        "max_background_jobs",
        "max_file_opening_threads",
        "max_log_file_size",
        "max_manifest_file_size",
        "max_open_files",
        "max_subcompactions",
        "max_total_wal_size",
        "memtable_insert_hint_per_batch",
        "no_slowdown",
        "paranoid_checks",
        "ratelimiter",
        "recycle_log_file_num",
        "skip_stats_update_on_db_open",
        "stats_dump_period_sec",
        "stats_persist_period_sec",
        "sync",
        "table_cache_num_shard_bits",
        "use_adaptive_mutex",
        "use_direct_io_for_flush_and_compaction",
        "use_direct_reads",
        "use_fsync",
        "wal_bytes_per_sync",
        "wal_size_limit_mb",
        "wal_ttl_seconds",
        "writable_file_max_buffer_size",
    }
)


def check(options: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError for an option that is unknown, not for users, or of a wrong value.

    `where` names the place in the message, such as "store totals".
    """
    for given, value in options.items():
        setting = _find(given, where)
        try:
            plain = natural(setting, value)
            apply(setting, getattr(rocksdict, setting.holder)(), plain)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{where}: RocksDB option {given} = {value!r} is wrong: {error}",
                hint="docs/rocksdb-options.md lists every option with what it takes",
            ) from error


def check_stores(specs: Sequence[StoreSpec], options: Mapping[str, Any]) -> None:
    """Check the options of all stores of one task, and of the worker, together."""
    check(options, "rocksdb")
    for spec in specs:
        check(spec.rocksdb, f"store {spec.name}")
    _database_layer(specs, options)


def check_topology(topology: Topology, options: Mapping[str, Any]) -> None:
    """Check the options of the worker and of all stores of an application."""
    for subtopology in topology.subtopologies:
        check_stores(subtopology.stores, options)


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

    def database(self) -> rocksdict.Options:
        """For the database as a whole and its default family, which holds the metadata."""
        return self._options(self._database)

    def family(self, store: str, index: bool = False) -> rocksdict.Options:
        layer = self._database | self._stores.get(store, {})
        return self._options(dict(INDEX_DEFAULTS if index else ROW_DEFAULTS) | layer)

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
