"""Serdes: how keys and values become bytes and come back.

`encode` and `decode` are bound once and are C functions where the format allows it, because a batch
is decoded by `list(map(serde.decode, values))`. None never reaches a serde: it is Kafka's absence.

The rows of a store lie in the order of their keys' bytes, so ranges follow that order:
`Utf8` by code point, `Bytes` as they are, `Int32` and `Int64` and `Float64` only among non-negative
numbers (a negative one lies after all others), every other serde in no order that means anything.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, overload

import msgspec
from msgspec import inspect

from streamer.errors import SerdeError, TopologyError
from streamer.topology.exact import exact
from streamer.topology.shapes import parts
from streamer.topology.typed import readable
from streamer.topology.untyped import finder

__all__ = [
    "Bytes",
    "Float64",
    "Int32",
    "Int64",
    "Json",
    "MessagePack",
    "Plain",
    "Serde",
    "Typed",
    "Utf8",
    "serde_of",
]

T = TypeVar("T")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as WithDefault

    Checked = WithDefault("Checked", default=Any)
else:
    Checked = TypeVar("Checked")


class Serde(Protocol[T]):
    """Turns keys or values into bytes and back; `name` is for people, such as `json:Purchase`."""

    @property
    def name(self) -> str: ...

    @property
    def encode(self) -> Callable[[T], bytes]: ...

    @property
    def decode(self) -> Callable[[bytes], T]: ...

    def bind(self, topic: str, is_key: bool, settings: Mapping[str, Any]) -> Serde[T]:
        """The serde for one place: the keys or the values of this topic.

        Called once per place before any record; must not connect. For a store, the topic is its
        changelog. `settings` are those of the schema registry's client.
        """
        ...


@dataclass(frozen=True, slots=True)
class Plain(Generic[T]):
    """A serde made of two functions; the same at every place."""

    name: str
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    type: Any = None

    def bind(self, topic: str, is_key: bool, settings: Mapping[str, Any]) -> Plain[T]:
        return self


def _fixed(name: str, layout: str, kind: type[T]) -> Plain[T]:
    packer = struct.Struct(layout)
    pack, unpack = packer.pack, packer.unpack

    def encode(value: T) -> bytes:
        try:
            return pack(value)
        except (struct.error, OverflowError) as error:
            reason = f": {error}" if isinstance(value, kind) else ""
            raise SerdeError(
                f"{name} cannot hold {value!r} ({type(value).__name__}){reason}",
                hint="give the type of what is there, such as value=str, or convert it before",
            ) from None

    def decode(data: bytes) -> T:
        try:
            (value,) = unpack(data)
        except struct.error:
            raise SerdeError(
                f"{name} takes {packer.size} bytes, not {len(data)}",
                hint="the topic holds another format: give the serde that its producers use",
            ) from None
        return value  # type: ignore[no-any-return]

    return Plain(name, encode, decode, kind)


# The descriptors refuse other types, where bytes(5) would silently give five zero bytes.
Bytes: Plain[bytes] = Plain("bytes", bytes.__bytes__, bytes.__bytes__, bytes)
Utf8: Plain[str] = Plain("utf8", str.encode, bytes.decode, str)
# Big-endian and signed, as Kafka's IntegerSerializer, LongSerializer and DoubleSerializer write.
Int32: Plain[int] = _fixed("int32", ">i", int)
Int64: Plain[int] = _fixed("int64", ">q", int)
Float64: Plain[float] = _fixed("float64", ">d", float)


class Typed(Generic[Checked]):
    """What `Json` and `MessagePack` share: a type that msgspec checks while it decodes."""

    __slots__ = ("_has_other_keys", "decode", "encode", "name", "type")

    label: ClassVar[str]
    format: ClassVar[Any]

    encode: Callable[[Checked], bytes]
    decode: Callable[[bytes], Checked]

    @overload
    def __init__(self, type: type[Checked]) -> None: ...

    @overload
    def __init__(self, type: object = Any) -> None: ...

    def __init__(self, type: Any = Any) -> None:
        kind = Any if type is object else type
        self.name = self.label if kind is Any else f"{self.label}:{_spell(kind)}"
        self.type = kind
        try:
            self._has_other_keys = _check(kind, self.label)
            self.decode = self.format.Decoder(kind).decode
        except (TypeError, NameError, ValueError) as error:
            raise TopologyError(
                f"no serde is known for {kind!r}: {error}", hint=_POSSIBLE
            ) from error
        self.encode = self._encoder(is_key=not self._has_other_keys)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({_spell(self.type)})"

    def bind(self, topic: str, is_key: bool, settings: Mapping[str, Any]) -> Typed[Checked]:
        if is_key and self._has_other_keys:
            raise TopologyError(
                f"{self.name} cannot be the key of {topic!r}: its dict keys are not all strings,"
                " so equal keys could have different bytes",
                hint="use str keys in the dict, or a dataclass",
            )
        bound = copy.copy(self)
        bound.encode = self._encoder(is_key)
        return bound

    def stored(self, store: str, *, fields: Container[str] | None = None) -> Typed[Checked]:
        """This serde for the values of a store, whose `fields` alone are computed by functions that
        nobody knows; None for all."""
        return self.checked(f"store {store!r}") if fields is None else self

    def checked(self, place: str) -> Typed[Checked]:
        """This serde, which refuses what it would not read again; `place` is named by the error."""
        bound = copy.copy(self)
        bound.encode = readable(self.encode, self.decode, self.type, place=place, name=self.name)
        return bound

    def _encoder(self, is_key: bool) -> Callable[[Checked], bytes]:
        # Equal keys must give equal bytes. A value keeps the order of its dicts instead: user code
        # must see the same value whether it comes from the cache or from the store.
        encode: Callable[[Checked], bytes] = self.format.Encoder(
            order="deterministic" if is_key else None
        ).encode
        return encode


class Json(Typed[Checked]):
    """JSON, typed by a dataclass, msgspec.Struct, TypedDict or anything else msgspec knows.

    `Json()` is untyped and gives back what JSON has: dict keys become str, tuples and sets become
    lists, bytes become base64 text; a store refuses all of these. NaN and infinities are refused
    everywhere: JSON would have null for them.
    """

    __slots__ = ()
    label: ClassVar[str] = "json"
    format: ClassVar[Any] = msgspec.json

    def stored(self, store: str, *, fields: Container[str] | None = None) -> Typed[Checked]:
        """This serde for the values of a store. It refuses what would come back as something else
        where the type does not say what it is; `fields` are those of a class where that counts."""
        bound = copy.copy(self)
        encode = super()._encoder(is_key=False)
        find = finder(self.type, fields=fields)
        place = f"store {store!r}"
        bound.encode = exact(encode, self.type, place=place, find=find)
        return bound if fields is not None else bound.checked(place)

    def _encoder(self, is_key: bool) -> Callable[[Checked], bytes]:
        return exact(super()._encoder(is_key), self.type)


class MessagePack(Typed[Checked]):
    """MessagePack, typed like `Json`: smaller, and exact for bytes, NaN and infinities.

    Integers must fit 64 bits.
    """

    __slots__ = ()
    label: ClassVar[str] = "msgpack"
    format: ClassVar[Any] = msgspec.msgpack


_PLAIN: tuple[tuple[object, Serde[Any]], ...] = (
    (None, Bytes),
    (bytes, Bytes),
    (str, Utf8),
    (int, Int64),
    (float, Float64),
)
_POSSIBLE = (
    "possible are str, bytes, int, float, dict, list, Any, a dataclass, msgspec.Struct or"
    " TypedDict class, a serde from streamer.serdes, or an object with encode and decode"
)


def serde_of(given: object) -> Serde[Any]:
    """The serde for what a user passes as `key=` or `value=`.

    str is UTF-8, int and float are Kafka's 8 bytes, None is raw bytes, any other type is JSON, and
    an object with `encode` and `decode` is itself.

    Raises:
        TopologyError: nothing of that kind; the hint says what is possible.
    """
    for kind, serde in _PLAIN:
        if given is kind:
            return serde
    if callable(getattr(given, "encode", None)) and callable(getattr(given, "decode", None)):
        return _complete(given)
    if isinstance(given, type) and issubclass(given, Typed):
        raise TopologyError(
            f"{given.__name__} is a class of serdes, not a serde",
            hint=f"write {given.__name__}() or {given.__name__}(Type)",
        )
    return Json(given)


def _complete(given: Any) -> Serde[Any]:
    if isinstance(given, type):
        raise TopologyError(
            f"{given.__name__} is a class of serdes, not a serde", hint=f"write {given.__name__}()"
        )
    if callable(getattr(given, "bind", None)) and isinstance(getattr(given, "name", None), str):
        return given  # type: ignore[no-any-return]
    name = getattr(given, "name", None) or type(given).__name__
    return Plain(str(name), given.encode, given.decode, getattr(given, "type", None))


def _spell(kind: Any) -> str:
    if isinstance(kind, type):
        return kind.__qualname__
    return repr(kind).removeprefix("typing.")


def _check(kind: Any, label: str) -> bool:
    """Whether the type has dicts whose keys are not str. Raises TopologyError if unusable."""
    has_other_keys = False
    for place, found in parts(kind, _spell(kind)):
        if isinstance(found, inspect.CustomType) and found.cls is not object:
            raise TopologyError(
                f"no serde is known for {_spell(kind)}: {label} cannot carry"
                f" {_spell(found.cls)} (at {place})",
                hint=_POSSIBLE,
            )
        if isinstance(found, inspect.DictType):
            has_other_keys |= not isinstance(found.key_type, inspect.StrType | inspect.AnyType)
    return has_other_keys
