"""Values that their own type would not read again are refused where they are made.

msgspec checks a type where it reads, and not where it writes: a float in a field that is declared
as an int is written as it is. A store would have it, and its changelog, and nobody could read
either any more, so what is kept is read once where it is encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from streamer.errors import SerdeError
from streamer.topology.shapes import parts

__all__ = ["readable"]

T = TypeVar("T")


def readable(
    encode: Callable[[T], bytes], decode: Callable[[bytes], T], kind: Any, *, place: str, name: str
) -> Callable[[T], bytes]:
    """The encoder of a type, or one that raises SerdeError for what `decode` refuses. `place` is
    where it is kept, and `name` the serde's."""
    if not _says_something(kind):
        return encode

    def checked(value: T) -> bytes:
        data = encode(value)
        try:
            decode(data)
        except msgspec.DecodeError as error:
            raise SerdeError(
                f"{place} is declared as {name}, and what was computed is something else: {error}",
                hint="return what the type says, such as int(...) for an int, or declare what is"
                " there",
            ) from error
        return data

    return checked


def _says_something(kind: Any) -> bool:
    """Whether there are values that a type refuses."""
    return any(not isinstance(found, inspect.AnyType) for _place, found in parts(kind, ""))
