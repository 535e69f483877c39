"""The nodes without state: each turns a batch into another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from streamer.engine.batch import Batch
from streamer.engine.node import Operator
from streamer.engine.policy import Policy
from streamer.topology.graph import Stateless

__all__ = ["BranchOperator", "IdleOperator", "MergeOperator", "PassOperator", "stateless"]


class PassOperator(Operator):
    """Hands every batch on: an arm of a branch."""

    def run(self, batch: Batch) -> None:
        self.forward(batch)


class IdleOperator(Operator):
    """A node that has no part in this: whatever comes to it ends here."""

    def run(self, batch: Batch) -> None:
        pass


class FunctionOperator(Operator):
    """A node that calls one user function per record."""

    def __init__(self, name: str, policy: Policy, function: Callable[..., Any]) -> None:
        super().__init__(name, policy)
        self.function = function


class FilterOperator(FunctionOperator):
    def run(self, batch: Batch) -> None:
        kept, left = self.call(self.function, batch, batch.keys, batch.values)
        rows = range(len(batch)) if left is None else left
        chosen = [row for row, keep in zip(rows, kept, strict=True) if keep]
        self.forward(batch if len(chosen) == len(batch) else batch.take(chosen))


class MapValuesOperator(FunctionOperator):
    def run(self, batch: Batch) -> None:
        values, left = self.call(self.function, batch, batch.values)
        self.forward((batch if left is None else batch.take(left)).with_values(values))


class ViewOperator(FunctionOperator):
    """A derived table's step: `(key, value or None) -> value or None`."""

    def run(self, batch: Batch) -> None:
        values, left = self.call(self.function, batch, batch.keys, batch.values)
        self.forward((batch if left is None else batch.take(left)).with_values(values))


class PeekOperator(FunctionOperator):
    def run(self, batch: Batch) -> None:
        _none, left = self.call(self.function, batch, batch.keys, batch.values)
        self.forward(batch if left is None else batch.take(left))


class SelectKeyOperator(FunctionOperator):
    def run(self, batch: Batch) -> None:
        keys, left = self.call(self.function, batch, batch.keys, batch.values)
        batch = batch if left is None else batch.take(left)
        self.forward(batch.rekeyed(keys, batch.values))


class MapOperator(FunctionOperator):
    def run(self, batch: Batch) -> None:
        pairs, left = self.call(self._pair, batch, batch.keys, batch.values)
        batch = batch if left is None else batch.take(left)
        self.forward(batch.rekeyed([key for key, _ in pairs], [value for _, value in pairs]))

    def _pair(self, key: Any, value: Any) -> tuple[Any, Any]:
        new_key, new_value = self.function(key, value)
        return new_key, new_value


class FlatMapOperator(FunctionOperator):
    def run(self, batch: Batch) -> None:
        parts, left = self.call(self._pairs, batch, batch.keys, batch.values)
        batch = batch if left is None else batch.take(left)
        rows = [row for row, pairs in enumerate(parts) for _pair in pairs]
        spread = batch.spread(rows, keeps_order=self.keeps_order)
        keys = [key for pairs in parts for key, _ in pairs]
        self.forward(spread.rekeyed(keys, [value for pairs in parts for _, value in pairs]))

    def _pairs(self, key: Any, value: Any) -> list[tuple[Any, Any]]:
        return [(new_key, new_value) for new_key, new_value in self.function(key, value)]


class FlatMapValuesOperator(FunctionOperator):
    def run(self, batch: Batch) -> None:
        parts, left = self.call(self._listed, batch, batch.values)
        batch = batch if left is None else batch.take(left)
        rows = [row for row, values in enumerate(parts) for _value in values]
        spread = batch.spread(rows, keeps_order=self.keeps_order)
        self.forward(spread.with_values([value for values in parts for value in values]))

    def _listed(self, value: Any) -> list[Any]:
        values: Iterable[Any] = self.function(value)
        return list(values)


class BranchOperator(Operator):
    """Hands each record to the child of the first predicate that holds."""

    def __init__(
        self, name: str, policy: Policy, predicates: tuple[Callable[[Any, Any], bool], ...]
    ) -> None:
        super().__init__(name, policy)
        self._predicates = predicates
        self.arms: dict[int, Operator] = {}

    def run(self, batch: Batch) -> None:
        places, left = self.call(self._place, batch, batch.keys, batch.values)
        rows = range(len(batch)) if left is None else left
        chosen: dict[int, list[int]] = {}
        for row, place in zip(rows, places, strict=True):
            chosen.setdefault(place, []).append(row)
        for index, arm in sorted(self.arms.items()):
            if index in chosen:
                arm.run(batch.take(chosen[index]))

    def _place(self, key: Any, value: Any) -> int:
        for index, predicate in enumerate(self._predicates):
            if predicate(key, value):
                return index
        return -1


class MergeOperator(Operator):
    """Puts the records of several branches back into the order of their source.

    At a commit, aggregations and punctuations pass on results of sources of their own, which have
    no order between them: those of one source leave together, sources in the order they came in.
    """

    def __init__(self, name: str, policy: Policy) -> None:
        super().__init__(name, policy)
        self._parts: list[Batch] = []

    def run(self, batch: Batch) -> None:
        self._parts.append(batch)

    def flush(self, stream_time_ms: int) -> None:
        self.end_of_batch()

    def end_of_batch(self) -> None:
        parts, self._parts = self._parts, []
        by_source: dict[int, list[Batch]] = {}
        for part in parts:
            by_source.setdefault(id(part.source), []).append(part)
        for same in by_source.values():
            self.forward(same[0] if len(same) == 1 else _in_order(same))

    def abort(self) -> None:
        self._parts = []


def _in_order(parts: list[Batch]) -> Batch:
    """One batch of all rows of one source, by its records; rows of one record in the order of the
    parts."""
    rows = sorted(
        (place, number, row)
        for number, part in enumerate(parts)
        for row, place in enumerate(part.places)
    )
    has_raw = all(part.raw_keys is not None for part in parts)
    # A dead letter made of a change is to have its value.
    has_payloads = all(part.payloads is not None for part in parts)
    # Without headers of their own, rows find those of their source record by the index.
    has_own = any(part.headers is not None for part in parts)
    return Batch(
        source=parts[0].source,
        values=[parts[number].values[row] for _, number, row in rows],
        timestamps=[parts[number].timestamps[row] for _, number, row in rows],
        index=[place[0] for place, _number, _row in rows],
        order=[place for place, _number, _row in rows],
        raw_keys=[parts[n].raw_keys[row] for _, n, row in rows] if has_raw else None,  # type: ignore[index]
        payloads=[parts[n].payloads[row] for _, n, row in rows] if has_payloads else None,  # type: ignore[index]
        headers=[parts[number].headers_at(row) for _, number, row in rows] if has_own else None,
        _keys=[parts[number].keys[row] for _, number, row in rows],
    )


_OPERATORS: dict[str, type[FunctionOperator]] = {
    "filter": FilterOperator,
    "flat_map": FlatMapOperator,
    "flat_map_values": FlatMapValuesOperator,
    "map": MapOperator,
    "map_values": MapValuesOperator,
    "peek": PeekOperator,
    "select_key": SelectKeyOperator,
    "table_view": ViewOperator,
}


def stateless(node: Stateless, policy: Policy) -> Operator:
    """The operator of a stateless node."""
    return _OPERATORS[node.operation](node.name, policy, node.function)
