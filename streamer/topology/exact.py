"""JSON that gives back what it was given, or says at once that it cannot.

JSON writes null for NaN and for infinities, which a type with a float then refuses to read, text
for the keys of every dict, and a list for a tuple. Each is found too late: when the row is read
again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from math import isfinite
from typing import Any, TypeVar

from msgspec import msgpack

from streamer.errors import SerdeError
from streamer.topology.shapes import may_hold_float
from streamer.topology.untyped import PLAIN, Finder, Lost

__all__ = ["exact", "non_finite"]

T = TypeVar("T")
# A float of 8 bytes, which begins with 0xCB: its exponent is all ones.
_NON_FINITE = (b"\xcb\x7f", b"\xcb\xff")
_pack = msgpack.Encoder().encode


def exact(
    encode: Callable[[T], bytes], kind: Any, *, place: str = "", find: Finder | None = None
) -> Callable[[T], bytes]:
    """The encoder of a type, or one that raises SerdeError for non-finite numbers and for what
    `find` finds, which would come back as something else; `place` is named by the error."""
    if not may_hold_float(kind):
        return encode
    start = f"the JSON of {place}" if place else "JSON"

    def finite(value: T) -> bytes:
        data = encode(value)
        # Only null can be such a number: all else is not looked at.
        if b"null" in data and _may_be_non_finite(value):
            _refuse_non_finite(value, start)
        return data

    if find is None:
        return finite

    def given_back(value: T) -> bytes:
        if type(value) not in PLAIN and (lost := find(value)) is not None:
            if not lost.is_key:
                encode(value)  # What JSON cannot hold at all has another error.
            raise _refusal(lost, start)
        data = encode(value)
        if b"null" in data and _may_be_non_finite(value):
            _refuse_non_finite(value, start)
        return data

    return given_back


def non_finite(value: Any) -> tuple[str, float] | None:
    """Where in a value the first number is that JSON does not have, and that number."""
    if isinstance(value, float):
        return None if isfinite(value) else ("", value)
    for place, one in _inside(value):
        found = non_finite(one)
        if found is not None:
            return place + found[0], found[1]
    return None


def _may_be_non_finite(value: Any) -> bool:
    """Looks for such a number, or what happens to look like one, in MessagePack's bytes: that is
    many times as fast as to walk through a value in which a field is None."""
    try:
        data = _pack(value)
    except Exception:
        return True
    return any(sign in data for sign in _NON_FINITE)


def _refuse_non_finite(value: Any, start: str) -> None:
    found = non_finite(value)
    if found is not None:
        place = found[0].removeprefix(".") or "the value"
        raise SerdeError(
            f"{start} cannot hold the non-finite number {found[1]!r} ({place})",
            hint="leave it out, or give value=MessagePack(Type), which can hold it",
        )


def _refusal(lost: Lost, start: str) -> SerdeError:
    if lost.is_key:
        return SerdeError(
            f"{start}, which has no type, would turn the dict key {lost.value!r} into text",
            hint=f"give the type: value={lost.type}",
        )
    place = lost.place.removeprefix(".") or "the value"
    known = f"such as value={lost.type}" if lost.type else "or make it a plain dict or list"
    return SerdeError(
        f"{start}, which has no type, cannot give back a {type(lost.value).__name__} ({place})",
        hint=f"give the type of the store's values, {known}",
    )


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a value as JSON sees them, each with its place."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield "", key
            yield f"[{key!r}]", one
    elif isinstance(value, list | tuple | set | frozenset):
        for number, one in enumerate(value):
            yield f"[{number}]", one
    else:
        for name in _field_names(type(value)):  # type: ignore[arg-type]
            yield f".{name}", getattr(value, name, None)


@lru_cache
def _field_names(kind: Hashable) -> tuple[str, ...]:
    """The fields of a Struct, a dataclass or an attrs class."""
    found: Any = getattr(kind, "__struct_fields__", None) or getattr(
        kind, "__dataclass_fields__", None
    )
    if found is None:
        found = [one.name for one in getattr(kind, "__attrs_attrs__", ())]
    return tuple(found)
