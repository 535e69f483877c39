"""Streamer: stateful stream processing on Apache Kafka, exactly once, with state in RocksDB.

    from streamer import App, Count, Sum, TumblingWindows

Names are loaded when they are first used, and no client library is loaded by any of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.engine.context import ProcessContext
    from streamer.errors import (
        ConfigError,
        ProcessingError,
        SerdeError,
        StreamerError,
        TopologyError,
        UsageError,
    )
    from streamer.record import Record
    from streamer.topology.aggregates import Count, First, Last, Max, Min, Sum
    from streamer.topology.app import App
    from streamer.topology.grouped import GroupedStream, WindowedStream
    from streamer.topology.serde import Serde
    from streamer.topology.stores import Store, WindowStore
    from streamer.topology.stream import Stream
    from streamer.topology.table import Table
    from streamer.topology.windows import (
        HoppingWindows,
        SessionWindows,
        TumblingWindows,
        Windowed,
    )

__all__ = [
    "App",
    "ConfigError",
    "Count",
    "First",
    "GroupedStream",
    "HoppingWindows",
    "Last",
    "Max",
    "Min",
    "ProcessContext",
    "ProcessingError",
    "Record",
    "Serde",
    "SerdeError",
    "SessionWindows",
    "Store",
    "Stream",
    "StreamerError",
    "Sum",
    "Table",
    "TopologyError",
    "TumblingWindows",
    "UsageError",
    "WindowStore",
    "Windowed",
    "WindowedStream",
]

_PLACES = {
    "App": "topology.app",
    "ConfigError": "errors",
    "Count": "topology.aggregates",
    "First": "topology.aggregates",
    "GroupedStream": "topology.grouped",
    "HoppingWindows": "topology.windows",
    "Last": "topology.aggregates",
    "Max": "topology.aggregates",
    "Min": "topology.aggregates",
    "ProcessContext": "engine.context",
    "ProcessingError": "errors",
    "Record": "record",
    "Serde": "topology.serde",
    "SerdeError": "errors",
    "SessionWindows": "topology.windows",
    "Store": "topology.stores",
    "Stream": "topology.stream",
    "StreamerError": "errors",
    "Sum": "topology.aggregates",
    "Table": "topology.table",
    "TopologyError": "errors",
    "TumblingWindows": "topology.windows",
    "UsageError": "errors",
    "WindowStore": "topology.stores",
    "Windowed": "topology.windows",
    "WindowedStream": "topology.grouped",
}


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{place}"), name)
    globals()[name] = found
    return found
