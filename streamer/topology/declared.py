"""Partitioners that an application declares: functions, which records know by their names.

    def by_region(key: bytes, partitions: int) -> int: ...
    app.stream("purchases", partitioner=by_region)        "shop.app:by_region" in records

Producers that choose partitions themselves place keys by some rule, and only the application can
say by which. Whoever splits its state, routes a query to it or forwards a record has to have the
function: it is imported by its name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from operator import index
from typing import get_args

from streamer.errors import RAISED_BY_USERS, ProcessingError, TopologyError
from streamer.layout import KnownPartitioner

__all__ = ["Declared", "declared", "function_name", "name_of", "named"]

Declared = Callable[[bytes, int], int]
"""A partitioner that the user declares: the bytes of a key, how many partitions; gives one."""


def declared(partitioner: Declared, key: bytes, partitions: int) -> int:
    """What a declared partitioner gives. Raises ProcessingError where it fails."""
    try:
        found = partitioner(key, partitions)
    except RAISED_BY_USERS as error:
        raise ProcessingError(
            f"the declared partitioner raised {type(error).__name__} for key {key!r}: {error}",
            hint="it must know every key that a producer may have written",
        ) from error
    try:
        # Also numpy's; a bool is none that anybody means.
        number = -1 if isinstance(found, bool) else index(found)
    except TypeError:
        number = -1
    if not 0 <= number < partitions:
        raise ProcessingError(
            f"the declared partitioner gives {found!r} for key {key!r} among {partitions}"
            " partitions",
            hint=f"it must give a whole number from 0 to {partitions - 1}",
        )
    return number


def function_name(function: Callable[..., object]) -> str:
    """Module and name, the same in every process."""
    kind = type(function)
    module = getattr(function, "__module__", None) or kind.__module__
    return f"{module}:{getattr(function, '__qualname__', kind.__qualname__)}"


def named(name: str) -> KnownPartitioner | Declared:
    """The partitioner of a name that `name_of` gave.

    Raises TopologyError where a declared one cannot be found by it: it must be a function of a
    module, under its own name.
    """
    known = [one for one in get_args(KnownPartitioner) if one == name]
    if known:
        return known[0]  # type: ignore[no-any-return]
    module, colon, path = name.partition(":")
    if not colon:
        raise _unknown(name)
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except RAISED_BY_USERS as error:
        raise TopologyError(
            f"the partitioner {name} cannot be found: {type(error).__name__}: {error}",
            hint="declare a function of a module under its own name, and run this where that module"
            " can be imported, as the workers do",
        ) from error
    if not callable(found):
        raise TopologyError(
            f"the partitioner {name} is no function",
            hint="it takes the bytes of a key and the number of partitions, and gives one of them",
        )
    return found


def name_of(partitioner: str | Declared) -> str:
    """The name by which records know what an application declares. Raises TopologyError for what
    is neither a known partitioner nor a function that others find by its name."""
    if isinstance(partitioner, str) and partitioner in get_args(KnownPartitioner):
        return partitioner
    if isinstance(partitioner, str) or not callable(partitioner):
        raise _unknown(partitioner)
    name = function_name(partitioner)
    if named(name) is not partitioner:
        raise TopologyError(
            f"the partitioner {name} is not found again by that name",
            hint="declare a function at the top of a module that can be imported: other processes"
            " have to find it, and a lambda or an inner function has no name for them",
        )
    return name


def _unknown(partitioner: object) -> TopologyError:
    return TopologyError(
        f"{partitioner!r} is not a partitioner",
        hint=f"possible: {', '.join(get_args(KnownPartitioner))}, or a function of your own: the"
        " bytes of a key and the number of partitions give one of them",
    )
