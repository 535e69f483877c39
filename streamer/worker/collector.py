"""When Python's cyclic garbage collector runs in a worker.

By default it runs whenever enough objects were made, in the middle of a batch, and looks at
thousands of records that are about to die anyway: 10 to 25 % of the CPU (measured). So a worker
runs it itself: the young generations after commits, when a batch's objects are gone, and a full
collection every half minute for cycles that user code makes.
"""

from __future__ import annotations

import gc

__all__ = ["Collector"]

_FULL_INTERVAL_MS = 30_000
_COMMITS_PER_COLLECTION = 10


class Collector:
    """Used by the loop; `restore` gives the collector back to Python."""

    def __init__(self) -> None:
        self._was_enabled = gc.isenabled()
        self._was_frozen = gc.get_freeze_count() > 0
        self._commits = 0
        self._collected_ms: int | None = None
        gc.collect()
        gc.freeze()
        gc.disable()

    def after_commit(self) -> None:
        self._commits += 1
        if self._commits >= _COMMITS_PER_COLLECTION:
            self._commits = 0
            gc.collect(1)

    def turn(self, now_ms: int) -> None:
        if self._collected_ms is None:
            self._collected_ms = now_ms
        if now_ms - self._collected_ms >= _FULL_INTERVAL_MS:
            self._collected_ms = now_ms
            gc.collect()

    def restore(self) -> None:
        # What somebody else has frozen stays so.
        if not self._was_frozen:
            gc.unfreeze()
        if self._was_enabled:
            gc.enable()
