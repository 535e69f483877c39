"""Protobuf through the schema registry, in the wire format of the registry's own serializers.

`Protobuf` describes and connects to nothing; `bind` gives the serde for one topic, which asks the
registry once per schema. It compares the message's name then, since Protobuf reads any bytes as
any message without noticing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from streamer.errors import SerdeError, TopologyError
from streamer.kafka.registry.client import refused, registry_of
from streamer.kafka.registry.wire import Place, SubjectName, Unbound, detail, path, schema_id

__all__ = ["Protobuf"]

T = TypeVar("T")


class Protobuf(Unbound[T]):
    """Messages of one generated class.

    As a key the same warning holds as for `Avro`, and the bytes of a message with maps or unknown
    fields may differ between versions of the Protobuf library.
    """

    def __init__(
        self, type: type[T], *, subject: SubjectName = "topic", register: bool = True
    ) -> None:
        """`register`: whether a schema may be added to its subject, or must be there already.

        Raises:
            TopologyError: not a class that the Protobuf compiler made.
        """
        descriptor: Any = getattr(type, "DESCRIPTOR", None)
        if not hasattr(type, "SerializeToString") or not hasattr(descriptor, "full_name"):
            raise TopologyError(
                f"Protobuf needs a message class, not {type!r}",
                hint="import it from the module that protoc generated",
            )
        self.type: Any = type
        self.descriptor = descriptor
        self.subject = subject
        self.register = register
        self.name = f"protobuf:{descriptor.full_name}"

    def bind(self, topic: str, is_key: bool, settings: Mapping[str, Any]) -> _BoundProtobuf[T]:
        return _BoundProtobuf(self, Place(topic, is_key), settings)


class _BoundProtobuf(Generic[T]):
    def __init__(self, protobuf: Protobuf[T], place: Place, settings: Mapping[str, Any]) -> None:
        self.name = f"{protobuf.name}@{place}"
        self.type = protobuf.type
        self._protobuf = protobuf
        self._place = place
        self._registry = registry_of(settings)
        self._parse = protobuf.type.FromString
        self._prefix = b""
        self._known: set[bytes] = set()

    def bind(self, topic: str, is_key: bool, settings: Mapping[str, Any]) -> _BoundProtobuf[T]:
        return self._protobuf.bind(topic, is_key, settings)

    def decode(self, data: bytes) -> T:
        # One zero stands for the path [0], the first message of the file.
        start = 6 if data[5:6] == b"\0" else path(data, self._place)[1]
        head = data[:start]
        if head not in self._known:
            self._meet(head)
        try:
            return self._parse(data[start:])  # type: ignore[no-any-return]
        except Exception as error:  # the library's DecodeError
            raise SerdeError(
                f"{self._place}: written with schema id {schema_id(head, self._place)}, cannot be"
                f" read as {self._protobuf.descriptor.full_name}: {detail(error)}",
                hint="the record is damaged, or its producer does not write Protobuf",
            ) from error

    def encode(self, value: T) -> bytes:
        if not isinstance(value, self.type):
            raise SerdeError(
                f"{self._place}: {type(value).__name__} is not a"
                f" {self._protobuf.descriptor.full_name}",
                hint="return a message of the class that the serde was made for",
            )
        message: Any = value
        payload: bytes = message.SerializeToString(deterministic=self._place.is_key)
        if not self._prefix:
            self._prefix = self._enter(message)
        return self._prefix + payload

    def _meet(self, head: bytes) -> None:
        """Check that records with this head are messages of our type."""
        identity = schema_id(head, self._place)
        steps, _ = path(head, self._place)
        found = self._registry.schema(identity, self._place, form="serialized")
        ours = self._protobuf.descriptor.full_name
        theirs = _message_name(found.schema_str or "", steps)
        if theirs != ours:
            raise SerdeError(
                f"{self._place}: schema id {identity} holds {theirs}, not {ours}",
                hint="give the message class that the producers of this topic use",
            )
        self._known.add(head)

    def _enter(self, message: Any) -> bytes:
        """The bytes before every payload, taken from what the client's own serializer writes: it
        also registers the files that the message's file imports."""
        from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
        from confluent_kafka.serialization import MessageField, SerializationContext

        registry = self._registry
        protobuf, place = self._protobuf, self._place
        subject = place.subject(protobuf.subject, protobuf.descriptor.full_name)
        settings: dict[str, Any] = {
            "auto.register.schemas": protobuf.register,
            "subject.name.strategy": lambda _context, _record: subject,
        }
        serializer = ProtobufSerializer(self.type, registry.client, settings)
        field = MessageField.KEY if place.is_key else MessageField.VALUE
        context = SerializationContext(place.topic, field)
        what = f"the application's schema in subject {subject!r}"
        try:
            framed = registry.ask(what, lambda: serializer(message, context)) or b""
        except SerdeError as error:
            raise refused(error, subject, registry.newest_id(subject)) from error
        return framed[: len(framed) - message.ByteSize()]


def _message_name(schema: str, steps: list[int]) -> str:
    """The full name of the message that the steps lead to.

    The schema is base64 of the file's descriptor, or its source where a registry gives only that.
    """
    from google.protobuf.descriptor_pb2 import FileDescriptorProto  # type: ignore[import-untyped]

    try:
        file: Any = FileDescriptorProto.FromString(base64.b64decode(schema, validate=True))
    except Exception:  # base64 and Protobuf have an error each
        return _message_name_in_source(schema, steps)
    messages, names = file.message_type, [file.package] if file.package else []
    for index in steps:
        if index >= len(messages):
            return f"no message at {steps}"
        names.append(messages[index].name)
        messages = messages[index].nested_type
    return ".".join(names)


_NOISE = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|//[^\n]*|/\*.*?\*/', re.DOTALL)
_PACKAGE = re.compile(r"\bpackage\s+([\w.]+)\s*;")
_BLOCK = re.compile(r"\bmessage\s+(\w+)\s*\{|\bgroup\s+(\w+)\s*=[^{;]*\{|(\{)|\}")


def _message_name_in_source(source: str, steps: list[int]) -> str:
    text = _NOISE.sub(" ", source)
    names: list[str | None] = []  # of the open blocks; None for those that are not messages
    counts = [0]  # messages seen so far at each depth
    at: list[int] = []
    for block in _BLOCK.finditer(text):
        if block[0] == "}":
            if names and names.pop() is not None:
                at.pop()
                counts.pop()
        elif block[3]:
            names.append(None)
        else:
            names.append(block[1] or block[2])
            at.append(counts[-1])
            counts[-1] += 1
            counts.append(0)
            if at == steps:
                package = _PACKAGE.search(text)
                found = [package[1] if package else None, *names]
                return ".".join(name for name in found if name is not None)
    return f"no message at {steps}"
