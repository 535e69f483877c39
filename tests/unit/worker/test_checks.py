"""What a start refuses before it asks Kafka, by the place that the user wrote."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, Store, TumblingWindows
from streamer.config import load
from streamer.errors import ConfigError, TopologyError
from streamer.serdes import Avro, Protobuf
from streamer.testing import TopologyTestDriver
from streamer.worker.checks import check

SCHEMA = {"type": "record", "name": "P", "fields": [{"name": "n", "type": "long"}]}


def _check(app: App) -> None:
    check(app.topology(), load(app.application_id, keywords=app.settings, environment={}))


def _read(app: App) -> None:
    app.stream("purchases", key=str, value=Avro(SCHEMA)).to("copies", value=str)


def _keys(app: App) -> None:
    app.stream("purchases", key=Avro('"string"')).to("copies", key=str)


def _written(app: App) -> None:
    app.stream("purchases", key=str, value=str).to("copies", value=Avro(SCHEMA))


def _kept(app: App) -> None:
    store = Store("seen", key=str, value=Avro(SCHEMA))
    app.stream("purchases", key=str, value=str).process(
        lambda record, context: None, stores=[store]
    )


def _windows(app: App) -> None:
    windows = TumblingWindows(timedelta(minutes=1))
    counts = app.stream("purchases", key=str, value=str).group_by_key().windowed_by(windows)
    counts.count(store="counts").to("counts", key=Avro('"string"'))


def _again(app: App) -> None:
    stream = app.stream("purchases", key=str, value=str)
    stream.repartition("again", value=Avro(SCHEMA)).to("copies", value=str)


@pytest.mark.parametrize(
    ("build", "place"),
    [
        (_read, "values of topic purchases (avro:P): "),
        (_keys, "keys of topic purchases (avro:string): "),
        (_written, "values of topic copies (avro:P): "),
        (_kept, "values of store seen (avro:P): "),
        (_windows, "keys of topic counts (avro:string): "),
        (_again, "values of topic again (avro:P): "),
    ],
)
def test_a_serde_that_needs_a_registry_is_refused_by_its_place_where_there_is_none(
    build: Any, place: str
) -> None:
    app = App("shop")
    build(app)
    with pytest.raises(ConfigError) as caught:
        _check(app)
    assert caught.value.message == (
        f"{place}no schema registry is configured, but a serde needs one"
    )
    assert "schema_registry={'url':" in caught.value.hint
    app = App("shop", schema_registry={"url": "http://127.0.0.1:9"})
    build(app)
    _check(app)


def test_a_registry_that_no_client_can_be_made_for_is_refused_where_a_serde_needs_it() -> None:
    app = App("shop", schema_registry={"url": "http://127.0.0.1:9", "ssl.ca.location": "/no.pem"})
    _read(app)
    with pytest.raises(ConfigError, match=r"topic purchases .*: schema_registry is not usable: "):
        _check(app)


def test_a_serde_that_cannot_stand_where_it_is_is_refused_too() -> None:
    app = App("shop", schema_registry={"url": "http://127.0.0.1:9"})
    app.stream("purchases", key=Avro({"type": "map", "values": "int"})).to("copies")
    with pytest.raises(TopologyError, match="cannot be the key of 'purchases'"):
        _check(app)


def test_a_registry_inside_the_process_serves_the_check_and_the_driver() -> None:
    from google.protobuf.wrappers_pb2 import Int64Value  # type: ignore[import-untyped]

    app = App("shop", schema_registry={"url": f"mock://{uuid.uuid4()}"})
    app.stream("purchases", key=str, value=Protobuf(Int64Value)).to("copies")
    _check(app)
    with TopologyTestDriver(app) as driver:
        driver.send("purchases", "ann", Int64Value(value=3))
        assert driver.read("copies") == [("ann", Int64Value(value=3))]
