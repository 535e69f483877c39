"""Built-in aggregates one record at a time, with every check: what the fast loop falls back to.

A null is left out by Sum, Min and Max, as in SQL: their result is null until the first value that
is not. First and Last take the field as it is. A field that is missing, or that cannot be
aggregated with what is there, is the fault of its record: FieldError names the field. So is a
value that makes a result infinite where JSON would store null for it, and one that JSON without a
type would give back as something else, such as a Decimal: the next sum would begin with its text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from streamer.errors import StreamerError
from streamer.topology.aggregates import (
    BuiltIn,
    Count,
    First,
    Fold,
    Last,
    Max,
    Min,
    Reduce,
    Sum,
)
from streamer.topology.exact import non_finite
from streamer.topology.graph import Aggregate
from streamer.topology.results import float_results, open_results
from streamer.topology.serde import Json, Serde
from streamer.topology.untyped import Finder

__all__ = ["FieldError", "Fields", "by_item_of", "fields_of"]

Pair = Callable[[Any, Any], Any]


class FieldError(StreamerError):
    """A field of this record cannot be aggregated."""


class Fields:
    """The built-in aggregates of one store, whose results are made by `result(*values)`.

    `by_item` says how a field is read (None: look at each value), `floats` which results may be
    floats that JSON cannot store; `finders` find what it would not give back.
    """

    def __init__(
        self,
        fields: Mapping[str, BuiltIn],
        *,
        result: Any,
        by_item: bool | None,
        floats: frozenset[str] = frozenset(),
        finders: Mapping[str, Finder] | None = None,
    ) -> None:
        self._fields = fields
        self._result = result
        self._by_item = by_item
        self._floats = floats
        self._finders = finders or {}

    @property
    def can_refuse(self) -> bool:
        """Whether a result may be one that cannot be stored."""
        return bool(self._floats or self._finders)

    def fold(self, cells: MutableMapping[bytes, Any], row_key: bytes, value: Any) -> Any:
        """Fold one value into its cell, and return the result; the cell is as before on error."""
        before = cells[row_key]
        values = self._next(before, value)
        if before is None:
            before = cells[row_key] = self._result(*values)
            return before
        for name, after in zip(self._fields, values, strict=True):
            setattr(before, name, after)
        return before

    def loop(self, cells: MutableMapping[bytes, Any], rows: Any, told: Any) -> None:
        """As the generated loop, with every check for every row."""
        collect = told.collect
        for row_key, _key, value in rows:
            after = self.fold(cells, row_key, value)
            if collect is not None:
                encode, append = collect
                append(encode(after))

    def step(self, _key: Any, value: Any, before: Any) -> Any:
        """`before` with the value, as a new object."""
        return self._result(*self._next(before, value))

    def merge(self, _key: Any, one: Any, other: Any) -> Any:
        """The results of two sessions as one; `one` is the earlier."""
        return self._result(
            *(
                self._checked(name, aggregate, _merged(aggregate), pair)
                for name, aggregate in self._fields.items()
                for pair in [(getattr(one, name), getattr(other, name))]
            )
        )

    def _next(self, before: Any, value: Any) -> list[Any]:
        values = []
        for name, aggregate in self._fields.items():
            known = None if before is None else getattr(before, name)
            if isinstance(aggregate, Count):
                values.append((known or 0) + 1)
                continue
            given = self._read(aggregate, value)
            if isinstance(aggregate, First | Last):
                is_kept = isinstance(aggregate, First) and before is not None
                after = known if is_kept else self._finite(name, aggregate, given, given=given)
                values.append(after)
            else:
                pair = (known, given)
                values.append(self._checked(name, aggregate, _merged(aggregate), pair))
        return values

    def _read(self, aggregate: BuiltIn, value: Any) -> Any:
        field = aggregate.field
        assert field is not None
        by_item = isinstance(value, Mapping) if self._by_item is None else self._by_item
        try:
            if by_item or not field.isidentifier():
                return value[field]
            return getattr(value, field)
        except (AttributeError, KeyError, TypeError) as error:
            raise FieldError(
                f"{_shown(aggregate)}: the value has no {field!r}", hint="see the record's value"
            ) from error

    def _checked(
        self, name: str, aggregate: BuiltIn, operation: Pair, pair: tuple[Any, Any]
    ) -> Any:
        known, given = pair
        try:
            if isinstance(aggregate, First | Last):
                return operation(known, given)
            if given is None:
                return known
            # Combined with itself first: what cannot be is at fault, not the record after it.
            _try_alone(aggregate, given)
            after = _first(aggregate, given) if known is None else operation(known, given)
        except (TypeError, ValueError, ArithmeticError) as error:
            with_what = "" if known is None else f" with {_of(known)}"
            raise FieldError(
                f"{_shown(aggregate)}: it is {_of(given)}, which cannot be aggregated{with_what}",
                hint=f"{error}",
            ) from error
        if (find := self._finders.get(name)) is not None and find(after) is not None:
            raise FieldError(
                f"{_shown(aggregate)}: it is {_of(given)}, which JSON without a type would give"
                " back as something else",
                hint="give the type of the values: value=Type where they are made",
            )
        return self._finite(name, aggregate, after, given=given)

    def _finite(self, name: str, aggregate: BuiltIn, after: Any, *, given: Any) -> Any:
        """What JSON can store."""
        if name in self._floats and (found := non_finite(after)) is not None:
            raise FieldError(
                f"{_shown(aggregate)}: with {given!r} the result is {found[1]!r}",
                hint="JSON has no such number; give value=MessagePack(Type), or smaller numbers",
            )
        return after


def _merged(aggregate: BuiltIn) -> Pair:
    match aggregate:
        case Count() | Sum():
            return _sum
        case Min():
            return _least
        case Max():
            return _greatest
        case First():
            return lambda one, _other: one
        case Last():
            return lambda _one, other: other


def _try_alone(aggregate: BuiltIn, given: Any) -> None:
    """Raise TypeError for a value that nothing like it can be combined with."""
    if isinstance(aggregate, Sum):
        given + given - given  # text can be added, but is not meant by a sum
    else:
        given < given  # noqa: B015


def _first(aggregate: BuiltIn, given: Any) -> Any:
    """A result of one value. A sum of one bool is a number too, as that of two is."""
    return int(given) if isinstance(aggregate, Sum) and isinstance(given, int) else given


def _sum(one: Any, other: Any) -> Any:
    return one + other


def _least(one: Any, other: Any) -> Any:
    return other if other < one else one


def _greatest(one: Any, other: Any) -> Any:
    return other if other > one else one


def _shown(aggregate: BuiltIn) -> str:
    return f"{type(aggregate).__name__}({aggregate.field!r})"


def _of(value: Any) -> str:
    text = repr(value)
    return f"{text[:80]} ({type(value).__name__})" if value is not None else "null"


def by_item_of(value: Serde[Any] | None) -> bool | None:
    """Whether a field of a value is read as `value[name]`; None where the type does not tell."""
    kind = getattr(value, "type", None)
    if kind is Any or not isinstance(kind, type):
        return None
    return issubclass(kind, Mapping)


def fields_of(node: Aggregate) -> Fields | None:
    """Those of built-in aggregates."""
    if isinstance(node.aggregate, Fold | Reduce):
        return None
    stored_as_json = isinstance(node.value, Json)
    return Fields(
        node.aggregate,
        result=getattr(node.value, "type", None),
        by_item=by_item_of(node.input),
        floats=float_results(node.aggregate, node.input) if stored_as_json else frozenset(),
        finders=open_results(node.aggregate, node.value) if stored_as_json else {},
    )
