"""Avro through the schema registry, in the wire format of the registry's own serializers.

`Avro` describes and connects to nothing; `bind` gives the serde for one topic, which asks the
registry once per schema and then works alone. The common path is the Avro codec itself: the client
library's deserializer takes several times as long for each record.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

import msgspec

from streamer.errors import SerdeError, StreamerError, TopologyError
from streamer.kafka.registry.client import Registry, refused, registry_of
from streamer.kafka.registry.wire import (
    HEADER_BYTES,
    Place,
    SubjectName,
    Unbound,
    detail,
    header,
    schema_id,
)

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema

__all__ = ["Avro"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar as WithDefault

    T = WithDefault("T", default=Any)
else:
    T = TypeVar("T")

# Types that Avro's logical types carry as they are.
_NATIVE = (bytes, bytearray, datetime, date, time, timedelta, Decimal, UUID)


class Avro(Unbound[T]):
    """Avro records, as dicts, or as `type`: a dataclass, msgspec.Struct or TypedDict class.

    With a schema, records of older and newer schemas are read as that schema says (missing fields
    get their defaults), and it is what is written. Without one, records are read as they were
    written, and written with the newest schema of the subject. A value with a field that the schema
    lacks is refused instead of losing the field. Schemas that refer to others can be read.

    As a key, think twice: its bytes contain the schema's id, so a key of a newer schema is another
    key, with its own partition and state.
    """

    def __init__(
        self,
        schema: str | Mapping[str, Any] | None = None,
        *,
        type: type[T] | None = None,
        subject: SubjectName = "topic",
        register: bool = True,
    ) -> None:
        """`register`: whether a schema may be added to its subject, or must be there already.

        Raises:
            TopologyError: the schema is not an Avro schema.
        """
        self.schema = _parse(schema)
        self.type = type
        self.subject = subject
        self.register = register
        self.text = _text(schema)
        shown = (
            getattr(type, "__name__", str(type)) if type is not None else _record_name(self.schema)
        )
        self.name = f"avro:{shown}" if shown else "avro"

    def bind(self, topic: str, is_key: bool, settings: Mapping[str, Any]) -> _BoundAvro[T]:
        place = Place(topic, is_key)
        _check_key(place, self.schema)
        return _BoundAvro(self, place, settings)


class _BoundAvro(Generic[T]):
    def __init__(self, avro: Avro[T], place: Place, settings: Mapping[str, Any]) -> None:
        self.name = f"{avro.name}@{place}"
        self.type = avro.type
        _look_at(avro.type, place)
        self._avro = avro
        self._place = place
        self._registry = registry_of(settings)
        self._reader = avro.schema
        self._writer: Any = None
        self._write = _codec().schemaless_writer
        self._prefix = b""
        self._is_raw = _is_bytes(avro.schema)
        self._reads: dict[bytes, Callable[[BytesIO], Any]] = {}
        self._reader_shown = ""

    def bind(self, topic: str, is_key: bool, settings: Mapping[str, Any]) -> _BoundAvro[T]:
        return self._avro.bind(topic, is_key, settings)

    def decode(self, data: bytes) -> T:
        head = data[:HEADER_BYTES]
        read = self._reads.get(head) or self._meet(head)
        buffer = BytesIO(data)
        buffer.seek(HEADER_BYTES)
        try:
            value = read(buffer)
            if self.type is not None:
                value = msgspec.convert(value, self.type, builtin_types=_NATIVE)
        except Exception as error:  # the codec raises whatever the bytes make it raise
            raise self._unreadable(head, error) from error
        if buffer.read(1):
            raise self._unreadable(head, ValueError("bytes are left over"))
        return value  # type: ignore[no-any-return]

    def encode(self, value: T) -> bytes:
        if not self._prefix:
            self._enter()
        plain: Any = value
        buffer = BytesIO()
        buffer.write(self._prefix)
        try:
            if type(value) is not dict:
                plain = msgspec.to_builtins(value, builtin_types=_NATIVE)
            if self._is_raw:
                buffer.write(plain)
                return buffer.getvalue()
            self._write(buffer, self._writer, plain, strict_allow_default=True)
        except Exception as error:  # as above
            identity = schema_id(self._prefix, self._place)
            raise SerdeError(
                f"{self._place}: the value does not fit schema id {identity}: {detail(error)}",
                hint="correct the value or the schema",
            ) from error
        return buffer.getvalue()

    def _meet(self, head: bytes) -> Callable[[BytesIO], Any]:
        """The reader of one schema; asks the registry for it."""
        registry = self._registry
        found = registry.schema(schema_id(head, self._place), self._place)
        writer = _resolve(registry, found)
        if _is_bytes(writer):
            # The registry's serializers write plain bytes without Avro's length before them.
            self._reads[head] = BytesIO.read
        else:
            self._reads[head] = partial(
                _codec().schemaless_reader, writer_schema=writer, reader_schema=self._reader
            )
        return self._reads[head]

    def _enter(self) -> None:
        """Find the id to write with, and the schema."""
        from confluent_kafka.schema_registry import Schema

        avro, registry = self._avro, self._registry
        subject = self._place.subject(avro.subject, _record_name(avro.schema))
        if avro.schema is None:
            try:
                newest = registry.newest(subject)
            except SerdeError as error:
                raise refused(error, subject, None) from error
            self._writer = _resolve(registry, newest.schema)
            _check_key(self._place, self._writer)
            self._is_raw = _is_bytes(self._writer)
            self._prefix = header(int(newest.schema_id or 0))
            return
        identity = registry.enter(subject, Schema(avro.text, "AVRO"), register=avro.register)
        self._writer = avro.schema
        self._prefix = header(identity)

    def _unreadable(self, head: bytes, error: Exception) -> SerdeError:
        written = schema_id(head, self._place)
        wanted = "as it was written"
        if isinstance(error, msgspec.ValidationError):
            wanted = f"as {getattr(self.type, '__name__', self.type)}"
        elif self._reader is not None:
            self._reader_shown = self._reader_shown or self._show_reader()
            wanted = f"with {self._reader_shown}"
        return SerdeError(
            f"{self._place}: written with schema id {written}, cannot be read {wanted}:"
            f" {detail(error)}",
            hint="give the application's schema a default for each new field, and keep the types",
        )

    def _show_reader(self) -> str:
        from confluent_kafka.schema_registry import Schema

        subject = self._place.subject(self._avro.subject, _record_name(self._reader))
        identity = self._registry.id_of(subject, Schema(self._avro.text, "AVRO"))
        return "the application's schema" if identity is None else f"schema id {identity}"


def _look_at(kind: Any, place: Place) -> None:
    """Have msgspec look at a type now, once: what it finds it keeps with the class, and it crashes
    where several threads meet a type for the first time."""
    if kind is None:
        return
    try:
        with suppress(msgspec.ValidationError):  # of the value, after the type was understood
            msgspec.convert(None, kind, builtin_types=_NATIVE)
    except (TypeError, NameError) as error:
        raise TopologyError(
            f"{place}: no record can be read as {getattr(kind, '__name__', kind)}: {error}",
            hint="give a dataclass, msgspec.Struct or TypedDict class whose annotations are known",
        ) from error


def _codec() -> Any:
    import fastavro

    return fastavro


def _parse(schema: str | Mapping[str, Any] | None) -> Any:
    if schema is None:
        return None
    try:
        parsed = json.loads(schema) if isinstance(schema, str) else schema
        return _codec().parse_schema(parsed)
    except Exception as error:  # the parser raises many kinds
        raise TopologyError(
            f"not an Avro schema: {type(error).__name__}: {error}",
            hint="give the schema's JSON as text or as a dict",
        ) from error


def _text(schema: str | Mapping[str, Any] | None) -> str:
    """What is registered: as the client library writes it, or the same schema would get two ids."""
    if schema is None:
        return ""
    text = schema.strip() if isinstance(schema, str) else json.dumps(schema)
    return text if text[0] in "{[" else f'{{"type":{text}}}'


def _resolve(registry: Registry, schema: Schema) -> Any:
    """The parsed schema, those it refers to included."""
    named: dict[str, Any] = {}
    entered: set[tuple[str, int]] = set()

    def parse(current: Schema) -> Any:
        for reference in current.references or ():
            key = (str(reference.subject), int(reference.version or 0))
            if key not in entered:
                entered.add(key)
                parse(registry.version(*key))
        return _codec().parse_schema(json.loads(current.schema_str or ""), named_schemas=named)

    try:
        return parse(schema)
    except StreamerError:
        raise
    except Exception as error:  # as in _parse
        raise SerdeError(
            f"a schema of the registry is not an Avro schema: {detail(error)}",
            hint="the topic may hold another format: look the schema up in the registry",
        ) from error


def _record_name(schema: Any) -> str:
    if isinstance(schema, Mapping):
        return str(schema.get("name") or schema["type"])
    return schema if isinstance(schema, str) else ""


def _is_bytes(schema: Any) -> bool:
    return schema in ("bytes", {"type": "bytes"})


def _check_key(place: Place, schema: Any) -> None:
    if place.is_key and any(_maps(schema)):
        raise TopologyError(
            f"{_record_name(schema)} cannot be the key of {place.topic!r}: an Avro map has no"
            " order, so equal keys could have different bytes",
            hint="use a record or an array of records in place of the map",
        )


def _maps(schema: Any) -> Iterator[bool]:
    """One item for each map inside a schema."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "map":
            yield True
        for inner in (schema.get("type"), schema.get("items")):
            yield from _maps(inner)
        for field in schema.get("fields", ()):
            yield from _maps(field["type"])
    elif isinstance(schema, list):
        for inner in schema:
            yield from _maps(inner)
