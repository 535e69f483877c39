"""What serdes promise: exact round trips, equal bytes for equal keys, and clear refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import SerdeError, TopologyError
from streamer.topology.serde import (
    Bytes,
    Float64,
    Int32,
    Int64,
    Json,
    MessagePack,
    Serde,
    Utf8,
    serde_of,
)


@dataclass
class Line:
    sku: str
    count: int = 1


@dataclass
class Purchase:
    customer: str
    cents: int
    lines: list[Line] = field(default_factory=list)
    by_sku: dict[str, int] = field(default_factory=dict)
    note: str | None = None


class Spend(msgspec.Struct):
    orders: int = 0
    cents: int = 0


class Click(TypedDict):
    url: str
    at_ms: int


class Point(NamedTuple):
    x: int
    y: int


class Opaque:
    """Nothing that a format knows."""


@dataclass
class Holder:
    name: str
    inside: list[Opaque]


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INT64 = st.integers(-(2**63), 2**63 - 1)
UNTYPED = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
PURCHASES = st.builds(
    Purchase,
    customer=TEXT,
    cents=INT64,
    lines=st.lists(st.builds(Line, sku=TEXT, count=INT64), max_size=3),
    by_sku=st.dictionaries(TEXT, INT64, max_size=4),
    note=st.none() | TEXT,
)


def same(serde: Serde[Any], value: object) -> None:
    encoded = serde.encode(value)
    assert type(encoded) is bytes
    assert serde.decode(encoded) == value


@given(TEXT)
def test_text_comes_back(value: str) -> None:
    same(Utf8, value)


@given(st.binary())
def test_bytes_come_back(value: bytes) -> None:
    same(Bytes, value)


@given(st.integers(-(2**31), 2**31 - 1))
def test_int32_comes_back(value: int) -> None:
    same(Int32, value)


@given(INT64)
def test_int64_comes_back(value: int) -> None:
    same(Int64, value)


@given(st.floats(allow_nan=False))
def test_float64_comes_back(value: float) -> None:
    same(Float64, value)


@pytest.mark.parametrize("format", [Json, MessagePack])
@given(value=UNTYPED)
def test_untyped_values_come_back(format: Callable[[], Serde[Any]], value: object) -> None:
    same(format(), value)


@pytest.mark.parametrize("format", [Json, MessagePack])
@given(value=PURCHASES)
def test_dataclasses_come_back(format: Any, value: Purchase) -> None:
    same(format(Purchase), value)


@pytest.mark.parametrize("format", [Json, MessagePack])
@given(st.data())
def test_every_kind_of_type_comes_back(format: Any, data: st.DataObject) -> None:
    kinds: list[tuple[Any, st.SearchStrategy[Any]]] = [
        (Spend, st.builds(Spend, orders=INT64, cents=INT64)),
        (Click, st.fixed_dictionaries({"url": TEXT, "at_ms": INT64})),
        (Point, st.builds(Point, INT64, INT64)),
        (dict[int, str], st.dictionaries(INT64, TEXT, max_size=4)),
        (set[str], st.sets(TEXT, max_size=4)),
        (bytes, st.binary()),
        (datetime, st.datetimes(timezones=st.just(UTC))),
        (int | None, st.none() | INT64),
    ]
    kind, values = data.draw(st.sampled_from(kinds))
    same(format(kind), data.draw(values))


def test_message_pack_carries_what_json_cannot() -> None:
    assert MessagePack().decode(MessagePack().encode({"raw": b"\x00\xff"})) == {"raw": b"\x00\xff"}
    assert math.isnan(MessagePack().decode(MessagePack().encode(math.nan)))
    assert Json().decode(Json().encode({"raw": b"\x00\xff"})) == {"raw": "AP8="}


def test_numbers_are_those_of_kafkas_serializers() -> None:
    assert Int64.encode(1) == b"\x00\x00\x00\x00\x00\x00\x00\x01"
    assert Int64.encode(-2) == b"\xff\xff\xff\xff\xff\xff\xff\xfe"
    assert Int32.encode(258) == b"\x00\x00\x01\x02"
    assert Float64.encode(1.5) == b"\x3f\xf8\x00\x00\x00\x00\x00\x00"


@pytest.mark.parametrize("data", [b"", b"\x00" * 7, b"\x00" * 9])
def test_a_number_of_another_width_is_refused(data: bytes) -> None:
    with pytest.raises(SerdeError, match=f"int64 takes 8 bytes, not {len(data)}"):
        Int64.decode(data)


WRONG_NUMBERS: list[tuple[Serde[Any], Any, str]] = [
    (Int64, "text", r"int64 cannot hold 'text' \(str\)$"),
    (Int64, 1.5, r"int64 cannot hold 1.5 \(float\)$"),
    (Int64, 2**63, r"int64 cannot hold 9223372036854775808 \(int\): "),
    (Int32, 2**31, r"int32 cannot hold 2147483648 \(int\): .*2147483647"),
    (Float64, "1", r"float64 cannot hold '1' \(str\)$"),
    (Float64, 10**400, r"float64 cannot hold 10+ \(int\)"),
]


@pytest.mark.parametrize(("serde", "value", "said"), WRONG_NUMBERS)
def test_what_a_number_cannot_hold_is_named(serde: Serde[Any], value: Any, said: str) -> None:
    with pytest.raises(SerdeError, match=said) as caught:
        serde.encode(value)
    assert caught.value.hint


@pytest.mark.parametrize(("serde", "value"), [(Bytes, 5), (Bytes, "x"), (Utf8, b"x"), (Utf8, 5)])
def test_a_value_of_another_type_is_refused(serde: Serde[Any], value: object) -> None:
    with pytest.raises(TypeError):
        serde.encode(value)


def test_a_wrong_value_names_its_place() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"Expected `int`.*\$\.lines\[0\]\.count"):
        Json(Purchase).decode(b'{"customer":"a","cents":1,"lines":[{"sku":"x","count":"2"}]}')


@given(st.dictionaries(TEXT, UNTYPED, min_size=2, max_size=5), st.randoms())
def test_equal_keys_have_equal_bytes(key: dict[str, Any], random: Any) -> None:
    items = list(key.items())
    random.shuffle(items)
    for serde in (Json(), Json(dict), MessagePack()):
        assert serde.encode(dict(items)) == serde.encode(key)
        as_key = serde.bind("t", True, {})
        assert as_key.encode(dict(items)) == as_key.encode(key) == serde.encode(key)


def test_equal_sets_have_equal_bytes() -> None:
    one, other = {f"k{n}" for n in range(50)}, {f"k{n}" for n in reversed(range(50))}
    assert Json(set[str]).bind("t", True, {}).encode(one) == Json(set[str]).encode(other)


@given(st.dictionaries(TEXT, INT64, max_size=6))
def test_a_value_keeps_the_order_of_its_dicts(value: dict[str, int]) -> None:
    for serde in (Json(), Json(dict[str, int]), MessagePack()):
        bound = serde.bind("t", False, {})
        assert list(bound.decode(bound.encode(value))) == list(value)


def test_one_serde_may_stand_at_several_places() -> None:
    serde = Json()
    value, key = serde.bind("t", False, {}), serde.bind("t", True, {})
    mixed = {"b": 1, "a": 2}
    assert value.encode(mixed) == b'{"b":1,"a":2}'
    assert key.encode(mixed) == serde.encode(mixed) == b'{"a":2,"b":1}'


def test_a_dict_without_text_keys_cannot_be_a_key() -> None:
    serde = Json(dict[int, str])
    assert serde.bind("t", False, {}).encode({2: "b", 1: "a"}) == b'{"2":"b","1":"a"}'
    with pytest.raises(TopologyError, match=r"json:dict\[int, str\] cannot be the key of 'orders'"):
        serde.bind("orders", True, {})


@given(st.lists(TEXT))
def test_text_rows_lie_in_the_order_of_code_points(keys: list[str]) -> None:
    assert sorted(keys) == [Utf8.decode(row) for row in sorted(map(Utf8.encode, keys))]


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_rows_of_numbers_from_zero_lie_in_their_order(keys: list[int]) -> None:
    assert sorted(keys) == [Int64.decode(row) for row in sorted(map(Int64.encode, keys))]


def test_rows_of_negative_numbers_lie_after_all_others() -> None:
    rows = sorted(map(Int64.encode, [-1, 0, 1]))
    assert [Int64.decode(row) for row in rows] == [0, 1, -1]


@pytest.mark.parametrize(
    ("given_type", "name"),
    [
        (str, "utf8"),
        (bytes, "bytes"),
        (None, "bytes"),
        (int, "int64"),
        (float, "float64"),
        (bool, "json:bool"),
        (Any, "json"),
        (object, "json"),
        (dict, "json:dict"),
        (list, "json:list"),
        (dict[str, int], "json:dict[str, int]"),
        (Purchase, "json:Purchase"),
        (Spend, "json:Spend"),
        (Click, "json:Click"),
        (int | None, "json:int | None"),
    ],
)
def test_types_have_serdes(given_type: object, name: str) -> None:
    assert serde_of(given_type).name == name


def test_a_serde_is_itself() -> None:
    for serde in (Utf8, Int32, Json(Purchase), MessagePack(Spend)):
        assert serde_of(serde) is serde


def test_any_object_with_encode_and_decode_is_a_serde() -> None:
    class Reversed:
        def encode(self, value: str) -> bytes:
            return value[::-1].encode()

        def decode(self, data: bytes) -> str:
            return data.decode()[::-1]

    serde = serde_of(Reversed())
    assert serde.name == "Reversed"
    assert serde.bind("t", True, {}) is serde
    assert serde.encode("abc") == b"cba"
    assert serde.decode(b"cba") == "abc"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Opaque, "no serde is known for Opaque: json cannot carry Opaque"),
        (Holder, r"no serde is known for Holder: json cannot carry Opaque \(at Holder.inside\)"),
        (complex, "json cannot carry complex"),
        (5, "no serde is known for 5"),
        ("utf8", "no serde is known for 'utf8'"),
        ({}, r"no serde is known for \{\}"),
        (Purchase | Line, "more than one dataclass"),
        (Json, "Json is a class of serdes, not a serde"),
    ],
)
def test_other_things_are_refused(wrong: object, message: str) -> None:
    with pytest.raises(TopologyError, match=message) as caught:
        serde_of(wrong)
    assert caught.value.hint


def test_the_hot_path_has_no_python_function() -> None:
    c_functions = (type(len), type(str.encode), type("".encode))
    for serde in (Json(Purchase), Json(), MessagePack(Spend), Utf8, Bytes):
        for place in (serde, serde.bind("t", False, {})):
            # Where a float may be, JSON is looked at for null.
            assert isinstance(place.encode, c_functions) or place.type is Any
            assert isinstance(place.decode, c_functions)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_refuses_what_it_would_write_as_null(number: float) -> None:
    @dataclass
    class Deep:
        rows: list[dict[str, float | None]]

    fine = Deep([{"a": None}, {"b": 1.5}])
    assert Json(Deep).decode(Json(Deep).encode(fine)) == fine
    for serde in (Json(Deep), Json(), Json(Deep).bind("t", False, {})):
        with pytest.raises(SerdeError) as caught:
            serde.encode(Deep([{"a": None}, {"b": number}]))
        expected = f"JSON cannot hold the non-finite number {number!r} (rows[1]['b'])"
        assert caught.value.message == expected
    with pytest.raises(SerdeError, match=r"JSON cannot hold .* \(the value\)"):
        Json(float).encode(number)


def test_an_untyped_store_refuses_keys_that_would_become_text() -> None:
    stored = Json(Any).stored("s")
    fine = [{"5": {"a": [None]}}]
    assert stored.decode(stored.encode(fine)) == fine
    for kind in (Any, list):
        with pytest.raises(SerdeError) as caught:
            Json(kind).stored("s").encode([{"a": [{5: 1.5}]}])
        message = "the JSON of store 's', which has no type, would turn the dict key 5 into text"
        assert caught.value.message == message
        assert caught.value.hint == "give the type: value=list[dict[str, list[dict[int, float]]]]"
    typed = Json(dict[int, int]).stored("s")
    assert typed.decode(typed.encode({5: 1})) == {5: 1}
    topic = Json(dict).bind("t", False, {})
    assert topic.encode({5: 1}) == b'{"5":1}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), -float("nan")])
def test_a_number_that_json_lacks_is_found_beside_fields_that_are_none(number: float) -> None:
    encode = Json(dict[str, float | None]).encode
    assert encode({"a": None, "b": 1.5, "c": 1.7e308}) == b'{"a":null,"b":1.5,"c":1.7e308}'
    with pytest.raises(
        SerdeError, match=r"cannot hold the non-finite number (nan|-?inf) \(\['b'\]\)"
    ):
        encode({"a": None, "b": number})
