"""Serdes of the schema registry without one: what is known before the first record, and framing."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import make_dataclass
from typing import Any

import pytest
from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from google.protobuf.struct_pb2 import Struct  # type: ignore[import-untyped]
from google.protobuf.wrappers_pb2 import Int64Value, StringValue  # type: ignore[import-untyped]

from streamer.config import load
from streamer.errors import ConfigError, RegistryUnavailableError, SerdeError, TopologyError
from streamer.kafka.registry.client import NAMES, check, registry_of
from streamer.serdes import Avro, Protobuf, serde_of

SCHEMA = {"type": "record", "name": "shop.P", "fields": [{"name": "n", "type": "long"}]}
NOBODY = {"url": "http://127.0.0.1:9", "max.retries": 0, "timeout": 1}


_SAMPLES: dict[str, Any] = {
    "bearer.auth.custom.provider.config": {},
    "bearer.auth.custom.provider.function": dict,
    "url": "http://127.0.0.1:9",
}
# What the client asks for where another setting says so.
_SOURCES = {
    "bearer.auth.client.": "OAUTHBEARER",
    "bearer.auth.custom.": "CUSTOM",
    "bearer.auth.identity.": "STATIC_TOKEN",
    "bearer.auth.issuer.endpoint.query": "OAUTHBEARER_AZURE_IMDS",
    "bearer.auth.issuer.endpoint.url": "OAUTHBEARER",
    "bearer.auth.logical.": "STATIC_TOKEN",
    "bearer.auth.scope": "OAUTHBEARER",
    "bearer.auth.token": "STATIC_TOKEN",
}


@pytest.fixture
def settings() -> dict[str, Any]:
    """A registry inside this process, of its own for each test."""
    return {"url": f"mock://{uuid.uuid4()}"}


@pytest.mark.slow
def test_naming_a_serde_loads_no_client_library() -> None:
    code = (
        "import sys, streamer.serdes as s\n"
        "assert 'streamer.kafka.registry' not in sys.modules\n"
        "s.Avro('\"string\"')\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('confluent_kafka', 'httpx')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


@pytest.mark.slow
def test_names_tell_the_format_and_the_place() -> None:
    assert Avro(SCHEMA).name == "avro:shop.P"
    assert Avro().name == "avro"
    assert Protobuf(StringValue).name == "protobuf:google.protobuf.StringValue"
    assert serde_of(Avro(SCHEMA)).bind("t", True, NOBODY).name == "avro:shop.P@t-key"


def test_binding_does_not_connect_and_the_first_record_does() -> None:
    for serde, value in ((Avro(SCHEMA), {"n": 1}), (Protobuf(StringValue), StringValue())):
        bound: Any = serde.bind("t", False, NOBODY)
        with pytest.raises(
            RegistryUnavailableError, match=r"http://127.0.0.1:9 was asked for"
        ) as e:
            bound.encode(value)
        assert "ConnectError" in str(e.value)
        with pytest.raises(RegistryUnavailableError, match="schema id 3"):
            bound.decode(b"\x00\x00\x00\x00\x03\x00\x00")


def test_an_unbound_serde_says_so() -> None:
    with pytest.raises(SerdeError, match=r"avro:shop.P has no topic yet"):
        Avro(SCHEMA).encode({"n": 1})
    with pytest.raises(SerdeError, match="has no topic yet"):
        Protobuf(StringValue).decode(b"")


def test_missing_and_wrong_settings_are_refused_before_any_record() -> None:
    with pytest.raises(ConfigError, match="no schema registry is configured") as missing:
        Avro(SCHEMA).bind("t", False, {})
    assert "schema_registry=" in missing.value.hint
    with pytest.raises(ConfigError, match=r"Unrecognized properties: basic\.auth\.user"):
        Avro(SCHEMA).bind("t", False, {"url": "http://127.0.0.1:9", "basic.auth.user": "x"})
    with pytest.raises(ConfigError, match="Invalid url"):
        Avro(SCHEMA).bind("t", False, {"url": "127.0.0.1:9"})


@pytest.mark.parametrize("schema", ['{"type": "recrod"}', "{", '"nosuch"'])
def test_a_wrong_schema_is_refused_at_once(schema: str) -> None:
    with pytest.raises(TopologyError, match="not an Avro schema"):
        Avro(schema)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_that_may_be_set_is_one_that_the_client_asks_for(name: str) -> None:
    from confluent_kafka.schema_registry._sync import schema_registry_client as client

    given = {"url": "http://127.0.0.1:9", name: _SAMPLES.get(name, "1")}
    for start, source in _SOURCES.items():
        if name.startswith(start):
            given["bearer.auth.credentials.source"] = source
    said = ""
    try:
        client._BaseRestClient(given)
    except Exception as error:  # a file that is not there, a number that is text
        said = str(error)
    assert "Unrecognized properties" not in said


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("urll", "did you mean url?"),
        ("URL", "did you mean url?"),
        ("schema.registry.url", "did you mean url?"),
        ("ssl.ca.file", "did you mean ssl.ca.location?"),
        ("basic.auth.user", "did you mean basic.auth.user.info?"),
        ("frobnicate", "it takes basic.auth.user.info, bearer.auth.client.id"),
    ],
)
def test_an_unknown_setting_is_refused_with_its_source_and_the_nearest_right_name(
    name: str, hint: str
) -> None:
    config = load("shop", keywords={"schema_registry": {name: "hunter2"}}, environment={})
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert caught.value.message == f"App(...): schema_registry has no setting {name!r}"
    assert caught.value.hint.startswith(hint)


def test_no_client_is_made_to_check_names() -> None:
    check(load("shop", environment={}))
    wrong = {**NOBODY, "ssl.ca.location": "/nowhere.pem"}
    check(load("shop", keywords={"schema_registry": wrong}, environment={}))


def test_protobuf_takes_message_classes_only() -> None:
    with pytest.raises(TopologyError, match="needs a message class"):
        Protobuf(dict)
    serde = Protobuf(StringValue).bind("t", False, NOBODY)
    with pytest.raises(SerdeError, match=r"Int64Value is not a google\.protobuf\.StringValue"):
        serde.encode(Int64Value())


def test_an_avro_map_cannot_be_a_key(settings: dict[str, Any]) -> None:
    inner = {"type": "array", "items": {"type": "map", "values": "long"}}
    fields = [{"name": "m", "type": ["null", inner]}]
    schema = {"type": "record", "name": "WithMap", "fields": fields}
    Avro(schema).bind("t", False, settings)
    with pytest.raises(TopologyError, match="WithMap cannot be the key of 't'"):
        Avro(schema).bind("t", True, settings)


def test_a_protobuf_key_has_one_form(settings: dict[str, Any]) -> None:
    one, other = Struct(), Struct()
    names = [f"k{n}" for n in range(30)]
    one.update(dict.fromkeys(names, 1))
    other.update(dict.fromkeys(reversed(names), 1))
    key = Protobuf(Struct).bind("t", True, settings)
    assert key.encode(one) == key.encode(other)


def test_a_schema_with_rules_is_refused(settings: dict[str, Any]) -> None:
    from confluent_kafka.schema_registry import Rule, RuleKind, RuleMode, RuleSet, Schema

    rule = Rule(
        "r",
        None,
        RuleKind.TRANSFORM,
        RuleMode.WRITEREAD,
        "ENCRYPT",
        None,
        None,
        "x",
        None,
        None,
        False,
    )
    client = registry_of(settings).client
    schema = Schema(json.dumps(SCHEMA), "AVRO", rule_set=RuleSet(None, [rule]))
    identity = client.register_schema("t-value", schema)
    with pytest.raises(SerdeError, match=f"schema id {identity} carries rules"):
        Avro().bind("t", False, settings).decode(b"\0" + identity.to_bytes(4, "big") + b"\x02")


SOURCE = """
syntax = "proto3";  // message Not { }
/* message Neither { } */
package shop;
option (x) = { text: "message Nor {" };
enum Kind { A = 0; }
message First { string message = 1; oneof one { int32 k = 2; } message In { message Deep {} } }
service Calls { rpc Call (First) returns (Second) { option q = '}'; } }
message Second { repeated group Piece = 1 { int32 x = 1; } message In {} }
"""


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"\x00", "shop.First"),
        (b"\x02\x02", "shop.Second"),
        (b"\x04\x00\x00", "shop.First.In"),
        (b"\x06\x00\x00\x00", "shop.First.In.Deep"),
        (b"\x04\x02\x00", "shop.Second.Piece"),
        (b"\x04\x02\x02", "shop.Second.In"),
        (b"\x02\x04", "no message at [2]"),
        (b"\x04\x02\x08", "no message at [1, 4]"),
    ],
)
def test_messages_are_found_in_a_schemas_source(
    settings: dict[str, Any], path: bytes, name: str
) -> None:
    from confluent_kafka.schema_registry import Schema

    identity = registry_of(settings).client.register_schema("t-value", Schema(SOURCE, "PROTOBUF"))
    with pytest.raises(SerdeError) as refused:
        Protobuf(StringValue).bind("t", False, settings).decode(
            b"\0" + identity.to_bytes(4, "big") + path
        )
    assert f"schema id {identity} holds {name}, not google." in str(refused.value)


def test_nested_messages_have_a_path_in_the_frame(settings: dict[str, Any]) -> None:
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="n.proto", package="shop", syntax="proto3")
    for name in ("A", "B"):
        outer = file.message_type.add(name=name)
        outer.nested_type.add(name="In")
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.B.In"))
    serde = Protobuf(kind).bind("t", False, settings)
    written = serde.encode(kind())
    assert written[5:] == b"\x04\x02\x00"
    assert serde.decode(written) == kind()
    for cut in (5, 6, 7):
        with pytest.raises(SerdeError, match="path after the schema id is cut short"):
            serde.decode(written[:cut])


def test_a_type_is_looked_at_before_any_thread_meets_it(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its annotations name is found when the serde is bound, and never looked for again."""
    monkeypatch.setitem(globals(), "Pieces", int)
    kind = make_dataclass("P", [("n", "Pieces")])
    kind.__module__ = __name__
    serde = Avro(SCHEMA, type=kind).bind("t", False, settings)
    monkeypatch.delitem(globals(), "Pieces")
    assert serde.decode(serde.encode(kind(7))) == kind(7)


def test_a_type_that_no_record_can_be_read_as_is_refused_when_it_is_bound(
    settings: dict[str, Any],
) -> None:
    kind = make_dataclass("P", [("n", "Nowhere")])
    with pytest.raises(TopologyError, match=r"t-value: no record can be read as P: .*Nowhere"):
        Avro(SCHEMA, type=kind).bind("t", False, settings)
