"""The record of a layout: a stored sample of the format, and what is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.control.layouts import LAYOUT_KEY, decode_layout, encode_layout, layout_record
from streamer.errors import InternalTopicError, TopologyError
from streamer.ids import Layout
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout

TOPIC = "shop.layout"
# As written by the first release that had this format: it must be readable for ever.
LAYOUT_1 = (
    b'{"format":1,"application":"shop","number":3,"subtopologies":[{"number":0,"tasks":3,"since":3,'
    b'"mode":"fold","keeps_state":true,"inputs":[{"topic":"in","partitions":12},{"topic":"old",'
    b'"partitions":6}]},{"number":1,"tasks":12,"since":1,"mode":"fold","keeps_state":false,'
    b'"inputs":[{"topic":"shop-again-repartition","partitions":12,"internal":true}]}],'
    b'"operation":"fold-1","at_ms":1700000000000}'
)
LAYOUT = ApplicationLayout(
    Layout(3),
    {
        0: SubtopologyLayout(3, Layout(3), {"in": InputLayout(12), "old": InputLayout(6)}),
        1: SubtopologyLayout(
            12,
            Layout(1),
            {"shop-again-repartition": InputLayout(12, is_internal=True)},
            keeps_state=False,
        ),
    },
)


def test_the_stored_layout_is_read_and_written_as_it_was() -> None:
    record = decode_layout(TOPIC, LAYOUT_KEY, LAYOUT_1)
    assert record.layout == LAYOUT
    assert (record.operation, record.at_ms) == ("fold-1", 1_700_000_000_000)
    again = layout_record("shop", LAYOUT, operation="fold-1", at_ms=1_700_000_000_000)
    assert encode_layout(again) == LAYOUT_1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"format":1', b'"format":2', "format version 2; this release reads 1"),
        (b'"application":"shop"', b'"application":"till"', "of application 'till'"),
        (b'"number":3', b'"number":0', "there is no layout 0"),
        (b'"number":3', b'"number":2', "its state is of layout 3"),
        (b'"tasks":3', b'"tasks":4', "4 does not divide the partitions of old"),
        (b'"since":3', b'"since":1', "layout 1 has a task for each"),
        (b'"mode":"fold","keeps_state":true', b'"mode":"shuffle","keeps_state":true', "shuffle"),
        (b'"topic":"old"', b'"topic":"in"', "lists no input, or one twice"),
        (b'{"number":1,', b'{"number":0,', "lists a subtopology twice"),
        (
            b'"mode":"fold","keeps_state":true',
            b'"mode":"fold","strays":true,"keeps_state":true',
            "strays",
        ),
        (b'"number":3', b'"number":"3"', "Expected `int`"),
        (b"}", b"", "is no layout of this application"),
    ],
)
def test_what_cannot_be_right_is_refused_as_a_whole(old: bytes, new: bytes, said: str) -> None:
    assert old in LAYOUT_1
    with pytest.raises(
        InternalTopicError, match=r"shop\.layout: the record of key 'current'"
    ) as told:
        decode_layout(TOPIC, LAYOUT_KEY, LAYOUT_1.replace(old, new, 1))
    assert said in str(told.value)


def test_a_record_under_another_key_is_refused() -> None:
    with pytest.raises(InternalTopicError, match="belongs under 'current'"):
        decode_layout(TOPIC, "other", LAYOUT_1)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused_and_nothing_else(value: bytes) -> None:
    with pytest.raises(InternalTopicError):
        decode_layout(TOPIC, LAYOUT_KEY, value)


def test_a_layout_that_cannot_be_right_is_not_written() -> None:
    wrong = SubtopologyLayout(5, Layout(2), {"in": InputLayout(12)})
    with pytest.raises(TopologyError, match="5 does not divide"):
        layout_record("shop", ApplicationLayout(Layout(2), {0: wrong}))
