"""A registry that stops and comes back: known schemas go on, unknown ones say what was tried."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue  # type: ignore[import-untyped]

from streamer.errors import KafkaUnavailableError, RegistryUnavailableError
from streamer.sandbox.registry import SchemaRegistry
from streamer.serdes import Avro, Protobuf
from tests.thorough import thorough

SCHEMA = '{"type": "record", "name": "Purchase", "fields": [{"name": "cents", "type": "long"}]}'


@thorough
def test_known_schemas_go_on_and_unknown_ones_wait(tmp_path: Path) -> None:
    registry = SchemaRegistry(tmp_path).start(timeout=900)
    try:
        # One that is away refuses at once; one that has just started may take its time.
        settings = {"url": registry.url, "max.retries": 0, "timeout": "60"}
        writer = Avro(SCHEMA).bind("purchases", False, settings)
        written = writer.encode({"cents": 5})
        assert writer.decode(written) == {"cents": 5}
        messages = Protobuf(StringValue).bind("messages", False, settings)
        message = messages.encode(StringValue(value="x"))
        assert messages.decode(message) == StringValue(value="x")
        registry.stop()

        assert writer.encode({"cents": 5}) == written
        assert writer.decode(written) == {"cents": 5}
        assert messages.decode(message) == messages.decode(messages.encode(StringValue(value="x")))
        # Settings of its own, so that it shares no answers with the writer.
        reader = Avro(SCHEMA).bind("purchases", False, settings | {"timeout": "61"})
        with pytest.raises(RegistryUnavailableError) as away:
            reader.decode(written)
        assert isinstance(away.value, KafkaUnavailableError)
        assert f"the schema registry {registry.url} was asked for schema id 1" in str(away.value)
        with pytest.raises(RegistryUnavailableError, match="subject 'purchases-value'"):
            reader.encode({"cents": 5})

        registry.start(timeout=900)
        assert reader.decode(written) == {"cents": 5}
        assert reader.encode({"cents": 5}) == written, "a registry with a directory keeps its ids"
    finally:
        registry.stop()
