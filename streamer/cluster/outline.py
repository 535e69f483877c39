"""An application's topology as the controller tells it, and a topology of what was told.

One that is made of a record has everything that a change of the layout goes by (names, kinds of
stores, windows, the order of it all) and none of the functions: nothing can be run with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

from streamer.control.outline import Outline, PartRecord, StoreRecord, WindowsRecord
from streamer.errors import TopologyError
from streamer.topology.declared import function_name
from streamer.topology.graph import (
    Aggregate,
    Node,
    Process,
    Sink,
    Source,
    Subtopology,
    TableUpdate,
    Topology,
)
from streamer.topology.interval import stands_alone
from streamer.topology.reach import reaches_windows
from streamer.topology.serde import Bytes
from streamer.topology.stores import StoreKind, StoreSpec
from streamer.topology.windows import HoppingWindows, SessionWindows, TumblingWindows, Windows

__all__ = ["is_elsewhere", "outline_of", "topology_of"]

_UNTYPED: Any = {"key": Bytes, "value": Bytes}


def outline_of(topology: Topology) -> Outline:
    return tuple(_part(one) for one in topology.subtopologies)


def topology_of(application: str, outline: Outline) -> Topology:
    """Of the same shape as the one that the outline was made of."""
    numbers = count()
    return Topology(
        application,
        tuple(
            Subtopology(number, tuple(_nodes(part, numbers))) for number, part in enumerate(outline)
        ),
    )


# -- told ------------------------------------------------------------------------------------------


def _part(one: Subtopology) -> PartRecord:
    return PartRecord(
        reads=tuple(t for source in one.sources if not source.is_internal for t in source.topics),
        placed=one.placed,
        own=tuple(t for source in one.sources if source.is_internal for t in source.topics),
        rekeys=tuple(sink.topic for sink in one.sinks if sink.is_internal),
        stores=tuple(_store(one, spec) for spec in one.stores),
    )


def _store(one: Subtopology, spec: StoreSpec) -> StoreRecord:
    filling = [node for node in one.nodes if spec in node.stores]
    made = next((node for node in filling if isinstance(node, Aggregate)), None)
    is_table = any(isinstance(node, TableUpdate) for node in filling)
    return StoreRecord(
        name=spec.name,
        kind=spec.kind.value,
        filled="aggregate" if made else "table" if is_table else "",
        used=any(isinstance(node, Process) for node in filling),
        windows=_windows(made.windows) if made and made.windows else None,
        emit=made.emit if made else "commit",
        partition_key=function_name(spec.partition_key) if spec.partition_key else "",
        reaches_windows=made is not None and reaches_windows(made, one),
        stands_alone=made is not None and stands_alone(made, one),
    )


def _windows(windows: Windows) -> WindowsRecord:
    if isinstance(windows, SessionWindows):
        return WindowsRecord(kind="session", size_ms=windows.gap_ms, grace_ms=windows.grace_ms)
    is_hopping = isinstance(windows, HoppingWindows)
    return WindowsRecord(
        kind="hopping" if is_hopping else "tumbling",
        size_ms=windows.size_ms,
        advance_ms=windows.advance_ms if is_hopping else 0,
        grace_ms=windows.grace_ms,
    )


# -- read again ------------------------------------------------------------------------------------


def _nodes(part: PartRecord, numbers: Iterator[int]) -> Iterator[Node]:
    for by in dict.fromkeys(part.placed.get(topic, "") for topic in part.reads):
        topics = tuple(topic for topic in part.reads if part.placed.get(topic, "") == by)
        yield Source(number=next(numbers), topics=topics, partitioner=by, **_UNTYPED)
    for topic in part.own:
        yield Source(number=next(numbers), topics=(topic,), is_internal=True, **_UNTYPED)
    reaching: list[Node] = []
    for store in part.stores:
        spec = _spec(store)
        if store.filled == "aggregate":
            made = Aggregate(
                number=next(numbers),
                parents=tuple(reaching) if store.windows else (),
                store=spec,
                aggregate={},
                value=Bytes,
                windows=_read(store.windows) if store.windows else None,
                emit=store.emit,
                stands_alone=store.stands_alone,
            )
            reaching += [made] if store.reaches_windows else []
            yield made
        elif store.filled == "table":
            yield TableUpdate(number=next(numbers), store=spec)
        if store.used:
            yield Process(number=next(numbers), processor=None, used=(spec,))
    for topic in part.rekeys:
        yield Sink(number=next(numbers), topic=topic, is_internal=True, **_UNTYPED)


def _spec(store: StoreRecord) -> StoreSpec:
    name = store.partition_key
    return StoreSpec(
        name=store.name,
        kind=StoreKind(store.kind),
        **_UNTYPED,
        partition_key=_Elsewhere(name) if name else None,
    )


def is_elsewhere(function: Callable[..., object]) -> bool:
    """Whether this is a function of the application of which only the name was told."""
    return isinstance(function, _Elsewhere)


class _Elsewhere:
    """A function by its name alone."""

    def __init__(self, name: str) -> None:
        self.__module__, _, self.__qualname__ = name.partition(":")

    def __call__(self, _key: object) -> object:
        raise TopologyError(
            f"{function_name(self)} is not known here",
            hint="run this where the application's code is",
        )


def _read(told: WindowsRecord) -> Windows:
    """Raises TopologyError for windows that cannot be."""
    size, grace = timedelta(milliseconds=told.size_ms), timedelta(milliseconds=told.grace_ms)
    if told.kind == "session":
        return SessionWindows(size, grace=grace)
    if told.kind == "hopping":
        return HoppingWindows(size, timedelta(milliseconds=told.advance_ms), grace=grace)
    return TumblingWindows(size, grace=grace)
