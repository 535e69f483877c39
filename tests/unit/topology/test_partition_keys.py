"""Stores of `process` say whose their rows are; those of tables and aggregations cannot."""

from __future__ import annotations

from datetime import timedelta

import pytest

from streamer import App, Store, WindowStore
from streamer.errors import TopologyError
from streamer.topology.serde import serde_of


def customer(key: str) -> str:
    return key.partition("|")[0]


def test_a_partition_key_becomes_the_bytes_of_the_records_key() -> None:
    store = Store("visits", str, int, partition_key=customer)
    spec = store.spec(key=serde_of(str))
    assert spec.partition_key is customer
    assert spec.encode_partition_key(customer("ann|front page")) == b"ann"
    # A stream whose keys have no type has bytes.
    untyped = store.spec()
    assert untyped.encode_partition_key(b"ann") == b"ann"
    with pytest.raises(TypeError, match="'ann' must be bytes"):
        untyped.encode_partition_key("ann")


def test_a_window_store_has_one_for_the_keys_of_its_windows() -> None:
    store = WindowStore("w", str, int, size=timedelta(minutes=1), partition_key=customer)
    spec = store.spec(key=serde_of(str))
    assert (spec.partition_key, spec.record_key) == (customer, serde_of(str))


def test_it_is_refused_where_keys_are_those_of_the_records() -> None:
    store = Store("totals", partition_key=customer)
    stream = App("a").stream("in", key=str, value=int)
    with pytest.raises(TopologyError, match="'totals' of a table or an aggregation cannot have"):
        stream.group_by_key().count(store=store)
    with pytest.raises(TopologyError, match="'totals' of a table or an aggregation cannot have"):
        App("a").table("in", key=str, value=int, store=store)


def test_steps_that_share_a_store_agree_about_it() -> None:
    stream = App("a").stream("in", key=str, value=int)
    named = Store("visits", str, int, partition_key=customer)
    stream.process(lambda _record, _context: None, stores=[named])
    with pytest.raises(TopologyError, match="declared twice, and not alike: partition_key"):
        stream.process(lambda _record, _context: None, stores=[Store("visits", str, int)])
