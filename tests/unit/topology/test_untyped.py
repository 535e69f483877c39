"""Which parts of a value JSON gives back as something else, where its type leaves them open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import SerdeError
from streamer.topology.serde import Json
from streamer.topology.untyped import finder, lost_in

T = TypeVar("T")


@dataclass
class Order:
    tags: tuple[str, ...] = ("a",)
    on: date = date(2026, 1, 1)
    extra: Any = None
    counts: dict[int, int] = field(default_factory=lambda: {5: 1})


class Tree(msgspec.Struct):
    value: Any = None
    children: list[Tree] = []


class Pair(NamedTuple):
    one: int
    other: Any


class Entry(TypedDict, total=False):
    on: date
    extra: dict[str, Any]


class Box(msgspec.Struct, Generic[T]):
    inside: T


PLACES: dict[str, tuple[Any, Any, str]] = {
    "a list that is a tuple": (list, ("a",), "tuple (the value)"),
    "an item": (list, [1, {"a": {1}}], "set ([1]['a'])"),
    "a sequence that is a tuple": (Sequence[Any], (1,), "tuple (the value)"),
    "a dict that is a counter": (dict, Counter("a"), "Counter (the value)"),
    "a dict of other keys": (dict[int, Any], {5: {6}}, "set ([5])"),
    "an item of a set": (set, {("a",)}, "tuple ([0])"),
    "an item of a tuple": (tuple[int, Any], (1, (2,)), "tuple ([1])"),
    "a field": (Order, Order(extra=[(1,)]), "tuple (extra[0])"),
    "a field of many": (list[Order], [Order(), Order(extra=b"")], "bytes ([1].extra)"),
    "a field of a Struct in itself": (
        Tree,
        Tree(1, [Tree(), Tree(2, [Tree({1})])]),
        "set (children[1].children[0].value)",
    ),
    "a field of a named tuple": (Pair, Pair(1, (2,)), "tuple (other)"),
    "an entry": (Entry, {"on": date(2026, 1, 1), "extra": {"a": b""}}, "bytes (['extra']['a'])"),
    "a generic Struct": (Box[Any], Box((1,)), "tuple (inside)"),
    "one of several": (Order | list | None, [(1,)], "tuple ([0])"),
    "another of several": (Order | list | None, Order(extra=(1,)), "tuple (extra)"),
}


@pytest.mark.parametrize("name", PLACES)
def test_the_place_that_a_type_leaves_open_is_named(name: str) -> None:
    kind, value, place = PLACES[name]
    with pytest.raises(SerdeError) as caught:
        Json(kind).stored("s").encode(value)
    message = f"the JSON of store 's', which has no type, cannot give back a {place}"
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Order, Order(extra={"a": [None, 1.5]})),
        (Tree, Tree([1], [Tree({"a": 1})])),
        (Pair, Pair(1, [2])),
        (Entry, {"on": date(2026, 1, 1)}),
        (dict[str, date | None], {"a": None, "b": date(2026, 1, 1)}),
        (dict[int, Any], {5: {"a": 1}}),
        (tuple[int, Any], (1, [2])),
        (set, {1, "a"}),
        (Box[Any], Box([1])),
        (Order | list | None, Order()),
        (dict[str, int], {"a": 1}),
    ],
)
def test_what_the_type_tells_is_not_looked_at(kind: Any, value: Any) -> None:
    serde = Json(kind).stored("s")
    assert serde.decode(serde.encode(value)) == value


@pytest.mark.parametrize("kind", [str, int, float, bool, date, list[float]])
def test_a_type_that_tells_all_costs_nothing(kind: Any) -> None:
    assert finder(kind) is None


def test_what_json_cannot_hold_at_all_is_told_as_before() -> None:
    with pytest.raises(TypeError, match="Encoding objects of type object is unsupported"):
        Json(Any).stored("s").encode([object()])


def test_the_hint_names_a_type_that_brings_the_value_back() -> None:
    hints = {
        "tuple": (1,),
        "list[dict[str, set]]": [{"a": {1}}],
        "list[dict[int, float]]": [{5: 1.5}],
    }
    for kind, value in hints.items():
        with pytest.raises(SerdeError) as caught:
            Json(Any).stored("s").encode(value)
        assert f"value={kind}" in caught.value.hint
        typed = Json(eval(kind)).stored("s")
        assert typed.decode(typed.encode(value)) == value
    with pytest.raises(SerdeError) as caught:
        Json(Any).stored("s").encode({"a": Counter("a")})
    assert caught.value.hint.endswith("or make it a plain dict or list")


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.decimals(allow_nan=False)
    | st.uuids(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(same(*pair) for pair in zip(one.items(), other.items(), strict=True))
    if isinstance(one, list | tuple):
        return all(map(same, one, other))
    return True


@given(ANYTHING)
def test_exactly_what_comes_back_as_something_else_is_found(value: Any) -> None:
    try:
        back = msgspec.json.decode(msgspec.json.encode(value))
    except ValueError:  # A lone surrogate is no text.
        return
    assert (lost_in(value) is None) == same(value, back)
