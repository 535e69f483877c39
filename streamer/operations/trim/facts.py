"""What is known of a task's changelogs, of its copies and of its snapshots, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamer.ids import TaskId, TopicPartition
from streamer.snapshot.verified import Level

__all__ = ["Cluster", "Copy", "Keeper", "Log", "Rules", "Seen", "ShelfSeen", "Snapshot", "Unknown"]

Role = Literal["active", "standby"]


@dataclass(frozen=True, slots=True)
class Rules:
    """`snapshots_min` verified snapshots, found whole to `level` at least, must lie above what
    goes; of a log at most `percent_max` goes at a time."""

    snapshots_min: int = 2
    level: Level = "contents"
    percent_max: int = 50


@dataclass(frozen=True, slots=True)
class Log:
    """A changelog partition: its first offset, its end, and its topic's settings, empty where they
    may not be read."""

    start: int
    end: int
    topic_id: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unknown:
    """What is not known, why, since when, and what would end that."""

    owner: str
    reason: str
    frees: str
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """One disk with a task's state. `positions` are what a restart there would go on from, by
    changelog; one that is left out is not known. `is_gone`: its worker is known to be dead."""

    worker: str
    role: Role
    state: str
    positions: Mapping[TopicPartition, int]
    at_ms: int
    is_gone: bool = False

    def __str__(self) -> str:
        return f"worker {self.worker} ({'gone, ' * self.is_gone}{self.role})"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Who has a copy of which task, and what of that is not known: of one task, or of all."""

    copies: Mapping[TaskId, tuple[Copy, ...]] = field(default_factory=dict)
    unknown: Mapping[TaskId, tuple[Unknown, ...]] = field(default_factory=dict)
    unknown_of_all: tuple[Unknown, ...] = ()


@dataclass(frozen=True, slots=True)
class Keeper:
    """Who keeps a snapshot from going: a restore that reads it, or somebody's hold."""

    owner: str
    reason: str
    frees: str
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot of a task. `level` is what was verified of it, empty for nothing; `age_ms` is
    the greater of what the repository's clock and this host's say; `problem` says why its manifest
    cannot be read, and then nothing else is known."""

    stem: str
    positions: Mapping[TopicPartition, int] = field(default_factory=dict)
    topic_ids: Mapping[TopicPartition, str] = field(default_factory=dict)
    level: Level | Literal[""] = ""
    age_ms: int = 0
    created_ms: int = 0
    is_condemned: bool = False
    keepers: tuple[Keeper, ...] = ()
    problem: str = ""

    @property
    def id(self) -> str:
        """The first letters of its id, as they are shown."""
        return self.stem.partition("-")[2][:12]


@dataclass(frozen=True, slots=True)
class ShelfSeen:
    """The snapshots of a task in the order of their commits, or why they are not known."""

    snapshots: tuple[Snapshot, ...] = ()
    unknown: Unknown | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """All of it, for some tasks. `busy` are operations and orders at work, by task."""

    logs: Mapping[TaskId, Mapping[TopicPartition, Log]]
    cluster: Cluster
    shelves: Mapping[TaskId, ShelfSeen]
    busy: Mapping[TaskId, tuple[Unknown, ...]] = field(default_factory=dict)
