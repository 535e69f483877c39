"""Memory that was freed goes back to the system, so that a worker's budget bounds what it holds.

The GNU C library keeps it otherwise: threads get up to eight heaps per core, each of which stays as
large as it ever was, and once a fetched block was freed, blocks of up to 32 MiB come from them too.
Measured with 15 KB records and a budget of 128 MiB: 30 to 50 MiB lay idle.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

__all__ = ["return_freed_memory"]

# Names of mallopt(3) and their numbers in malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# Larger blocks, as those of fetches, are the system's own and go back to it when they are freed.
_OWN_BYTES = 256 * 1024
# What the end of a heap may keep: less would ask the system at every batch.
_KEPT_BYTES = 2 * 1024 * 1024
_HEAPS = 2


def return_freed_memory() -> None:
    """Set for the whole process; another C library, or a user's own MALLOC_ settings, stay."""
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    with suppress(AttributeError, OSError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_ARENA_MAX, _HEAPS)
        set_option(_MMAP_THRESHOLD, _OWN_BYTES)
        set_option(_TRIM_THRESHOLD, _KEPT_BYTES)
