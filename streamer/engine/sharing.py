"""Who else may hold the objects that an aggregation is given.

A stream's value may reach several steps, and with hopping windows several aggregates. Where an
aggregate could keep it, or a part of it, either would see what is done to the other in place. Then
aggregates are made objects of their own. A value that goes one way alone needs no such care.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from copy import copy, deepcopy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from types import NoneType
from typing import Any, get_type_hints
from uuid import UUID

from streamer.errors import RAISED_BY_USERS, SerdeError, StreamerError
from streamer.store.cache import KeyValueState
from streamer.topology.aggregates import BuiltIn, First, Fold, Last, Max, Min, Reduce
from streamer.topology.graph import Aggregate, Branch, Node, Process, Source, Stateless, Subtopology
from streamer.topology.serde import Bytes, Json
from streamer.topology.shapes import can_hold_same, is_immutable
from streamer.topology.untyped import result_kinds
from streamer.topology.windows import HoppingWindows

__all__ = ["checked", "copied", "encoder", "has_immutable_values", "keeps_values", "opener"]

AnyAggregate = Fold | Reduce | Mapping[str, BuiltIn]
_PLAIN = frozenset(
    {str, int, float, bool, bytes, NoneType, datetime, date, time, timedelta, Decimal, UUID}
)


def keeps_values(node: Aggregate, subtopology: Subtopology) -> bool:
    """Whether an aggregate may hold objects that others have as well."""
    given = getattr(node.input, "type", None)
    if isinstance(node.aggregate, Fold | Reduce):
        is_held = isinstance(node.windows, HoppingWindows) or _is_shared(node, subtopology)
        return is_held and can_hold_same(given, getattr(node.value, "type", None))
    # Those change nothing but the numbers of their results.
    results = get_type_hints(getattr(node.value, "type", None))
    kept = (
        results[name]
        for name, aggregate in node.aggregate.items()
        if isinstance(aggregate, First | Last | Min | Max)
    )
    return _is_shared(node, subtopology) and any(can_hold_same(given, kind) for kind in kept)


def _is_shared(node: Node, subtopology: Subtopology) -> bool:
    """Whether the objects that come to a node may come to another one too, or more than once."""
    for parent in node.parents:
        if len(subtopology.children(parent)) > 1 and not isinstance(parent, Branch):
            return True
        if isinstance(parent, Source | Process | Aggregate):
            continue  # Its objects are new.
        if isinstance(parent, Stateless) and parent.operation.startswith("flat_map"):
            return True
        if _is_shared(parent, subtopology):
            return True
    return False


def has_immutable_values(state: KeyValueState) -> bool:
    """Whether the values of a store can be shared, since nobody can change them."""
    return is_immutable(getattr(state.spec.value, "type", None))


def opener(state: KeyValueState) -> Callable[[Any], Any] | None:
    """What makes a store's cell an object of the reader's own; None where it can be shared."""
    encode, decode = state.spec.value.encode, state.spec.value.decode
    if state.serde is Bytes:
        return decode
    if has_immutable_values(state):
        return None

    def opened(cell: Any) -> Any:
        try:
            data = encode(cell)
        except RAISED_BY_USERS as error:
            # A record before this one made it: all are folded again one by one, to tell which.
            state.on_unencodable(error)
            raise
        return decode(data)

    return opened


def encoder(state: KeyValueState) -> Callable[[Any], bytes]:
    """A store's encoder of what was computed, whose errors name the store."""

    def encode(value: Any) -> bytes:
        try:
            return state.encode(value)
        except StreamerError:
            raise
        except RAISED_BY_USERS as error:
            raise SerdeError(
                f"store {state.spec.name!r} cannot hold what was computed:"
                f" {type(error).__name__}: {error}",
                hint=f"return {state.serde.name}, or give the store the right type",
            ) from error

    return encode


def checked(aggregate: AnyAggregate, state: KeyValueState) -> AnyAggregate:
    """The aggregation, which refuses a result at once that JSON without a type would give back as
    another class. What is in it is looked at when it is stored: at each record that would cost too
    much in a large one."""
    serde = state.spec.value
    kinds = result_kinds(serde.type) if isinstance(serde, Json) else None
    if kinds is None or isinstance(aggregate, Mapping):
        return aggregate
    encode = encoder(state)
    step: Callable[..., Any] = aggregate.step

    def folded(key: Any, value: Any, before: Any) -> Any:
        after = step(key, value, before)
        if type(after) not in kinds:
            encode(after)
        return after

    def reduced(before: Any, value: Any) -> Any:
        after = step(before, value)
        if type(after) not in kinds:
            encode(after)
        return after

    if isinstance(aggregate, Reduce):
        return Reduce(reduced)
    return Fold(aggregate.initial, folded, aggregate.merge)


def copied(value: Any) -> Any:
    """An equal object that others do not hold; the same one where it cannot be changed."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {key: one if type(one) in _PLAIN else copied(one) for key, one in value.items()}
    if kind is list:
        return [one if type(one) in _PLAIN else copied(one) for one in value]
    return _copier(kind)(value)  # type: ignore[arg-type]


@lru_cache
def _copier(kind: Hashable) -> Callable[[Any], Any]:
    if is_immutable(kind):
        return _same
    if not _is_flat(kind):
        return _deeply
    is_plain = hasattr(kind, "__dataclass_fields__") and not hasattr(kind, "__slots__")
    return _shallow if is_plain and not hasattr(kind, "__copy__") else copy


def _is_flat(kind: Any) -> bool:
    """Whether only the object itself can be changed, and nothing inside it."""
    if not (hasattr(kind, "__struct_fields__") or hasattr(kind, "__dataclass_fields__")):
        return False
    try:
        hints = get_type_hints(kind)
    except (NameError, TypeError):
        return False
    return all(is_immutable(hint) for hint in hints.values())


def _same(value: Any) -> Any:
    return value


def _shallow(value: Any) -> Any:
    """As `copy` for an object that has nothing but its attributes, in a fifth of the time."""
    other = object.__new__(type(value))
    other.__dict__.update(value.__dict__)
    return other


def _deeply(value: Any) -> Any:
    try:
        return deepcopy(value)
    except RAISED_BY_USERS:
        return value  # Such as one that holds a lock: nobody else can have another one.
