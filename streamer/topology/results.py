"""The type of the results of built-in aggregates: a Struct with one field per result.

Its fields are mutable and it is outside the cyclic collector, so the engine updates it in place;
its JSON is both what the store holds and what the result topic gets, so it is encoded once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

import msgspec

from streamer.topology.aggregates import BuiltIn, Count
from streamer.topology.serde import Serde

__all__ = ["result_type"]


def result_type(fields: Mapping[str, BuiltIn], value: Serde[Any] | None) -> type[msgspec.Struct]:
    """A Struct class for these results; field types come from the values' type where known."""
    known = _field_types(value)
    columns: list[tuple[str, Any, Any]] = []
    for name, aggregate in fields.items():
        if isinstance(aggregate, Count):
            columns.append((name, int, 0))
        else:
            kind = known.get(aggregate.field, Any)
            columns.append((name, Any if kind is Any else kind | None, None))
    return msgspec.defstruct("Results", columns, gc=False)


def _field_types(value: Serde[Any] | None) -> dict[str, Any]:
    kind = getattr(value, "type", None)
    if not isinstance(kind, type):
        return {}
    try:
        return get_type_hints(kind)
    except (NameError, TypeError):
        return {}
