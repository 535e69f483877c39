"""How the memory of a worker is divided: one number in, one size for each user of memory out.

The process itself (interpreter, libraries, the application's own objects) gets 96 MiB, or half of a
small budget: it takes 56 before any record has come. The rest goes by the shares below. The parts
add up to the budget, so none can grow at another's expense.
"""

from __future__ import annotations

from typing import NamedTuple

from streamer.config.model import Config

__all__ = ["PERCENT", "PROCESS_BYTES_MAX", "Budget", "budget"]

PROCESS_BYTES_MAX = 96 * 1024 * 1024
# The record cache holds Python objects, several times the size of their bytes; block cache and
# queues hold bytes as they are. Rows of the past are RocksDB's to cache: a few megabytes find
# the keys that are in every transaction, and with fifty an event cost no less (decision 20).
PERCENT = {
    "block_cache_bytes": (40, "RocksDB's cache of blocks, one for all tasks"),
    "write_buffers_bytes": (10, "RocksDB's memtables, one limit for all tasks"),
    "record_cache_bytes": (13, "the open transaction: touched keys and their new values"),
    "recent_rows_bytes": (2, "rows of the last transactions, for keys that come in every one"),
    "batch_bytes": (5, "records taken from Kafka and being decoded"),
    "waiting_bytes": (5, "input records that wait for those of their task's other partitions"),
    "input_queue_bytes": (10, "input records fetched ahead"),
    "restore_queue_bytes": (5, "changelog records fetched ahead"),
    "producer_queue_bytes": (10, "results and changes that are not yet acknowledged"),
}


class Budget(NamedTuple):
    """The parts of `memory_bytes_max`, in bytes. All tasks of the worker share each part."""

    process_bytes: int
    block_cache_bytes: int
    write_buffers_bytes: int
    record_cache_bytes: int
    recent_rows_bytes: int
    batch_bytes: int
    waiting_bytes: int
    input_queue_bytes: int
    restore_queue_bytes: int
    producer_queue_bytes: int

    @property
    def total_bytes(self) -> int:
        return sum(self)


def budget(config: Config) -> Budget:
    """Divide `memory_bytes_max`; what rounding leaves over stays with the process."""
    total = config.memory_bytes_max
    rest = total - min(PROCESS_BYTES_MAX, total // 2)
    parts = {name: rest * percent // 100 for name, (percent, _) in PERCENT.items()}
    return Budget(process_bytes=total - sum(parts.values()), **parts)
