"""One memory budget for all databases of a worker: a block cache and a write buffer in it.

Memtables are charged to the block cache, so its capacity bounds both together. RocksDB alone does
not keep to the budget when many databases share it: a database flushes only when it is written
itself, so memory stays in the idle ones (64 databases used 1.7 to 4 times a 64 MB budget). Hence
`make_room`, which flushes whichever database holds most before a write would go over.
"""

from __future__ import annotations

import resource
import threading
from contextlib import suppress
from typing import Protocol

from rocksdict import Cache, WriteBufferManager

from streamer.errors import ConfigError, StreamerError

__all__ = ["MemoryPool", "Tenant"]

# Below this a few dozen databases would flush files of a few KB all the time.
WRITE_BUFFER_BYTES_MIN = 1 << 20
# Filters of memtables stay in the write buffers for ever: this part of them, and no more.
_FILTERS = 10
# Databases that hold less than their share of this part are not worth a flush: all of them together
# would not make room.
_SMALL = 8
OPEN_FILES = 65_536


class Tenant(Protocol):
    """A database that draws on the pool. `filter_bytes` of its memtables cannot be flushed."""

    filter_bytes: int

    def memtable_bytes(self) -> int: ...

    def flush(self, *, wait: bool = True) -> None: ...


def _allow_open_files() -> None:
    """Raise the soft limit of open files: 1,024, the usual one, is full with some 60 databases."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Where the system refuses, an error about open files will name the limit.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _held_bytes(tenant: Tenant) -> int:
    try:
        return tenant.memtable_bytes() - tenant.filter_bytes
    except StreamerError:
        return 0


class MemoryPool:
    """Shared by every database of a worker; open it first, close it never: it is only memory."""

    def __init__(self, block_cache_bytes: int, write_buffer_bytes: int) -> None:
        if write_buffer_bytes < WRITE_BUFFER_BYTES_MIN or block_cache_bytes < 0:
            raise ConfigError(
                f"a block cache of {block_cache_bytes} bytes and write buffers of "
                f"{write_buffer_bytes} bytes are not usable",
                hint=f"give the write buffers {WRITE_BUFFER_BYTES_MIN} bytes or more",
            )
        self.write_buffer_bytes = write_buffer_bytes
        self.capacity_bytes = block_cache_bytes + write_buffer_bytes
        self.cache = Cache(self.capacity_bytes)
        # allow_stall stays off: a write holds the GIL, so a stalled one would stop the whole
        # process, and for ever where the memory lies in databases that nobody writes to.
        self.write_buffers = WriteBufferManager.new_write_buffer_manager_with_cache(
            write_buffer_bytes, False, self.cache
        )
        _allow_open_files()
        self._tenants: set[Tenant] = set()
        self._lock = threading.Lock()

    def join(self, tenant: Tenant) -> None:
        with self._lock:
            self._tenants.add(tenant)

    def leave(self, tenant: Tenant) -> None:
        with self._lock:
            self._tenants.discard(tenant)

    def has_room_for_filters(self, wanted_bytes: int) -> bool:
        """Whether the memtables of one more database may have filters."""
        with self._lock:
            given = sum(tenant.filter_bytes for tenant in self._tenants)
        return given + wanted_bytes <= self.write_buffer_bytes // _FILTERS

    def make_room(self) -> None:
        """Flush the largest memtables until the write buffers are within three quarters again.

        Called before each write batch; costs one atomic read while there is room.
        """
        if self.write_buffers.get_usage() <= self.write_buffer_bytes * 7 // 8:
            return
        with self._lock:
            tenants = [(_held_bytes(tenant), tenant) for tenant in self._tenants]
        tenants.sort(key=lambda entry: entry[0], reverse=True)
        small = self.write_buffer_bytes // _SMALL // max(len(tenants), 1)
        for held, tenant in tenants:
            if held < small or self.write_buffers.get_usage() <= self.write_buffer_bytes * 3 // 4:
                return
            # One that is just being closed, or whose disk fails: its own task will say so.
            with suppress(StreamerError):
                tenant.flush()

    def gauges(self) -> dict[str, int]:
        """Bytes in use: `write_buffer_bytes` is contained in `block_cache_bytes`."""
        return {
            "block_cache_bytes": self.cache.get_usage(),
            "block_cache_pinned_bytes": self.cache.get_pinned_usage(),
            "write_buffer_bytes": self.write_buffers.get_usage(),
            "capacity_bytes": self.capacity_bytes,
        }
