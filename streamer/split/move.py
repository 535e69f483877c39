"""`Move`: what is split into what, the same for every unit of one operation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from streamer.errors import OperationRefusedError
from streamer.ids import Layout, check_application_id
from streamer.split.homes import Homes
from streamer.topology.declared import function_name
from streamer.topology.graph import Aggregate, Subtopology, Topology
from streamer.topology.stores import StoreSpec
from streamer.topology.windows import SessionWindows

__all__ = ["Move", "MoveRecord", "Side", "checked_text", "closed_before", "closing_lags"]

TEXT_MAX = 300
Text = Annotated[str, Meta(max_length=TEXT_MAX)]
Count = Annotated[int, Meta(ge=1, le=10**6)]


class Side(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A layout, in a record."""

    layout: Count
    tasks: Count
    partitions: Count
    partitioner: Text


class MoveRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a unit was made for; another move has no use for it."""

    operation: Text
    application: Text
    subtopology: Annotated[int, Meta(ge=0, le=10**6)]
    source: Side
    target: Side
    # By store with final results: how long before its stream time a window or session has closed.
    closing_lags: dict[Text, Annotated[int, Meta(ge=0)]]
    changelog_position: Annotated[int, Meta(ge=0)]
    # The functions that name them, by store.
    partition_keys: dict[Text, Text]


@dataclass(frozen=True, slots=True)
class Move:
    """From the tasks of one layout to those of the next, for one subtopology.

    `specs` are its stores; where they have partition keys, with serdes that are bound. `rocksdb`
    are the worker's RocksDB options, `closing_lags` those of the stores with final results.
    `changelog_position` is where the new state stands in the changelogs of its layout: above 0,
    with nothing before it there, an empty database is never taken for the begin of a whole one
    (docs/decisions/0030).
    """

    operation: str
    application: str
    subtopology: int
    source_layout: Layout
    source: Homes
    target_layout: Layout
    target: Homes
    specs: Sequence[StoreSpec] = ()
    rocksdb: Mapping[str, Any] = field(default_factory=dict)
    closing_lags: Mapping[str, int] = field(default_factory=dict)
    changelog_position: int = 0

    def __post_init__(self) -> None:
        check_application_id(self.application)
        checked_text(self.operation)
        for homes in (self.source, self.target):
            checked_text(homes.name)

    @classmethod
    def of(cls, topology: Topology, number: int, **more: Any) -> Move:
        """The move of a subtopology, its stores and their lags; `more` are the other fields."""
        subtopology = topology.subtopologies[number]
        return cls(
            application=topology.application_id,
            subtopology=number,
            specs=tuple(subtopology.stores),
            closing_lags=closing_lags(subtopology),
            **more,
        )

    @property
    def salt(self) -> bytes:
        """Of the fingerprints: those of two operations are not to be compared."""
        return hashlib.sha256(f"{self.application} {self.operation}".encode()).digest()[:16]

    @property
    def record(self) -> MoveRecord:
        return MoveRecord(
            operation=self.operation,
            application=self.application,
            subtopology=self.subtopology,
            source=_side(self.source_layout, self.source),
            target=_side(self.target_layout, self.target),
            closing_lags=dict(self.closing_lags),
            changelog_position=self.changelog_position,
            partition_keys={
                spec.name: function_name(spec.partition_key)
                for spec in self.specs
                if spec.partition_key is not None
            },
        )


def checked_text(text: str) -> str:
    """A text that a record can hold. Raises OperationRefusedError for a longer one."""
    if len(text) > TEXT_MAX:
        raise OperationRefusedError(
            f"{text[:40]}... is too long for a record, which holds {TEXT_MAX} characters",
            hint="give a shorter name",
        )
    return text


def _side(layout: Layout, homes: Homes) -> Side:
    return Side(layout, homes.tasks, homes.partitions, homes.name)


def closing_lags(subtopology: Subtopology) -> dict[str, int]:
    """Of each store with final results: what has closed when stream time is T are the windows that
    start, or the sessions that end, before T less this; as `engine` decides it."""
    found = {}
    for node in subtopology.nodes:
        if not isinstance(node, Aggregate) or node.windows is None or node.emit != "final":
            continue
        windows = node.windows
        if isinstance(windows, SessionWindows):
            found[node.store.name] = windows.gap_ms + windows.grace_ms
        else:
            found[node.store.name] = windows.size_ms + windows.grace_ms - 1
    return found


def closed_before(time_ms: int, lag_ms: int) -> int:
    """Rows whose time is below this have closed."""
    return max(time_ms - lag_ms, 0)
