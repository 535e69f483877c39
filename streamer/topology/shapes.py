"""What values of a type can hold: floats, parts without a type, objects that can be changed.

Answers are those of the type alone, so they are found once and cost nothing per record. A type that
does not tell, such as that of an untyped dict, can hold everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import inspect

__all__ = ["can_hold_same", "is_immutable", "is_open", "may_hold_float", "parts"]

_UNKNOWN = inspect.AnyType | inspect.CustomType | inspect.ExtType | inspect.MemoryViewType


def parts(kind: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every type inside a type, itself included, with the place where it stands."""
    return _walk(inspect.type_info(kind), name, set())


def may_hold_float(kind: Any) -> bool:
    """Whether a float may be in a value of this type."""
    return any(isinstance(found, inspect.FloatType | _UNKNOWN) for found in _found(kind))


def is_open(found: inspect.Type) -> bool:
    """Whether a type, as msgspec sees it, leaves open what some part of it is."""
    return any(isinstance(one, inspect.AnyType) for _place, one in _walk(found, "", set()))


def is_immutable(kind: Any) -> bool:
    """Whether no value of this type can be changed in place, however deep."""
    return not _mutable(kind)


def can_hold_same(one: Any, other: Any) -> bool:
    """Whether values of two types may hold one and the same object that can be changed."""
    mine, others = _mutable(one), _mutable(other)
    return any(_may_be_one(first, second) for first in mine for second in others)


def _may_be_one(one: type, other: type) -> bool:
    return issubclass(one, other) or issubclass(other, one)


def _found(kind: Any) -> list[Any]:
    try:
        return [found for _place, found in parts(Any if kind is None else kind, "")]
    except (TypeError, NameError, ValueError):
        return [inspect.AnyType()]


def _mutable(kind: Any) -> set[type]:
    """The classes of objects that a value may hold and that can be changed; `object` for any."""
    return {one for found in _found(kind) if (one := _mutable_class(found)) is not None}


def _mutable_class(found: Any) -> type | None:
    match found:
        case inspect.StructType():
            return None if found.cls.__struct_config__.frozen else found.cls
        case inspect.DataclassType():
            parameters = getattr(found.cls, "__dataclass_params__", None)
            return None if parameters is not None and parameters.frozen else found.cls
        case inspect.DictType() | inspect.TypedDictType():
            return dict
        case inspect.SetType():
            return set
        case inspect.ListType():
            return list
        case inspect.ByteArrayType():
            return bytearray
    return object if isinstance(found, _UNKNOWN) else None


def _walk(found: Any, place: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(found) in seen:
        return
    seen.add(id(found))
    yield place, found
    for field in getattr(found, "fields", ()):
        yield from _walk(field.type, f"{place}.{field.name}", seen)
    for name in ("item_type", "key_type", "value_type"):
        if hasattr(found, name):
            yield from _walk(getattr(found, name), place, seen)
    for inner in (*getattr(found, "item_types", ()), *getattr(found, "types", ())):
        yield from _walk(inner, place, seen)
