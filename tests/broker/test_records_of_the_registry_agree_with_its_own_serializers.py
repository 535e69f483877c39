"""Avro and Protobuf written here are read by the client library's deserializers, and the reverse.

Every record goes through a real topic, and every schema through a real registry.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

from streamer.errors import SerdeError
from streamer.sandbox.registry import SchemaRegistry
from streamer.serdes import Avro, Protobuf

PURCHASE = {
    "type": "record",
    "name": "Purchase",
    "namespace": "shop",
    "fields": [
        {"name": "customer", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {
            "name": "price",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
        },
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "by_shop", "type": {"type": "map", "values": "long"}, "default": {}},
    ],
}


@dataclass
class Purchase:
    customer: str
    at: datetime
    day: date
    price: Decimal
    note: str | None = None
    tags: tuple[str, ...] = ()
    by_shop: dict[str, int] = field(default_factory=dict)


BOUGHT = [
    Purchase("ann", datetime(2026, 1, 2, 3, 4, 5, 678, UTC), date(2026, 1, 2), Decimal("19.90")),
    Purchase(
        "börje",
        datetime(1970, 1, 1, tzinfo=UTC),
        date(1999, 12, 31),
        Decimal("-0.01"),
        "again",
        ("a", "b"),
        {"x": 2**40},
    ),
]


@pytest.fixture
def client(registry: SchemaRegistry) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": registry.url})


def through(kafka: Any, topic: str, values: list[bytes]) -> list[bytes]:
    kafka.create(topic, partitions=1)
    kafka.produce(topic, [(None, value) for value in values])
    return [record.value for record in kafka.read(topic)]


def test_avro_values(registry: SchemaRegistry, client: Any, kafka: Any, names: Any) -> None:
    topic = names.topic("purchases")
    context = SerializationContext(topic, MessageField.VALUE)
    ours = Avro(PURCHASE, type=Purchase).bind(topic, False, {"url": registry.url})
    theirs = AvroSerializer(client, json.dumps(PURCHASE))
    plain = [{**vars(bought), "tags": list(bought.tags)} for bought in BOUGHT]

    written = through(
        kafka, topic, [*map(ours.encode, BOUGHT), *[theirs(v, context) for v in plain]]
    )

    assert written[:2] == written[2:], "both sides write the same bytes, schema id included"
    assert list(map(ours.decode, written)) == BOUGHT * 2
    read = AvroDeserializer(client)
    assert [read(value, context) for value in written] == plain * 2


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ('"string"', "ann"),
        ('"bytes"', b"\x00\xffraw"),
        ('"long"', -5),
        ('{"type": "array", "items": "long"}', [1, 2]),
    ],
)
def test_avro_primitives(
    registry: SchemaRegistry, client: Any, names: Any, schema: str, value: object
) -> None:
    topic = names.topic("primitive")
    context = SerializationContext(topic, MessageField.KEY)
    ours = Avro(schema).bind(topic, True, {"url": registry.url})
    theirs = AvroSerializer(client, schema)(value, context)
    assert ours.encode(value) == theirs
    assert ours.decode(theirs) == value
    assert AvroDeserializer(client)(ours.encode(value), context) == value
    assert f"{topic}-key" in client.get_subjects()


def test_avro_without_a_schema_writes_the_newest_one(
    registry: SchemaRegistry, client: Any, names: Any
) -> None:
    topic = names.topic("numbers")
    schema = '{"type": "record", "name": "Number", "fields": [{"name": "n", "type": "long"}]}'
    identity = client.register_schema(f"{topic}-value", Schema(schema, "AVRO"))
    serde = Avro().bind(topic, False, {"url": registry.url})
    written = serde.encode({"n": 7})
    assert written == b"\0" + identity.to_bytes(4, "big") + b"\x0e"
    assert serde.decode(written) == {"n": 7}


def test_avro_schemas_that_refer_to_others_are_read(
    registry: SchemaRegistry, client: Any, names: Any
) -> None:
    topic = names.topic("orders")
    customer = '{"type":"record","name":"shop.Customer","fields":[{"name":"n","type":"string"}]}'
    order = json.dumps(
        {
            "type": "record",
            "name": "shop.Order",
            "fields": [
                {"name": "buyer", "type": "shop.Customer"},
                {"name": "payer", "type": "shop.Customer"},
            ],
        }
    )
    client.register_schema(f"{topic}-customer", Schema(customer, "AVRO"))
    reference = SchemaReference("shop.Customer", f"{topic}-customer", 1)
    theirs = AvroSerializer(client, Schema(order, "AVRO", [reference]))
    value = {"buyer": {"n": "ann"}, "payer": {"n": "bob"}}
    written = theirs(value, SerializationContext(topic, MessageField.VALUE))
    serde = Avro().bind(topic, False, {"url": registry.url})
    assert serde.decode(written) == value
    assert serde.encode(value) == written


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("topic", "{topic}-value"),
        ("record", "shop.{record}"),
        ("topic-record", "{topic}-shop.{record}"),
    ],
)
def test_subjects_are_named_by_each_strategy(
    registry: SchemaRegistry, client: Any, names: Any, strategy: Any, expected: str
) -> None:
    topic = names.topic("named")
    record = "R" + names.application.rsplit("-", 1)[1]
    schema = {"type": "record", "name": f"shop.{record}", "fields": []}
    Avro(schema, subject=strategy).bind(topic, False, {"url": registry.url}).encode({})
    found = [name for name in client.get_subjects() if topic in name or record in name]
    assert found == [expected.format(topic=topic, record=record)]


def message_class(name: str, *, with_import: bool = False) -> Any:
    """`shop.NAME`, the second message of its file, as the compiler would make it."""
    pool = descriptor_pool.DescriptorPool()
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="shop", syntax="proto3")
    file.message_type.add(name="First")
    message = file.message_type.add(name=name)

    def add(field_name: str, number: int, kind: Any, type_name: str | None = None) -> None:
        message.field.add(
            name=field_name,
            number=number,
            type=kind,
            label=kinds.LABEL_OPTIONAL,
            type_name=type_name,
        )

    add("customer", 1, kinds.TYPE_STRING)
    add("cents", 2, kinds.TYPE_INT64)
    if with_import:
        imported = descriptor_pb2.FileDescriptorProto(
            name=f"{name}-shop.proto", package="shop", syntax="proto3"
        )
        imported.message_type.add(name=f"{name}Shop")
        pool.Add(imported)
        file.dependency.append(imported.name)
        add("shop", 3, kinds.TYPE_MESSAGE, f".shop.{name}Shop")
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"shop.{name}"))


@pytest.mark.parametrize("with_import", [False, True])
def test_protobuf_values(
    registry: SchemaRegistry, client: Any, kafka: Any, names: Any, with_import: bool
) -> None:
    topic = names.topic("messages")
    context = SerializationContext(topic, MessageField.VALUE)
    message = message_class("Imports" if with_import else "Alone", with_import=with_import)
    ours = Protobuf(message).bind(topic, False, {"url": registry.url})
    theirs = ProtobufSerializer(message, client)
    values = [message(customer="ann", cents=1990), message(), message(cents=-1)]

    both: list[Callable[[Any], bytes]] = [ours.encode, lambda value: theirs(value, context) or b""]
    written = through(kafka, topic, [write(value) for write in both for value in values])

    assert written[:3] == written[3:], "both sides write the same bytes, schema id included"
    assert written[0][5:7] == b"\x02\x02", "the path [1] of the file's second message"
    assert list(map(ours.decode, written)) == values * 2
    read = ProtobufDeserializer(message, {}, client)
    assert [read(value, context) for value in written] == values * 2


def test_protobuf_of_a_producer_that_registered_the_source(
    registry: SchemaRegistry, client: Any, names: Any
) -> None:
    topic = names.topic("messages")
    source = (
        'syntax = "proto3"; package shop; message First {} message Sourced {string customer=1;}'
    )
    identity = client.register_schema(f"{topic}-value", Schema(source, "PROTOBUF"))
    message = message_class("Sourced")
    payload = message(customer="ann").SerializeToString()
    serde = Protobuf(message).bind(topic, False, {"url": registry.url})
    head = b"\0" + identity.to_bytes(4, "big")
    assert serde.decode(head + b"\x02\x02" + payload) == message(customer="ann")
    with pytest.raises(SerdeError, match=f"schema id {identity} holds shop.First, not shop.Sourc"):
        serde.decode(head + b"\x00" + payload)


def test_another_message_is_refused_although_its_bytes_would_parse(
    registry: SchemaRegistry, names: Any
) -> None:
    topic = names.topic("messages")
    one, other = message_class("One"), message_class("Other")
    written = Protobuf(one).bind(topic, False, {"url": registry.url}).encode(one(customer="ann"))
    identity = int.from_bytes(written[1:5], "big")
    assert other.FromString(written[7:]).customer == "ann"
    with pytest.raises(SerdeError, match=f"schema id {identity} holds shop.One, not shop.Other"):
        Protobuf(other).bind(topic, False, {"url": registry.url}).decode(written)
