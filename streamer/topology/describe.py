"""A topology for people and programs: text, a Mermaid flowchart, or plain data for JSON.

All three show the same: what each subtopology reads, does, keeps and writes, and the internal
topics under the names that they have on the broker. Nothing here connects to anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streamer.ids import changelog_topic, repartition_topic
from streamer.topology.graph import (
    Aggregate,
    Arm,
    Join,
    Node,
    Process,
    Sink,
    Source,
    Subtopology,
    TableUpdate,
    Topology,
)
from streamer.topology.partitions import external_topics
from streamer.topology.stores import StoreSpec
from streamer.topology.windows import HoppingWindows, SessionWindows, Windows

__all__ = ["as_dict", "mermaid", "text"]

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms"))
_EMITS = {"commit": "per commit", "every": "every result", "final": "when a window closes"}


# -- plain data ----------------------------------------------------------------------------------


def as_dict(topology: Topology) -> dict[str, Any]:
    """Times in milliseconds, None where unlimited; topics under their names on the broker, those
    of the application as they are in layout 1."""
    read, written = external_topics(topology)
    name = topology.application_id
    return {
        "application_id": name,
        "topics": {
            "read": read,
            "written": written,
            "repartition": sorted(
                repartition_topic(name, topic) for topic in topology.internal_sources
            ),
            "changelogs": [changelog_topic(name, spec.name) for spec in topology.stores],
        },
        "subtopologies": [_subtopology(name, each) for each in topology.subtopologies],
    }


def _subtopology(application: str, subtopology: Subtopology) -> dict[str, Any]:
    return {
        "number": subtopology.number,
        "sources": [
            {
                "name": source.name,
                "topics": _topics(application, source),
                "key": source.key.name,
                "value": source.value.name,
                "is_internal": source.is_internal,
                "partitioner": source.partitioner,
            }
            for source in subtopology.sources
        ],
        "nodes": [
            {
                "name": node.name,
                "parents": [parent.name for parent in node.parents],
                "does": _does(node),
                "stores": [spec.name for spec in node.stores],
            }
            for node in subtopology.nodes
            if not isinstance(node, Source | Sink)
        ],
        "stores": [_store(application, spec) for spec in subtopology.stores],
        "sinks": [
            {
                "name": sink.name,
                "parents": [parent.name for parent in sink.parents],
                "topic": _topics(application, sink)[0],
                "key": sink.key.name,
                "value": sink.value.name,
                "is_internal": sink.is_internal,
                "has_partitioner": sink.partition is not None,
            }
            for sink in subtopology.sinks
        ],
    }


def _store(application: str, spec: StoreSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "kind": spec.kind.value,
        "key": spec.key.name,
        "value": spec.value.name,
        "changelog": changelog_topic(application, spec.name),
        "ttl_ms": spec.ttl_ms,
        "retention_ms": spec.retention_ms,
        "window_size_ms": spec.window_size_ms,
        "window_advance_ms": spec.window_advance_ms,
        "rocksdb": dict(spec.rocksdb),
    }


# -- text ----------------------------------------------------------------------------------------


def text(topology: Topology) -> str:
    """Aligned lines: each subtopology with its nodes in order and its stores."""
    application = topology.application_id
    lines = [f"application {application}"]
    for subtopology in topology.subtopologies:
        lines += ["", f"subtopology {subtopology.number}"]
        rows = [_line(application, node) for node in subtopology.nodes]
        rows += [
            (f"store {spec.name}", _kept(spec), f"in {changelog_topic(application, spec.name)}")
            for spec in subtopology.stores
        ]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines += [
            f"  {name:<{widths[0]}}  {does:<{widths[1]}}  {place}".rstrip()
            for name, does, place in rows
        ]
    return "\n".join(lines)


def _line(application: str, node: Node) -> tuple[str, str, str]:
    return node.name, _does(node, application), _origin(node)


def _origin(node: Node) -> str:
    return f"after {', '.join(parent.name for parent in node.parents)}" if node.parents else ""


def _does(node: Node, application: str = "") -> str:
    """What a node does, as half a sentence."""
    match node:
        case Source():
            topics = ", ".join(_topics(application, node))
            by = f", placed by {node.partitioner}" if node.partitioner else ""
            return f"reads {topics} ({node.key.name}: {node.value.name}{by})"
        case Sink():
            partition = ", own partitioner" if node.partition is not None else ""
            topic = _topics(application, node)[0]
            return f"writes {topic} ({node.key.name}: {node.value.name}{partition})"
        case Aggregate():
            by = "key" if node.windows is None else f"key and {_windows(node.windows)}"
            return f"updates {node.store.name} by {by}, passes on {_EMITS[node.emit]}"
        case TableUpdate():
            return f"keeps the newest value per key in {node.store.name}"
        case Join():
            others = "with or without" if node.is_left else "with"
            return f"joins {others} a row of {node.table.name}"
        case Process():
            used = ", ".join(spec.name for spec in node.used)
            return f"runs {_called(node.processor)}" + (f" with {used}" if used else "")
        case Arm():
            return f"takes what meets condition {node.index + 1}"
        case _:
            function = getattr(node, "function", None)
            return "" if function is None else _called(function)


def _called(function: Any) -> str:
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return "a lambda" if name.endswith("<lambda>") else name.rpartition("<locals>.")[2]


def _kept(spec: StoreSpec) -> str:
    kept = f"{spec.kind.value}, {spec.key.name}: {spec.value.name}"
    if spec.window_size_ms is not None:
        kept += f", windows of {_duration(spec.window_size_ms)}"
        if spec.window_advance_ms not in (None, spec.window_size_ms):
            kept += f" every {_duration(spec.window_advance_ms or 0)}"
    if spec.retention_ms is not None:
        kept += f", retention {_duration(spec.retention_ms)}"
    if spec.ttl_ms is not None:
        kept += f", ttl {_duration(spec.ttl_ms)}"
    return kept


def _windows(windows: Windows) -> str:
    grace = f", grace {_duration(windows.grace_ms)}" if windows.grace_ms else ""
    if isinstance(windows, SessionWindows):
        return f"sessions with a gap of {_duration(windows.gap_ms)}{grace}"
    every = ""
    if isinstance(windows, HoppingWindows):
        every = f" every {_duration(windows.advance_ms)}"
    return f"windows of {_duration(windows.size_ms)}{every}{grace}"


def _duration(duration_ms: int) -> str:
    """As people say it: 90 d, 1 h 30 min, 250 ms."""
    parts = []
    for size_ms, unit in _UNITS:
        count, duration_ms = divmod(duration_ms, size_ms)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0 ms"


def _topics(application: str, node: Source | Sink) -> list[str]:
    names = node.topics if isinstance(node, Source) else (node.topic,)
    if not node.is_internal:
        return list(names)
    return [repartition_topic(application, name) for name in names]


# -- Mermaid -------------------------------------------------------------------------------------


def mermaid(topology: Topology) -> str:
    """A flowchart: topics outside, one box per subtopology, stores as cylinders."""
    lines = ["flowchart TD", *_topic_boxes(topology)]
    for subtopology in topology.subtopologies:
        lines += [f'  subgraph sub{subtopology.number}["subtopology {subtopology.number}"]']
        lines += [f"    {line}" for line in _boxes(subtopology)]
        lines += ["  end"]
    return "\n".join([*lines, *_topic_arrows(topology)])


def _topic_boxes(topology: Topology) -> Iterator[str]:
    for topic, number in _numbered_topics(topology).items():
        yield f'  t{number}(["{_escaped(topic)}"])'


def _boxes(subtopology: Subtopology) -> Iterator[str]:
    for node in subtopology.nodes:
        yield f'n{node.number}["{_escaped(node.name)}"]'
    stores = {spec.name: f"s{subtopology.number}_{i}" for i, spec in enumerate(subtopology.stores)}
    for spec in subtopology.stores:
        yield f'{stores[spec.name]}[("{_escaped(spec.name)}<br>{spec.kind.value}")]'
    for node in subtopology.nodes:
        for parent in node.parents:
            yield f"n{parent.number} --> n{node.number}"
        for spec in node.stores:
            yield f"n{node.number} --- {stores[spec.name]}"


def _topic_arrows(topology: Topology) -> Iterator[str]:
    numbers = _numbered_topics(topology)
    for subtopology in topology.subtopologies:
        for source in subtopology.sources:
            for topic in _topics(topology.application_id, source):
                yield f"  t{numbers[topic]} --> n{source.number}"
        for sink in subtopology.sinks:
            (topic,) = _topics(topology.application_id, sink)
            yield f"  n{sink.number} --> t{numbers[topic]}"


def _numbered_topics(topology: Topology) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for subtopology in topology.subtopologies:
        ends: list[Source | Sink] = [*subtopology.sources, *subtopology.sinks]
        for node in ends:
            for topic in _topics(topology.application_id, node):
                numbers.setdefault(topic, len(numbers))
    return numbers


def _escaped(label: str) -> str:
    return label.replace('"', "&quot;")
