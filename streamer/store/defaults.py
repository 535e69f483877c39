"""What a task's databases have unless the user sets it, with the reasons, and which options RocksDB
has once per database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DATABASE_WIDE", "DEFAULTS", "INDEX_DEFAULTS", "ROW_DEFAULTS"]

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
# of 100 bytes when a memtable is full. Every memtable takes it at once, an empty one too, and no
# flush frees it: so metadata and indexes, which are scanned, have none, nor have databases that are
# opened when the pool has given what it has for filters.
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
