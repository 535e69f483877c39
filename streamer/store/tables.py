"""Sorted files (SST) of one column family, for several targets at a time.

Rows come in the order of their keys, and each target gets those that are its own, so every file is
sorted and the files of one target do not overlap. They are synced when `finish` returns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from operator import setitem
from pathlib import Path
from typing import Any

from rocksdict import SstFileWriter

from streamer.store.faults import fault
from streamer.store.options import OptionSet
from streamer.store.pool import WRITE_BUFFER_BYTES_MIN, MemoryPool
from streamer.topology.stores import StoreSpec

__all__ = ["Tables", "table_options"]

# Snapshots send whole files, and a compaction makes ones of 32 MiB: a few of them at once.
TABLE_BYTES_MAX = 128 << 20


def table_options(specs: Sequence[StoreSpec], options: dict[str, Any]) -> OptionSet:
    """The options of a task's databases, for whoever has no worker's budget of memory."""
    return OptionSet(specs, options, MemoryPool(1 << 20, WRITE_BUFFER_BYTES_MIN))


class Tables:
    """`path(target, number)` is where a file goes; its directory is made when it is needed."""

    def __init__(
        self,
        path: Callable[[int, int], Path],
        options: OptionSet,
        *,
        store: str,
        is_index: bool,
        targets: int,
    ) -> None:
        self._path = path
        self._options = options.family(store, is_index)
        self._writers: list[Any] = [None] * targets
        self._written: dict[int, list[Path]] = {}

    def add(self, targets: Sequence[int], keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        """Rows with ascending keys, above all that were added before; `targets` has one for each.

        Raises StateDirectoryError where the disk refuses.
        """
        found = set(targets)
        try:
            for target in found:
                if self._writers[target] is None:
                    self._begin(target)
            # All of it in C: a loop in Python would cost a third of the writing.
            deque(map(setitem, map(self._writers.__getitem__, targets), keys, rows), maxlen=0)
            for target in found:
                if self._writers[target].file_size() >= TABLE_BYTES_MAX:
                    self._end(target)
        except Exception as error:
            raise fault(error, "writing sorted files", self._path(0, 0).parent) from None

    def finish(self) -> dict[int, list[Path]]:
        """The files of each target that has any, in the order of their keys."""
        try:
            for target, writer in enumerate(self._writers):
                if writer is not None:
                    self._end(target)
        except Exception as error:
            raise fault(error, "writing sorted files", self._path(0, 0).parent) from None
        return self._written

    def _place(self, target: int) -> Path:
        return self._path(target, len(self._written.get(target, ())))

    def _begin(self, target: int) -> None:
        place = self._place(target)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        writer: Any = SstFileWriter(self._options)
        writer.open(str(place))
        self._writers[target] = writer

    def _end(self, target: int) -> None:
        place, writer = self._place(target), self._writers[target]
        self._writers[target] = None
        writer.finish()
        self._written.setdefault(target, []).append(place)
