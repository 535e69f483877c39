"""Orders to keep copies of tasks of the next layout: a stored sample, and what is refused."""

from __future__ import annotations

import pytest

from streamer.control.layouts import layout_record
from streamer.control.orders import (
    FORMAT,
    ShadowOrder,
    decode_order,
    encode_order,
    shadow_key,
)
from streamer.errors import InternalTopicError
from streamer.ids import Layout
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout

TOPIC = "shop.orders"
NEXT = ApplicationLayout(
    Layout(2),
    {
        0: SubtopologyLayout(2, Layout(2), {"in": InputLayout(4)}),
        1: SubtopologyLayout(4, Layout(1), {"others": InputLayout(4)}),
    },
)
ORDER = ShadowOrder(
    format=FORMAT,
    operation="fold-1",
    worker="w-1",
    layout=layout_record("shop", NEXT),
    tasks=("0_0", "0_1"),
    at_ms=7,
    application="shop",
)
# As written by the first release that had such orders: it must be readable for ever.
ORDER_1 = (
    b'{"format":1,"operation":"fold-1","worker":"w-1","layout":{"format":1,"application":"shop",'
    b'"number":2,"subtopologies":[{"number":0,"tasks":2,"since":2,"mode":"fold","keeps_state":true,'
    b'"inputs":[{"topic":"in","partitions":4}]},{"number":1,"tasks":4,"since":1,"mode":"fold",'
    b'"keeps_state":true,"inputs":[{"topic":"others","partitions":4}]}]},"tasks":["0_0","0_1"],'
    b'"at_ms":7,"application":"shop"}'
)


def test_the_stored_order_is_read_and_written_as_it_was() -> None:
    assert decode_order(TOPIC, shadow_key("w-1"), ORDER_1) == ORDER
    assert encode_order(ORDER, TOPIC) == ORDER_1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"w-1"', b'"w-2"', "belongs under 'shadow/w-2'"),
        (b'"0_1"]', b'"0_2"]', "task 0_2 is not one that layout 2 brings with a state"),
        # Its state is where the one of the layout that holds is.
        (b'"0_1"]', b'"1_0"]', "task 1_0 is not one that layout 2 brings"),
        (b'"keeps_state":true', b'"keeps_state":false', "0_0 is not one that layout 2 brings"),
        (b'"tasks":2', b'"tasks":3', "3 does not divide the partitions of in"),
        (b'"layout":{"format":1', b'"layout":{"format":2', "format version 2; this release reads"),
        (b'"application":"shop","number"', b'"application":"till","number"', "application 'till'"),
        (b'"format":1,"operation"', b'"format":2,"operation"', "format version 2"),
        (b"}", b"", "is no order"),
    ],
)
def test_what_cannot_be_kept_is_refused_as_a_whole(old: bytes, new: bytes, said: str) -> None:
    assert old in ORDER_1
    with pytest.raises(InternalTopicError) as refused:
        decode_order(TOPIC, shadow_key("w-1"), ORDER_1.replace(old, new, 1))
    assert said in str(refused.value)
