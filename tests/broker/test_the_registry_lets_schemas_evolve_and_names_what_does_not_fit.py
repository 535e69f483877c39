"""Schema evolution against a real registry: what works, and what errors say when it does not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from streamer.errors import ConfigError, SerdeError
from streamer.sandbox.registry import SchemaRegistry
from streamer.serdes import Avro


def schema(*fields: dict[str, Any]) -> str:
    return json.dumps({"type": "record", "name": "Purchase", "fields": list(fields)})


CUSTOMER = {"name": "customer", "type": "string"}
CENTS = {"name": "cents", "type": "long"}
NOTE = {"name": "note", "type": ["null", "string"], "default": None}
SHOP = {"name": "shop", "type": "string"}
FIRST = schema(CUSTOMER, CENTS)
SECOND = schema(CUSTOMER, CENTS, NOTE)


@dataclass
class Purchase:
    customer: str
    cents: int
    note: str | None = None


@pytest.fixture
def settings(registry: SchemaRegistry) -> dict[str, Any]:
    return {"url": registry.url}


@pytest.fixture
def client(registry: SchemaRegistry) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": registry.url})


def identity(written: bytes) -> int:
    return int.from_bytes(written[1:5], "big")


def test_an_added_optional_field_works_both_ways(settings: dict[str, Any], names: Any) -> None:
    topic = names.topic("purchases")
    old = Avro(FIRST).bind(topic, False, settings)
    new = Avro(SECOND).bind(topic, False, settings)
    typed = Avro(SECOND, type=Purchase).bind(topic, False, settings)
    from_old = old.encode({"customer": "ann", "cents": 5})
    from_new = new.encode({"customer": "bob", "cents": 7, "note": "hi"})
    assert identity(from_old) != identity(from_new)

    assert old.decode(from_new) == {"customer": "bob", "cents": 7}
    assert new.decode(from_old) == {"customer": "ann", "cents": 5, "note": None}
    assert typed.decode(from_old) == Purchase("ann", 5)
    assert typed.decode(from_new) == Purchase("bob", 7, "hi")


def test_without_a_schema_the_types_defaults_fill_what_was_not_written(
    settings: dict[str, Any], names: Any
) -> None:
    topic = names.topic("purchases")
    written = Avro(FIRST).bind(topic, False, settings).encode({"customer": "ann", "cents": 5})
    assert Avro(type=Purchase).bind(topic, False, settings).decode(written) == Purchase("ann", 5)


def test_a_field_without_a_default_names_both_schemas(
    settings: dict[str, Any], client: SchemaRegistryClient, names: Any
) -> None:
    topic = names.topic("purchases")
    written = Avro(FIRST).bind(topic, False, settings).encode({"customer": "ann", "cents": 5})
    client.set_compatibility(f"{topic}-value", "NONE")
    reader = Avro(schema(CUSTOMER, CENTS, SHOP)).bind(topic, False, settings)

    with pytest.raises(SerdeError) as unknown:
        reader.decode(written)
    assert (
        f"{topic}-value: written with schema id {identity(written)}, cannot be read with"
        " the application's schema: SchemaResolutionError: No default value for field shop"
    ) in str(unknown.value)

    other = Avro(schema(CUSTOMER, CENTS, SHOP)).bind(topic, False, settings)
    own = identity(other.encode({"customer": "a", "cents": 1, "shop": "x"}))
    with pytest.raises(SerdeError) as known:
        other.decode(written)
    assert f"schema id {identity(written)}, cannot be read with schema id {own}:" in str(
        known.value
    )
    assert "default for each new field" in known.value.hint


def test_a_value_that_does_not_fit_the_type_names_the_schema(
    settings: dict[str, Any], names: Any
) -> None:
    @dataclass
    class Strict:
        customer: int

    topic = names.topic("purchases")
    written = Avro(FIRST).bind(topic, False, settings).encode({"customer": "ann", "cents": 5})
    serde = Avro(type=Strict).bind(topic, False, settings)
    expected = (
        f"schema id {identity(written)}, cannot be read as Strict: .*`int`, got `str`.*customer"
    )
    with pytest.raises(SerdeError, match=expected):
        serde.decode(written)


def test_an_incompatible_schema_is_the_applications_fault(
    settings: dict[str, Any], client: SchemaRegistryClient, names: Any
) -> None:
    topic = names.topic("purchases")
    written = Avro(FIRST).bind(topic, False, settings).encode({"customer": "ann", "cents": 5})
    client.set_compatibility(f"{topic}-value", "BACKWARD")
    breaking = Avro(schema(CUSTOMER, CENTS, SHOP)).bind(topic, False, settings)
    with pytest.raises(ConfigError) as refused:
        breaking.encode({"customer": "a", "cents": 1, "shop": "x"})
    text = str(refused.value)
    assert "refused the application's schema in subject" in text
    assert "409" in text
    assert f"its newest schema has id {identity(written)}" in text


def test_a_schema_may_be_required_to_be_there(settings: dict[str, Any], names: Any) -> None:
    topic = names.topic("purchases")
    value = {"customer": "ann", "cents": 5}
    with pytest.raises(ConfigError, match="does not know the application's schema"):
        Avro(FIRST, register=False).bind(topic, False, settings).encode(value)
    with pytest.raises(ConfigError, match="does not know the newest schema"):
        Avro().bind(topic, False, settings).encode(value)
    registered = Avro(FIRST).bind(topic, False, settings).encode(value)
    again = Avro(FIRST, register=False).bind(topic, False, settings)
    assert again.encode(value) == registered


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"customer": "ann"}, "Field cents is specified in the schema but missing"),
        ({"customer": "ann", "cents": 1, "extra": 2}, "more fields than the schema"),
        ({"customer": "ann", "cents": "x"}, "TypeError"),
    ],
)
def test_a_value_that_does_not_fit_the_schema_is_refused(
    settings: dict[str, Any], names: Any, value: dict[str, Any], complaint: str
) -> None:
    serde = Avro(FIRST).bind(names.topic("purchases"), False, settings)
    good = serde.encode({"customer": "ann", "cents": 5})
    expected = f"the value does not fit schema id {identity(good)}: .*{complaint}"
    with pytest.raises(SerdeError, match=expected):
        serde.encode(value)


def test_foreign_records_are_refused_by_name(
    settings: dict[str, Any], registry: SchemaRegistry, names: Any
) -> None:
    topic = names.topic("purchases")
    serde = Avro(FIRST).bind(topic, False, settings)
    good = serde.encode({"customer": "ann", "cents": 5})

    with pytest.raises(SerdeError, match=f"{topic}-value: unknown magic byte 0x7b"):
        serde.decode(b'{"customer":"ann"}')
    with pytest.raises(SerdeError, match=f"{topic}-value: 3 bytes are too few"):
        serde.decode(b"ann")
    with pytest.raises(SerdeError) as unknown:
        serde.decode(b"\x00\x7f\xff\xff\xff" + good[5:])
    assert f"{registry.url} does not know schema id 2147483647" in str(unknown.value)
    assert f"{topic}-value" in str(unknown.value)
    for broken in (good[:7], good[:5], good + b"\x00"):
        with pytest.raises(SerdeError, match=f"written with schema id {identity(good)}, cannot be"):
            serde.decode(broken)
    assert serde.decode(good) == {"customer": "ann", "cents": 5}
