from __future__ import annotations

import pytest

from streamer.changelog.format import Positions, check_rows
from streamer.errors import InternalTopicError, StateDirectoryError, TaskCorruptedError
from streamer.ids import TopicPartition
from streamer.store.closing import Closing
from streamer.store.keys import row
from streamer.topology.stores import StoreKind

# Written by version 1; a later version must still read it.
VERSION_1 = {
    "changelog/totals": bytes.fromhex("010000000000000000"),
    "changelog/a.b/c": bytes.fromhex("01000000000000002a"),
    "input/orders/in/3": bytes.fromhex("0100000000000003e8"),
    "stream_time": bytes.fromhex("010000018bcfe56800"),
    "as_of": bytes.fromhex("010000018bcfe56801"),
    "topic/totals": b"\x01DyP19fjBQomVrd5eUGZ6LA",
    "time/hourly": bytes.fromhex("010000018bcfe567ff"),
    "time/a/b": bytes.fromhex("01ffffffffffffffff"),
    "closing/hourly": bytes.fromhex("010000018bcfe56000"),
    "closing_rows/hourly": bytes.fromhex("01000000000000012c"),
    "closing/a/b": bytes.fromhex("01ffffffffffffffff"),
    "closing_rows/a/b": bytes.fromhex("010000000000000000"),
}
POSITIONS = Positions(
    changelogs={"totals": 0, "a.b/c": 42},
    inputs={TopicPartition("orders/in", 3): 1000},
    stream_time_ms=1_700_000_000_000,
    as_of_ms=1_700_000_000_001,
    topic_ids={"totals": "DyP19fjBQomVrd5eUGZ6LA"},
    times={"hourly": 1_699_999_999_999, "a/b": -1},
    closings={"hourly": Closing(0x18BCFE56000, 300), "a/b": None},
)


def test_a_stored_sample_of_version_1_is_read() -> None:
    assert Positions.decode(VERSION_1) == POSITIONS


def test_positions_are_written_as_version_1() -> None:
    assert POSITIONS.encode() == VERSION_1


def test_what_is_not_known_is_neither_written_nor_made_up() -> None:
    assert Positions().encode() == {}
    assert Positions.decode({"something/else": b"x"}) == Positions()


@pytest.mark.parametrize("value", [b"", b"\x02" + bytes(8), b"\x01" + bytes(7), bytes(9)])
def test_an_unknown_version_is_refused(value: bytes) -> None:
    with pytest.raises(StateDirectoryError, match="changelog/totals has an unknown format"):
        Positions.decode({"changelog/totals": value})
    if value != b"\x01" + bytes(7):
        with pytest.raises(StateDirectoryError, match="topic/totals has an unknown format"):
            Positions.decode({"topic/totals": value})


def test_rows_of_another_version_are_refused_with_the_partition() -> None:
    place, kind = TopicPartition("app-totals-changelog", 3), StoreKind.KEY_VALUE
    check_rows(place, kind, [row(1, b"x"), None, row(2, b"")])
    with pytest.raises(TaskCorruptedError, match=r"app-totals-changelog/3 has rows of form 02"):
        check_rows(place, kind, [row(1, b"x"), b"\x02rest"])
    with pytest.raises(TaskCorruptedError, match="form none"):
        check_rows(place, kind, [b""])


def test_rows_of_another_kind_are_refused_with_both_kinds() -> None:
    place = TopicPartition("app-totals-changelog", 3)
    for kind in StoreKind:
        check_rows(place, kind, [None, row(1, b"x", kind)])
        for other in set(StoreKind) - {kind}:
            wanted = f"changelog/3 holds rows of a {other.value} store, .* a {kind.value} store"
            with pytest.raises(InternalTopicError, match=wanted):
                check_rows(place, kind, [row(1, b"x", kind), None, row(1, b"x", other)])
