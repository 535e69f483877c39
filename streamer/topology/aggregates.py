"""Aggregates: a fold function of the user's, or built-in ones given as data.

A built-in aggregate names what to compute (`Sum("amount")`) rather than how, so that the engine
can run all of them over a batch in one specialised loop. Functions keep Kafka Streams' order of
arguments: `(key, value, aggregate) -> aggregate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from streamer.errors import TopologyError

__all__ = [
    "BuiltIn",
    "Count",
    "First",
    "Fold",
    "GoesOn",
    "Last",
    "Max",
    "Min",
    "Reduce",
    "Sum",
    "built_in",
]


@dataclass(frozen=True, slots=True)
class Count:
    """How many records."""

    field: ClassVar[None] = None


@dataclass(frozen=True, slots=True)
class _OfField:
    field: str


class Sum(_OfField):
    """The sum of a field of the values. A null is left out, as in SQL: null until a value comes."""


class Min(_OfField):
    """The least value of a field; nulls are left out."""


class Max(_OfField):
    """The greatest value of a field; nulls are left out."""


class First(_OfField):
    """A field of the first record that was processed, also if it is null there."""


class Last(_OfField):
    """A field of the last record that was processed, also if it is null there."""


BuiltIn = Count | Sum | Min | Max | First | Last
# Their next result is computed from the last one, and not only kept or replaced.
GoesOn = Sum | Min | Max


@dataclass(frozen=True, slots=True)
class Fold:
    """Aggregation by functions. For sessions, `merge` joins the aggregates of two sessions."""

    initial: Callable[[], Any]
    step: Callable[[Any, Any, Any], Any]
    merge: Callable[[Any, Any, Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Reduce:
    """The first value is the aggregate; later ones are combined with it: `(aggregate, value)`."""

    step: Callable[[Any, Any], Any]


def built_in(fields: Mapping[str, Any]) -> dict[str, BuiltIn]:
    """Check a mapping of result names to built-in aggregates. Raises TopologyError."""
    if not fields:
        raise TopologyError("aggregate({}) computes nothing", hint='such as {"orders": Count()}')
    for name, aggregate in fields.items():
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
            raise TopologyError(f"{name!r} is not a usable name for an aggregate's result")
        if not isinstance(aggregate, Count | Sum | Min | Max | First | Last):
            raise TopologyError(
                f"{name!r}: {aggregate!r} is not a built-in aggregate",
                hint="use Count(), Sum(field), Min(field), Max(field), First(field), Last(field),"
                " or pass a function: aggregate(initial, function, store=...)",
            )
        if aggregate.field is not None and not isinstance(aggregate.field, str):
            raise TopologyError(f"{name!r}: the field must be a name, not {aggregate.field!r}")
    return dict(fields)
