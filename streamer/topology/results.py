"""The type of the results of built-in aggregates: a Struct with one field per result.

Its fields are mutable and it is outside the cyclic collector, so the engine updates it in place;
its JSON is both what the store holds and what the result topic gets, so it is encoded once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import date, time
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from streamer.errors import TopologyError
from streamer.topology.aggregates import BuiltIn, Count, GoesOn, Sum
from streamer.topology.serde import Serde
from streamer.topology.shapes import may_hold_float
from streamer.topology.untyped import Finder, finder

__all__ = ["check_fields", "float_results", "open_results", "result_type"]

# What has no fields, and what has no sum.
_PLAIN = (str, bytes, int, float, bool)
_NO_SUM = (str, bytes, bytearray, list, tuple, dict, set, frozenset, date, time)


def result_type(fields: Mapping[str, BuiltIn], value: Serde[Any] | None) -> type[msgspec.Struct]:
    """A Struct class for these results; field types come from the values' type where known."""
    known = _field_types(value)
    columns: list[tuple[str, Any, Any]] = []
    for name, aggregate in fields.items():
        if isinstance(aggregate, Count):
            columns.append((name, int, 0))
        else:
            kind = known.get(aggregate.field, Any)
            if isinstance(aggregate, Sum):
                kind = _summed(kind)
            columns.append((name, Any if kind is Any else kind | None, None))
    return msgspec.defstruct("Results", columns, gc=False)


def check_fields(fields: Mapping[str, BuiltIn], value: Serde[Any] | None) -> None:
    """Raise TopologyError for a field that the values lack, or that cannot be summed, as far as
    their type tells."""
    kind: Any = getattr(value, "type", None)
    for name, aggregate in fields.items():
        if isinstance(aggregate, Count):
            continue
        shown = f"{name!r}: {type(aggregate).__name__}({aggregate.field!r})"
        if kind in _PLAIN:
            raise TopologyError(
                f"{shown}: the values are {kind.__name__}, which has no fields",
                hint="give the values' type where they are read: value=Type",
            )
        if not (is_dataclass(kind) or is_typeddict(kind) or _is_struct(kind)):
            continue
        known = _field_types(value)
        if aggregate.field not in known and not hasattr(kind, aggregate.field):
            near = get_close_matches(aggregate.field, known, n=1)
            raise TopologyError(
                f"{shown}: {kind.__name__} has no field {aggregate.field!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}",
            )
        if isinstance(aggregate, Sum) and _is_all(known.get(aggregate.field), _NO_SUM):
            raise TopologyError(
                f"{shown}: {kind.__name__}.{aggregate.field} is no number",
                hint="sum a number, or aggregate with a function: aggregate(initial, function)",
            )


def float_results(fields: Mapping[str, BuiltIn], value: Serde[Any] | None) -> frozenset[str]:
    """The results that may hold floats."""
    known = _field_types(value)
    return frozenset(
        name
        for name, aggregate in fields.items()
        if not isinstance(aggregate, Count) and may_hold_float(known.get(aggregate.field, Any))
    )


def open_results(fields: Mapping[str, BuiltIn], result: Serde[Any]) -> dict[str, Finder]:
    """What finds, in results that are computed from the last one, what JSON would give back as
    something else."""
    known = _field_types(result)
    return {
        name: find
        for name, aggregate in fields.items()
        if isinstance(aggregate, GoesOn) and (find := finder(known.get(name, Any)))
    }


def _summed(kind: Any) -> Any:
    """The type of a sum: numbers that are a class of ints, such as bool, add up to an int."""
    if _is_union(kind):
        return Union[tuple(_summed(one) for one in get_args(kind))]  # noqa: UP007
    return int if isinstance(kind, type) and issubclass(kind, int) else kind


def _is_all(kind: Any, classes: tuple[type, ...]) -> bool:
    """Whether a type, None aside, is certainly one of these classes."""
    options = [one for one in get_args(kind) if one is not NoneType] if _is_union(kind) else [kind]
    plain = [get_origin(one) or one for one in options]
    return all(isinstance(one, type) and issubclass(one, classes) for one in plain)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _field_types(value: Serde[Any] | None) -> dict[str, Any]:
    kind = getattr(value, "type", None)
    if not isinstance(kind, type):
        return {}
    try:
        return get_type_hints(kind)
    except (NameError, TypeError):
        return {}
