"""Which task of a layout a key belongs to.

A layout has `tasks` tasks, and partition p of its topics is read by task p mod `tasks`. Its keys
are where a partitioner puts them among `partitions` partitions, of which every task has as many:

    fold             the topic's partitions, a multiple of the tasks
    grow, routed     as many partitions as tasks

`Homes.home` is the plain truth for one key; `vectors.tasks_of` says the same of many at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from streamer.errors import TopologyError
from streamer.layout import KnownPartitioner
from streamer.topology.declared import Declared, declared, function_name
from streamer.topology.partitioner import partition_of

__all__ = ["Homes", "parents_of"]


@dataclass(frozen=True, slots=True)
class Homes:
    """Raises TopologyError for numbers that are no layout, or a partitioner that is not known."""

    tasks: int
    partitions: int
    partitioner: KnownPartitioner | Declared = "murmur2"

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
        return function_name(self.partitioner)

    def home(self, key: bytes) -> int:
        """The task of one key. Raises ProcessingError where a declared partitioner fails."""
        if isinstance(self.partitioner, str):
            return partition_of(key, self.partitions, self.partitioner) % self.tasks
        return declared(self.partitioner, key, self.partitions) % self.tasks

    def __str__(self) -> str:
        of = f" of {self.partitions} partitions" if self.partitions != self.tasks else ""
        return f"{self.tasks} tasks{of} by {self.name}"


def parents_of(target: int, source: Homes, into: Homes) -> frozenset[int]:
    """The tasks of `source` that may have had keys of this task of `into`, with rows or without."""
    same = source.partitioner == into.partitioner and isinstance(source.partitioner, str)
    if not same:
        return frozenset(range(source.tasks))
    # Both are remainders of one number, since tasks divide partitions.
    common = gcd(source.tasks, into.tasks)
    return frozenset(task for task in range(source.tasks) if (task - target) % common == 0)
