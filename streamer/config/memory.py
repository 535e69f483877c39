"""How the memory of a worker is divided: one number in, one size for each consumer of memory out.

    process          96 MiB, or a third of a small budget: interpreter, libraries, the application
    the rest R is divided by share:
      block_cache    30 %  RocksDB's cache of blocks, one for all tasks
      write_buffers  10 %  RocksDB's memtables, one limit for all tasks
      record_cache   25 %  the open transaction: touched keys and their new values as objects
      batch          10 %  records taken from Kafka and being decoded
      consumer_queue 15 %  librdkafka's records fetched ahead: two thirds input, one third restore
      producer_queue 10 %  librdkafka's records not yet acknowledged

The parts add up to the budget, so none can grow at another's expense.
"""

from __future__ import annotations

from typing import NamedTuple

from streamer.config.model import Config

__all__ = ["Budget", "budget"]

_PROCESS_BYTES = 96 * 1024 * 1024
_PERCENT = {
    "block_cache_bytes": 30,
    "write_buffers_bytes": 10,
    "record_cache_bytes": 25,
    "batch_bytes": 10,
    "input_queue_bytes": 10,
    "restore_queue_bytes": 5,
    "producer_queue_bytes": 10,
}


class Budget(NamedTuple):
    """The parts of `memory_bytes_max`, in bytes. All tasks of the worker share each part."""

    process_bytes: int
    block_cache_bytes: int
    write_buffers_bytes: int
    record_cache_bytes: int
    batch_bytes: int
    input_queue_bytes: int
    restore_queue_bytes: int
    producer_queue_bytes: int

    @property
    def total_bytes(self) -> int:
        return sum(self)


def budget(config: Config) -> Budget:
    """Divide `memory_bytes_max`; what rounding leaves over stays with the process."""
    total = config.memory_bytes_max
    rest = total - min(_PROCESS_BYTES, total // 3)
    parts = {name: rest * percent // 100 for name, percent in _PERCENT.items()}
    return Budget(process_bytes=total - sum(parts.values()), **parts)
