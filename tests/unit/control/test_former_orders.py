"""The order that says which layouts were left for good: a stored sample, and what is refused."""

from __future__ import annotations

import pytest

from streamer.control.messages import decode_status, encode
from streamer.control.orders import FORMAT, FORMER_KEY, FormerOrder, decode_order, encode_order
from streamer.errors import ConfigError, InternalTopicError
from streamer.ids import Layout, TaskId, parse_state_name, state_name
from tests.unit.control.test_messages import STATUS_1

TOPIC = "shop.orders"
ORDER = FormerOrder(
    format=FORMAT,
    operation="completion-1",
    left={"0": (1, 3), "2": (1,)},
    at_ms=7,
    application="shop",
)
# As written by the first release that had such orders: it must be readable for ever.
ORDER_1 = (
    b'{"format":1,"operation":"completion-1","left":{"0":[1,3],"2":[1]},"at_ms":7,'
    b'"application":"shop"}'
)


def test_the_stored_order_is_read_and_written_as_it_was() -> None:
    assert decode_order(TOPIC, FORMER_KEY, ORDER_1) == ORDER
    assert encode_order(ORDER, TOPIC) == ORDER_1


def test_it_names_states_by_part_and_layout() -> None:
    named = ("0_0", "0_7.layout-3", "2_1")
    assert all(ORDER.names(each) for each in named)
    assert not any(ORDER.names(each) for each in ("0_0.layout-2", "1_0", "2_1.layout-3"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"0":[1,3]', b'"00":[1,3]', "is not the number of a subtopology"),
        (b'"0":[1,3]', b'"x":[1,3]', "is not a task id"),
        (b"[1,3]", b"[0]", "is not the name of a state"),
        (b"[1,3]", b"[-1]", "is no order"),
        (b'"left"', b'"gone"', "is no order"),
        (b'"format":1', b'"format":2', "format version 2"),
        (b'"application":"shop"', b'"application":"till"', "till"),
    ],
)
def test_what_is_no_such_order_is_refused_as_a_whole(old: bytes, new: bytes, said: str) -> None:
    assert old in ORDER_1
    with pytest.raises(InternalTopicError) as refused:
        decode_order(TOPIC, FORMER_KEY, ORDER_1.replace(old, new, 1))
    assert said in str(refused.value)


def test_an_order_under_another_key_is_none() -> None:
    with pytest.raises(InternalTopicError):
        decode_order(TOPIC, "former/1", ORDER_1)


@pytest.mark.parametrize("name", ["0_3", "0_3.layout-2", "12_0.layout-10"])
def test_the_name_of_a_state_is_read_as_it_was_written(name: str) -> None:
    assert state_name(*parse_state_name(name)) == name
    assert parse_state_name("0_3.layout-2") == (TaskId(0, 3), Layout(2))


@pytest.mark.parametrize("name", ["0_3.layout-1", "0_3.layout-02", "0_03", "0_3.old-2", "x", ""])
def test_another_name_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of a state"):
        parse_state_name(name)


def test_a_status_tells_what_is_left_of_former_layouts() -> None:
    value = STATUS_1[:-1] + b',"former":{"0_1.layout-2":9}}'
    record = decode_status("a.status", "w1", value)
    assert record.former == {"0_1.layout-2": 9}
    assert b'"former":{"0_1.layout-2":9}' in encode(record)
    with pytest.raises(InternalTopicError, match="is not a control record"):
        decode_status("a.status", "w1", value.replace(b"0_1.layout-2", b"0_1.old"))
