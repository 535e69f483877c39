"""Built-in aggregates for sessions: one step, and the merge of two sessions' results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streamer.engine.fold import fold_loop
from streamer.topology.aggregates import BuiltIn, Count, First, Last, Max, Min, Sum

__all__ = ["built_in_merge", "built_in_step"]


def built_in_step(
    fields: Mapping[str, BuiltIn], *, result: Any, by_item: bool | None
) -> Callable[[Any, Any, Any], Any]:
    """`(key, value, aggregate or None) -> aggregate`, which never changes its argument."""
    loop = fold_loop(fields, result=result, by_item=by_item)
    names = list(fields)

    def step(_key: Any, value: Any, before: Any) -> Any:
        copied = None if before is None else result(*(getattr(before, name) for name in names))
        cells: dict[bytes, Any] = {b"": copied}
        loop(cells, [(b"", None, value)], None)
        return cells[b""]

    return step


def built_in_merge(fields: Mapping[str, BuiltIn], *, result: Any) -> Callable[[Any, Any, Any], Any]:
    """`(key, earlier, later) -> aggregate`."""

    def merge(_key: Any, one: Any, other: Any) -> Any:
        return result(
            *(
                _merged(aggregate, getattr(one, name), getattr(other, name))
                for name, aggregate in fields.items()
            )
        )

    return merge


def _merged(aggregate: BuiltIn, one: Any, other: Any) -> Any:
    match aggregate:
        case Count() | Sum():
            return one + other
        case Min():
            return min(one, other)
        case Max():
            return max(one, other)
        case First():
            return one
        case Last():
            return other
