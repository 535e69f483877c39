"""Grouped streams: aggregation per key, plain or windowed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from streamer.errors import TopologyError
from streamer.topology.aggregates import BuiltIn, Fold, Reduce, built_in
from streamer.topology.calls import check_call
from streamer.topology.graph import Aggregate, Emit
from streamer.topology.results import check_fields, result_type
from streamer.topology.serde import Json, Serde, serde_of
from streamer.topology.stores import (
    Store,
    StoreKind,
    StoreSpec,
    WindowStore,
    check_size,
    given_store,
    milliseconds,
)
from streamer.topology.stream import Stream
from streamer.topology.table import Table
from streamer.topology.windows import HoppingWindows, SessionWindows, TumblingWindows, Windows

__all__ = ["GroupedStream", "WindowedStream"]

_log = logging.getLogger(__name__)
_EMITS = ("commit", "every", "final")


class GroupedStream:
    """A stream whose records of one key meet in one task. Made by `Stream.group_by_key`."""

    def __init__(self, stream: Stream, *, name: str | None) -> None:
        self._stream = stream
        self._name = name
        self._named: Stream | None = None

    def windowed_by(self, windows: Windows) -> WindowedStream:
        """Aggregate per key and window."""
        if not isinstance(windows, TumblingWindows | HoppingWindows | SessionWindows):
            raise TopologyError(
                f"{windows!r} is not a window",
                hint="use TumblingWindows, HoppingWindows or SessionWindows",
            )
        return WindowedStream(self, windows)

    def aggregate(
        self,
        initial: Callable[[], Any] | Mapping[str, BuiltIn],
        step: Callable[[Any, Any, Any], Any] | None = None,
        *,
        store: str | Store,
        value: Any = None,
        emit: Emit = "commit",
    ) -> Table:
        """Fold the records of each key: `step(key, value, aggregate) -> aggregate`, from
        `initial()`; or compute built-in aggregates given as data:
        `aggregate({"orders": Count(), "cents": Sum("amount")}, store="totals")`. A record whose
        field is missing, is no number to a Sum, or makes it infinite is a failing record.

        Returning None removes the key. `emit="commit"` (default) passes on each key's newest
        result once per commit, `emit="every"` every result.

        Raises TopologyError when a name is used twice or a type cannot be told.
        """
        return self._aggregate(_definition(initial, step), store=store, value=value, emit=emit)

    def reduce(
        self, step: Callable[[Any, Any], Any], *, store: str | Store, emit: Emit = "commit"
    ) -> Table:
        """Combine the values of each key: `step(aggregate, value)`; the first value starts it."""
        return self._aggregate(Reduce(step), store=store, value=None, emit=emit)

    def count(self, *, store: str | Store, emit: Emit = "commit") -> Table:
        """How many records each key has had, as an int."""
        fold = Fold(int, _count, merge=_add)
        return self._aggregate(fold, store=store, value=Json(int), emit=emit)

    def _aggregate(
        self,
        definition: Fold | Reduce | Mapping[str, BuiltIn],
        *,
        store: str | Store | WindowStore,
        value: Any,
        emit: Emit,
        windows: Windows | None = None,
        retention: timedelta | None = None,
    ) -> Table:
        given = given_store(store, windows=isinstance(windows, TumblingWindows | HoppingWindows))
        if isinstance(given, WindowStore):
            retention = _retention(given, windows, retention)
            given = given.without_times()
        _check_emit(emit, windows)
        if isinstance(definition, Reduce):
            check_call("reduce()", definition.step, "aggregate", "value")
        stream = self._co_located(given.name)
        if not isinstance(definition, Fold | Reduce):
            check_fields(definition, stream._value)
        serde = _value_serde(definition, value if value is not None else given.value, stream)
        _check_key(given, stream)
        spec = given.spec(key=stream._key, value=serde)
        if windows is not None:
            spec = _windowed_spec(spec, windows, retention)
        graph = stream._graph
        node = Aggregate(
            number=graph.next_number(),
            parents=(stream._node,),
            store=graph.claim_store(spec),
            aggregate=definition,
            value=serde,
            input=stream._value,
            windows=windows,
            emit=emit,
        )
        graph.add(node)
        return Table(graph, node, spec=spec)

    def _co_located(self, store: str) -> Stream:
        if self._stream._is_rekeyed:
            if self._name is None:
                return self._stream.repartition(store)
            # One topic of this name, for all stores that follow.
            self._named = self._named or self._stream.repartition(self._name)
            return self._named
        if self._stream._key is None:
            raise TopologyError(
                f"the key type of the stream before store {store!r} is not known",
                hint="a merge of streams has one key type where theirs are alike: give it before,"
                " as in select_key(function, key=str)",
            )
        return self._stream


class WindowedStream:
    """A grouped stream with windows. Made by `GroupedStream.windowed_by`."""

    def __init__(self, grouped: GroupedStream, windows: Windows) -> None:
        self._grouped = grouped
        self._windows = windows

    def aggregate(
        self,
        initial: Callable[[], Any] | Mapping[str, BuiltIn],
        step: Callable[[Any, Any, Any], Any] | None = None,
        *,
        store: str | Store | WindowStore,
        merge: Callable[[Any, Any, Any], Any] | None = None,
        value: Any = None,
        emit: Emit = "commit",
        retention: timedelta | None = None,
    ) -> Table:
        """As `GroupedStream.aggregate`, per window. Sessions need `merge(key, one, other)` with
        a function of the user's. `emit="final"` passes a result on once, when its window closed.

        `retention` is how long a window can still be queried after stream time passed its end;
        at least its grace, by default the window's size again.
        """
        definition = _definition(initial, step, merge)
        is_session = isinstance(self._windows, SessionWindows)
        if is_session and isinstance(definition, Fold) and definition.merge is None:
            raise TopologyError(
                "aggregating sessions needs merge=function(key, one, other)",
                hint="two sessions become one when a record falls between them",
            )
        return self._grouped._aggregate(
            definition,
            store=store,
            value=value,
            emit=emit,
            windows=self._windows,
            retention=retention,
        )

    def reduce(
        self,
        step: Callable[[Any, Any], Any],
        *,
        store: str | Store | WindowStore,
        emit: Emit = "commit",
        retention: timedelta | None = None,
    ) -> Table:
        return self._grouped._aggregate(
            Reduce(step),
            store=store,
            value=None,
            emit=emit,
            windows=self._windows,
            retention=retention,
        )

    def count(
        self,
        *,
        store: str | Store | WindowStore,
        emit: Emit = "commit",
        retention: timedelta | None = None,
    ) -> Table:
        return self._grouped._aggregate(
            Fold(int, _count, merge=_add),
            store=store,
            value=Json(int),
            emit=emit,
            windows=self._windows,
            retention=retention,
        )


def _count(_key: Any, _value: Any, count: int) -> int:
    return count + 1


def _add(_key: Any, one: int, other: int) -> int:
    return one + other


def _definition(
    initial: Callable[[], Any] | Mapping[str, BuiltIn],
    step: Callable[[Any, Any, Any], Any] | None,
    merge: Callable[[Any, Any, Any], Any] | None = None,
) -> Fold | Mapping[str, BuiltIn]:
    if isinstance(initial, Mapping):
        if step is not None or merge is not None:
            raise TopologyError("built-in aggregates take no function beside them")
        return built_in(initial)
    if not callable(initial):
        raise TopologyError(
            f"the initial aggregate must be made by a function or type, not {initial!r}",
            hint=f"write lambda: {initial!r}, or a class such as a dataclass with defaults",
        )
    if not callable(step):
        raise TopologyError(
            "aggregate() needs a function (key, value, aggregate) -> aggregate",
            hint='or built-in aggregates as data: {"orders": Count()}',
        )
    check_call("aggregate(initial=)", initial)
    check_call("aggregate()", step, "key", "value", "aggregate")
    if merge is not None:
        check_call("aggregate(merge=)", merge, "key", "one", "other")
    return Fold(initial, step, merge)


def _value_serde(
    definition: Fold | Reduce | Mapping[str, BuiltIn], given: Any, stream: Stream
) -> Serde[Any]:
    if given is not None:
        return serde_of(given)
    if isinstance(definition, Reduce):
        if stream._value is None:
            raise TopologyError(
                "the value type of the stream before reduce() is not known",
                hint="give it where it changes: map_values(function, value=Type)",
            )
        return stream._value
    if isinstance(definition, Fold):
        if isinstance(definition.initial, type):
            return Json(definition.initial)
        return Json(Any)
    return Json(result_type(definition, stream._value))


def _check_key(store: Store, stream: Stream) -> None:
    """Rows lie under the bytes of the record keys, so the store's key type can only be theirs."""
    if store.key is None or stream._key is None:
        return
    given = serde_of(store.key)
    if given.name != stream._key.name:
        raise TopologyError(
            f"store {store.name!r} has keys {given.name}, but the stream's keys are"
            f" {stream._key.name}",
            hint="leave key= out of the store, or change the stream's: select_key(..., key=...)",
        )


