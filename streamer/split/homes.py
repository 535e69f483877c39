"""Which task of a layout a key belongs to.

A layout has `tasks` tasks, and partition p of its topics is read by task p mod `tasks`. Its keys
are where a partitioner puts them among `partitions` partitions, of which every task has as many:

    fold             the topic's partitions, a multiple of the tasks
    grow, routed     as many partitions as tasks

`Homes.home` is the plain truth for one key; `tasks_of` says the same of many keys at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from streamer.errors import ProcessingError, TopologyError
from streamer.split.vectors import Numbers, hashes
from streamer.topology.partitioner import Partitioner, partition_of

__all__ = ["Declared", "Homes", "parents_of", "tasks_of"]

Declared = Callable[[bytes, int], int]
"""A partitioner that the user declares: the bytes of a key, how many partitions; gives one."""


@dataclass(frozen=True, slots=True)
class Homes:
    """Raises TopologyError for numbers that are no layout, or a partitioner that is not known."""

    tasks: int
    partitions: int
    partitioner: Partitioner | Declared = "murmur2"

    def __post_init__(self) -> None:
        if self.tasks < 1 or self.partitions < 1 or self.partitions % self.tasks:
            raise TopologyError(
                f"{self.tasks} tasks cannot share {self.partitions} partitions",
                hint="every task must have as many; a layout whose topic has other numbers keeps"
                " its keys as if the topic had as many partitions as there are tasks",
            )
        if isinstance(self.partitioner, str):
            partition_of(b"", 1, self.partitioner)

    @property
    def name(self) -> str:
        """The partitioner's, the same in every process."""
        if isinstance(self.partitioner, str):
            return self.partitioner
        known = self.partitioner
        return f"{known.__module__}:{getattr(known, '__qualname__', type(known).__qualname__)}"

    def home(self, key: bytes) -> int:
        """The task of one key. Raises ProcessingError where a declared partitioner fails."""
        if isinstance(self.partitioner, str):
            return partition_of(key, self.partitions, self.partitioner) % self.tasks
        return _declared(self.partitioner, key, self.partitions) % self.tasks

    def __str__(self) -> str:
        of = f" of {self.partitions} partitions" if self.partitions != self.tasks else ""
        return f"{self.tasks} tasks{of} by {self.name}"


def tasks_of(keys: Sequence[bytes], *layouts: Homes) -> list[Numbers]:
    """The task of each key in each layout. Raises ProcessingError as `Homes.home` does."""
    hashed: dict[str, Numbers] = {}
    found = []
    for homes in layouts:
        known = homes.partitioner
        if isinstance(known, str):
            if known not in hashed:
                hashed[known] = hashes(keys, known)
            partitions = hashed[known] % homes.partitions
        else:
            each = (_declared(known, key, homes.partitions) for key in keys)
            partitions = np.fromiter(each, np.int64, len(keys))
        found.append(partitions if homes.tasks == homes.partitions else partitions % homes.tasks)
    return found


def parents_of(target: int, source: Homes, into: Homes) -> frozenset[int]:
    """The tasks of `source` that may have had keys of this task of `into`, with rows or without."""
    same = source.partitioner == into.partitioner and isinstance(source.partitioner, str)
    if not same:
        return frozenset(range(source.tasks))
    # Both are remainders of one number, since tasks divide partitions.
    common = gcd(source.tasks, into.tasks)
    return frozenset(task for task in range(source.tasks) if (task - target) % common == 0)


def _declared(partitioner: Declared, key: bytes, partitions: int) -> int:
    try:
        found = partitioner(key, partitions)
    except Exception as error:
        raise ProcessingError(
            f"the declared partitioner raised {type(error).__name__} for key {key!r}: {error}",
            hint="it must know every key that a producer may have written",
        ) from error
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < partitions:
        raise ProcessingError(
            f"the declared partitioner gives {found!r} for key {key!r} among {partitions}"
            " partitions",
            hint=f"it must give a whole number from 0 to {partitions - 1}",
        )
    return found
