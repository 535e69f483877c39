"""Which task of a layout a key belongs to.

A layout has `tasks` tasks, and partition p of its topics is read by task p mod `tasks`. Its keys
are where a partitioner puts them among `partitions` partitions, of which every task has as many:

    fold             the topic's partitions, a multiple of the tasks
    grow, routed     as many partitions as tasks

`Homes.home` is the plain truth for one key; `vectors.tasks_of` says the same of many at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from typing import get_args

from streamer.errors import ProcessingError, TopologyError
from streamer.topology.partitioner import Partitioner, partition_of

__all__ = ["Declared", "Homes", "declared", "function_name", "named", "parents_of"]

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


def declared(partitioner: Declared, key: bytes, partitions: int) -> int:
    """What a declared partitioner gives. Raises ProcessingError where it fails."""
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


def function_name(function: Callable[..., object]) -> str:
    """Module and name, the same in every process."""
    kind = type(function)
    module = getattr(function, "__module__", None) or kind.__module__
    return f"{module}:{getattr(function, '__qualname__', kind.__qualname__)}"


def named(name: str) -> Partitioner | Declared:
    """The partitioner of a name that `Homes.name` gave.

    Raises TopologyError where a declared one cannot be found by it: it must be a function of a
    module, under its own name.
    """
    known = [one for one in get_args(Partitioner) if one == name]
    if known:
        return known[0]  # type: ignore[no-any-return]
    module, _, path = name.partition(":")
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise TopologyError(
            f"the partitioner {name} cannot be found: {error}",
            hint="declare a function of a module that the workers have, under its own name",
        ) from error
    return found  # type: ignore[return-value]