def _check_emit(emit: str, windows: Windows | None) -> None:
    if emit not in _EMITS:
        raise TopologyError(f"emit={emit!r} is not one of {', '.join(map(repr, _EMITS))}")
    if emit == "final" and windows is None:
        raise TopologyError('emit="final" needs windows', hint="call windowed_by(...) before")


def _retention(
    store: WindowStore, windows: Windows | None, given: timedelta | None
) -> timedelta | None:
    """That of the aggregation or of its store, which may not contradict each other."""
    assert isinstance(windows, TumblingWindows | HoppingWindows)
    check_size(store, windows.size_ms)
    if given is not None and store.retention not in (None, given):
        raise TopologyError(
            f"store {store.name!r} has retention={store.retention!r}, and its aggregation"
            f" {given!r}",
            hint="give it once: retention= of the aggregation",
        )
    return store.retention if given is None else given


def _windowed_spec(spec: StoreSpec, windows: Windows, retention: timedelta | None) -> StoreSpec:
    if spec.ttl_ms is not None:
        raise TopologyError(
            f"windowed store {spec.name!r} cannot have a ttl", hint="use retention=timedelta(...)"
        )
    length_ms = windows.gap_ms if isinstance(windows, SessionWindows) else windows.size_ms
    kept_ms = length_ms if retention is None else milliseconds(retention, "retention")
    asked_ms = kept_ms
    kept_ms = max(kept_ms, windows.grace_ms)
    if isinstance(windows, SessionWindows):
        # A session can grow as long as a record that touches it may still come: one gap behind the
        # last record that belongs to a session which is open for another gap and the grace.
        kept_ms = max(kept_ms, 2 * windows.gap_ms + windows.grace_ms)
    if retention is not None and kept_ms > asked_ms:
        _log.warning(
            "store %s: records may change a window for longer than its retention of %d ms:"
            " it is kept for %d ms",
            spec.name,
            asked_ms,
            kept_ms,
        )
    if isinstance(windows, SessionWindows):
        return replace(spec, kind=StoreKind.SESSION, retention_ms=kept_ms)
    return replace(
        spec,
        kind=StoreKind.WINDOW,
        retention_ms=kept_ms,
        window_size_ms=windows.size_ms,
        window_advance_ms=windows.advance_ms,
    )
