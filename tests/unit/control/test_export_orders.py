"""Orders for a snapshot of its own stand beside the scheduled ones, each under its number."""

from __future__ import annotations

import pytest

from streamer.control.orders import (
    FORMAT,
    SNAPSHOT_KEY,
    SnapshotOrder,
    decode_order,
    encode_order,
    export_key,
)
from streamer.errors import InternalTopicError

ORDER = SnapshotOrder(
    format=FORMAT, operation="rebuild-1", tasks=("0_3",), repository="file:///srv/export", at_ms=7
)


@pytest.mark.parametrize("key", [SNAPSHOT_KEY, export_key("rebuild-1")])
def test_it_is_read_as_it_was_given(key: str) -> None:
    assert decode_order("app.orders", key, encode_order(ORDER)) == ORDER


@pytest.mark.parametrize("key", [export_key("rebuild-2"), "snapshots", "snapshot/"])
def test_one_under_another_key_is_refused(key: str) -> None:
    with pytest.raises(InternalTopicError, match="belongs under 'snapshot/rebuild-1'"):
        decode_order("app.orders", key, encode_order(ORDER))


def test_one_of_another_application_is_refused_and_one_that_names_none_is_read() -> None:
    value = encode_order(ORDER, "shop.orders")
    key = export_key("rebuild-1")
    assert decode_order("shop.orders", key, value).application == "shop"
    with pytest.raises(InternalTopicError, match="is of application 'shop'"):
        decode_order("app.orders", key, value)
    assert decode_order("app.orders", key, encode_order(ORDER)).application == ""
