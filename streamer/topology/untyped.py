"""What JSON without a type gives back as something else.

Where a type leaves a part open (`Any`, the items of `list`, the values of `dict`), what comes back
is a dict with keys of text, a list, str, a number, bool or None. A tuple would come back as a list
and a dataclass as a dict: user code would then see one before a commit and the other behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from enum import Enum
from itertools import cycle
from types import NoneType
from typing import Any, NamedTuple

from msgspec import inspect

from streamer.topology.shapes import is_open

__all__ = ["PLAIN", "Finder", "Lost", "finder", "lost_in", "result_kinds"]

PLAIN: frozenset[type] = frozenset({str, int, float, bool, NoneType})
_COLLECTIONS: dict[type, type] = {
    inspect.ListType: list,
    inspect.SetType: set,
    inspect.FrozenSetType: frozenset,
    inspect.VarTupleType: tuple,
    inspect.TupleType: tuple,
    inspect.DictType: dict,
    inspect.TypedDictType: dict,
}
_CLASSES = inspect.StructType | inspect.DataclassType | inspect.NamedTupleType


class Lost(NamedTuple):
    """A part that does not come back as it is, or a key. `type` is one for the whole value that
    would bring it back, empty where none is known."""

    place: str
    value: Any
    type: str
    is_key: bool = False

    def inside(self, place: str, type: str) -> Lost:
        """The same, seen from what holds it at `place`."""
        known = type.format(self.type) if self.type else ""
        return self._replace(place=place + self.place, type=known)


# What finds the first such part of a value.
Finder = Callable[[Any], Lost | None]


def lost_in(value: Any) -> Lost | None:
    """The first part of a value without a type that JSON gives back as something else."""
    kind = type(value)
    if kind is dict:
        for key, one in value.items():
            if type(key) is not str and _is_no_text(key):
                return _lost_key(key, one)
            if type(one) not in PLAIN and (lost := lost_in(one)) is not None:
                return lost.inside(f"[{key!r}]", "dict[str, {}]")
    elif kind is list:
        for one in value:
            if type(one) not in PLAIN and (lost := lost_in(one)) is not None:
                return lost.inside(_index(one, value), "list[{}]")
    elif kind not in PLAIN:
        return _lost(value)
    return None


def finder(kind: Any, *, fields: Container[str] | None = None) -> Finder | None:
    """What finds the first such part of a value of this type; None where the type leaves nothing
    open. `fields` are those of a class that count, all of them where left out."""
    try:
        found = inspect.type_info(Any if kind is None else kind)
    except (TypeError, NameError, ValueError):
        return lost_in
    if fields is not None and isinstance(found, _CLASSES):
        return _in_class(found, [one for one in found.fields if one.name in fields], {})
    return _finder(found, {})


def result_kinds(kind: Any) -> frozenset[type] | None:
    """The classes of values that JSON without a type gives back, whatever is in them; None where
    the type tells what a value is."""
    try:
        found = inspect.type_info(Any if kind is None else kind)
    except (TypeError, NameError, ValueError):
        return None
    is_told = not isinstance(found, inspect.AnyType | inspect.DictType | inspect.ListType)
    return None if is_told or not is_open(found) else PLAIN.union({dict, list})


def _finder(found: inspect.Type, made: dict[int, Finder]) -> Finder | None:
    if not is_open(found):
        return None
    number = id(found)
    if number not in made:
        # A type may hold itself.
        made[number] = lambda value: made[number](value)
        made[number] = _made(found, made) or _nothing
    return made[number]


def _made(found: inspect.Type, made: dict[int, Finder]) -> Finder | None:
    match found:
        case inspect.AnyType():
            return lost_in
        case inspect.DictType():
            return _in_dict(found, made)
        case inspect.CollectionType():
            return _in_collection(_COLLECTIONS[type(found)], [_finder(found.item_type, made)])
        case inspect.TupleType():
            return _in_collection(tuple, [_finder(one, made) for one in found.item_types])
        case inspect.TypedDictType():
            return _in_typed_dict(found, made)
        case inspect.UnionType():
            return _in_union(found, made)
    return _in_class(found, found.fields, made) if isinstance(found, _CLASSES) else None


def _in_dict(found: inspect.DictType, made: dict[int, Finder]) -> Finder:
    find = _finder(found.value_type, made) or _nothing
    has_text_keys = isinstance(found.key_type, inspect.AnyType | inspect.StrType)
    if find is lost_in and has_text_keys:
        return lambda value: lost_in(value) if type(value) is dict else _lost(value)

    def lost(value: Any) -> Lost | None:
        if type(value) is not dict:
            return _lost(value)
        for key, one in value.items():
            if has_text_keys and type(key) is not str and _is_no_text(key):
                return _lost_key(key, one)
            if (lost := find(one)) is not None:
                return lost.inside(f"[{key!r}]", f"dict[{type(key).__name__}, {{}}]")
        return None

    return lost


def _in_collection(kind: type, finders: list[Finder | None]) -> Finder:
    """In items that are all of one type, or each of its own."""
    if kind is list and finders == [lost_in]:
        return lambda value: lost_in(value) if type(value) is list else _lost(value)

    def lost(value: Any) -> Lost | None:
        given: type = type(value)
        if given is not kind:
            return _lost(value)
        for one, find in zip(value, cycle(finders), strict=False):
            if find is not None and (lost := find(one)) is not None:
                return lost.inside(_index(one, value), "")
        return None

    return lost


def _in_typed_dict(found: inspect.TypedDictType, made: dict[int, Finder]) -> Finder:
    finders = {one.encode_name: find for one in found.fields if (find := _finder(one.type, made))}

    def lost(value: Any) -> Lost | None:
        if type(value) is not dict:
            return _lost(value)
        for name, find in finders.items():
            one = value.get(name)
            if one is not None and (lost := find(one)) is not None:
                return lost.inside(f"[{name!r}]", "")
        return None

    return lost


def _in_class(
    found: inspect.Type, fields: Iterable[inspect.Field], made: dict[int, Finder]
) -> Finder | None:
    finders = [(one.name, find) for one in fields if (find := _finder(one.type, made))]

    def lost(value: Any) -> Lost | None:
        for name, find in finders:
            one = getattr(value, name, None)
            if one is not None and (lost := find(one)) is not None:
                return lost.inside(f".{name}", "")
        return None

    return lost if finders else None


def _in_union(found: inspect.UnionType, made: dict[int, Finder]) -> Finder:
    if any(isinstance(one, inspect.AnyType) for one in found.types):
        return lost_in
    finders = [(_class(one), find) for one in found.types if (find := _finder(one, made))]

    def lost(value: Any) -> Lost | None:
        for kind, find in finders:
            if isinstance(value, kind):
                return find(value)
        return None

    return lost


def _class(found: Any) -> type:
    """The class of the values of a type that holds others."""
    kind = _COLLECTIONS.get(type(found)) or found.cls
    plain: type = getattr(kind, "__origin__", kind)
    return plain


def _nothing(_value: Any) -> None:
    return None


def _lost(value: Any) -> Lost | None:
    if value is None:
        return None
    kind = type(value)
    # No type brings back a class of dicts such as Counter.
    return Lost("", value, "" if issubclass(kind, dict) else kind.__name__)


def _lost_key(key: Any, value: Any) -> Lost:
    of = type(value).__name__ if type(value) in PLAIN and value is not None else "Any"
    return Lost("", key, f"dict[{type(key).__name__}, {of}]", is_key=True)


def _is_no_text(key: Any) -> bool:
    return not isinstance(key, str) or isinstance(key, Enum)


def _index(one: Any, values: Iterable[Any]) -> str:
    return next(f"[{number}]" for number, other in enumerate(values) if other is one)
