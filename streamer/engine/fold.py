"""Folding rows into aggregates: the innermost loops of the product.

Each loop takes the cells of a store (row key -> aggregate or None) and the rows of a batch, and
changes the cells in record order. The loop of built-in aggregates is generated for its fields, as
dataclasses generate `__init__`: a general loop over fields costs twice as much (measured). It looks
at nothing: a row at which it fails goes through `Fields.fold`, which knows nulls and what to blame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from keyword import iskeyword
from typing import Any, NamedTuple

from streamer.engine.fields import Fields
from streamer.topology.aggregates import BuiltIn, Count, First, Fold, Last, Max, Min, Reduce, Sum

__all__ = ["Cells", "Collect", "Loop", "Rows", "Told", "fold_loop", "needs_keys"]

Cells = MutableMapping[bytes, Any]
Rows = Iterable[tuple[bytes, Any, Any]]
# (encode, append): each new aggregate is encoded at once, since the next record may change the same
# object in place. Two functions and not one of both: a call per record is what this saves.
Collect = tuple[Callable[[Any], bytes], Callable[[bytes | None], None]]


class Told(NamedTuple):
    """Whom a loop tells: each new aggregate is collected, and where one begins, `left()` is noted,
    the count of rows behind it. Nothing is asked for rows that find an aggregate; built-in ones
    are never None once they began, so they note nothing."""

    note: Callable[[int], None]
    left: Callable[[], int]
    collect: Collect | None = None


# (cells, rows of (row key, key, value), whom to tell)
Loop = Callable[[Cells, Rows, Told], None]


def needs_keys(aggregate: Fold | Reduce | Mapping[str, BuiltIn]) -> bool:
    """Whether the loop looks at decoded keys."""
    return isinstance(aggregate, Fold)


def fold_loop(
    aggregate: Fold | Reduce | Mapping[str, BuiltIn],
    *,
    result: Any = None,
    by_item: bool | None = None,
    fields: Fields | None = None,
    own: Callable[[Any], Any] | None = None,
) -> Loop:
    """The loop of an aggregation. Built-in ones need the type of their `result` and their `fields`;
    `by_item` says whether values are mappings or objects with attributes, None that each is to be
    looked at. `own` makes an object that nobody else has of a first value, where that can be
    changed."""
    if isinstance(aggregate, Fold):
        return _function_loop(aggregate.initial, aggregate.step)
    if isinstance(aggregate, Reduce):
        return _reduce_loop(aggregate.step, own or _same)
    assert fields is not None
    return _built_in_loop(aggregate, result=result, by_item=by_item, again=fields.fold)


def _function_loop(initial: Callable[[], Any], step: Callable[[Any, Any, Any], Any]) -> Loop:
    def loop(cells: Cells, rows: Rows, told: Told) -> None:
        note, left, collect = told
        if collect is None:
            for row_key, key, value in rows:
                before = cells[row_key]
                if before is None:
                    note(left())
                    before = initial()
                cells[row_key] = step(key, value, before)
            return
        encode, append = collect
        for row_key, key, value in rows:
            before = cells[row_key]
            if before is None:
                note(left())
                before = initial()
            after = step(key, value, before)
            append(None if after is None else encode(after))
            cells[row_key] = after

    return loop


def _same(value: Any) -> Any:
    return value


def _reduce_loop(step: Callable[[Any, Any], Any], own: Callable[[Any], Any]) -> Loop:
    def loop(cells: Cells, rows: Rows, told: Told) -> None:
        note, left, collect = told
        for row_key, _key, value in rows:
            before = cells[row_key]
            if before is None:
                note(left())
                after = own(value)
            else:
                after = step(before, value)
            if collect is not None:
                encode, append = collect
                append(None if after is None else encode(after))
            cells[row_key] = after

    return loop


def _next_value(aggregate: BuiltIn, name: str, read: str) -> str:
    known = _attribute("a", name)
    match aggregate:
        case Count():
            return f"{known} + 1"
        case Sum():
            return f"{known} + {read}"
        case Min():
            return f"{read} if {read} < {known} else {known}"
        case Max():
            return f"{read} if {read} > {known} else {known}"
        case First():
            return known
        case Last():
            return read


def _first_value(aggregate: BuiltIn, read: str) -> str:
    match aggregate:
        case Count():
            return "1"
        case Sum():  # Of one bool too it is a number, as that of two is.
            return f"int({read}) if isinstance({read}, int) else {read}"
    return read


def _attribute(of: str, name: str) -> str:
    """An attribute as code reads it; one such as `from` cannot be written behind a dot."""
    return f"getattr({of}, {name!r})" if iskeyword(name) else f"{of}.{name}"


def _store(name: str, value: str) -> str:
    return f"setattr(a, {name!r}, {value})" if iskeyword(name) else f"a.{name} = {value}"


def _read(field: str, by_item: bool | None) -> str:
    item, attribute = f"v[{field!r}]", _attribute("v", field)
    if by_item or not field.isidentifier():
        return item
    if by_item is None:
        return f"{item} if type(v) is dict or isinstance(v, Mapping) else {attribute}"
    return attribute


def _try_first(aggregate: BuiltIn, read: str) -> str | None:
    """Fails for what later values could not be combined with, so that they are not blamed."""
    match aggregate:
        case Sum():
            return f"{read} + {read} - {read}"
        case Min() | Max():
            return f"{read} < {read}"
    return None


def _built_in_loop(
    fields: Mapping[str, BuiltIn],
    *,
    result: Any,
    by_item: bool | None,
    again: Callable[[Cells, bytes, Any], Any],
) -> Loop:
    read: dict[str, str] = {}
    for aggregate in fields.values():
        if aggregate.field is not None:
            read.setdefault(aggregate.field, f"x{len(read)}")
    reads = [f"{variable} = {_read(field, by_item)}" for field, variable in read.items()]
    # All new values are computed before the first is stored, so that a record whose third field
    # cannot be compared has not already been counted by the first.
    nexts = [
        f"n{number} = {_next_value(aggregate, name, read.get(aggregate.field or '', ''))}"
        for number, (name, aggregate) in enumerate(fields.items())
    ]
    stores = [_store(name, f"n{number}") for number, name in enumerate(fields)]
    tries = [_try_first(each, read.get(each.field or "", "")) for each in fields.values()]
    first = ", ".join(
        _first_value(aggregate, read.get(aggregate.field or "", ""))
        for aggregate in fields.values()
    )
    steps = [*reads, "a = cells[k]", "if a is None:"]
    steps += [f"    {line}" for line in dict.fromkeys(tries) if line is not None]
    steps += [f"    a = cells[k] = make({first})", "else:"]
    steps += [f"    {line}" for line in (*nexts, *stores)]

    def body(*, emits: bool) -> str:
        lines = ["for k, _key, v in rows:", "    try:"]
        lines += [f"        {line}" for line in steps]
        lines += ["    except Exception:", "        a = again(cells, k, v)"]
        if emits:
            lines.append("    append(encode(a))")
        return "\n".join(f"        {line}" for line in lines)

    text = (
        "def loop(cells, rows, told):\n    collect = told.collect\n"
        f"    if collect is None:\n{body(emits=False)}\n"
        f"    else:\n        encode, append = collect\n{body(emits=True)}\n"
    )
    names: dict[str, Any] = {"make": result, "again": again, "Mapping": Mapping}
    exec(compile(text, "<built-in aggregates>", "exec"), names)
    loop: Loop = names["loop"]
    return loop
