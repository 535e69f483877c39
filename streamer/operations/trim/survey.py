"""A look at all changelogs: what of each may go, what stays and for whom, and the request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streamer.errors import OperationRefusedError
from streamer.ids import TaskId, TopicPartition, is_changelog_of
from streamer.operations.trim.facts import Rules
from streamer.operations.trim.floors import Floor, floors_of
from streamer.operations.trim.request import PARTITIONS_MAX, Asked
from streamer.operations.trim.world import Tells, World

__all__ = ["Part", "Sizes", "Survey", "survey"]

Sizes = Callable[[Mapping[TopicPartition, tuple[int, int]]], Mapping[TopicPartition, int]]
"""About how many bytes these stretches of logs have; what cannot be told is left out."""

_LOST_MAX = 20


@dataclass(frozen=True, slots=True)
class Part:
    """One changelog partition. `to` is where it would begin, its start where nothing goes.
    `size` is about what goes in bytes, `freed` what goes of it in whole segments at the least; None
    where that is not known. `lost` are snapshots that are of no use then."""

    task: TaskId
    floor: Floor
    to: int
    size: int | None = 0
    freed: int | None = 0
    lost: tuple[str, ...] = ()

    @property
    def place(self) -> TopicPartition:
        return self.floor.place

    @property
    def records(self) -> int:
        return self.to - self.floor.log.start

    @property
    def is_capped(self) -> bool:
        """Whether more could go, in a later run."""
        return self.to < self.floor.position


@dataclass(frozen=True, slots=True)
class Survey:
    """All parts, and those of which nobody tells (`strangers`). `later` counts partitions that one
    plan has no room for; `scope` says what was asked for, "" for everything."""

    rules: Rules
    parts: tuple[Part, ...]
    strangers: tuple[TopicPartition, ...] = ()
    later: int = 0
    chosen: tuple[Part, ...] = field(default=())
    scope: str = ""

    def request(self) -> dict[str, Any]:
        """For `Executor.propose("trim", ...)`. Raises OperationRefusedError where nothing goes."""
        if not self.chosen:
            raise OperationRefusedError(
                "nothing can be trimmed", hint="streamer trim plan tells who holds each log back"
            )
        cut: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
        snapshots: dict[str, tuple[str, ...]] = {}
        lost: set[str] = set()
        for part in self.chosen:
            cut[str(part.task)][part.place.topic] = (part.floor.log.start, part.to)
            snapshots[str(part.task)] = part.floor.snapshots
            lost.update(stem.partition("-")[2][:12] for stem in part.lost)
        asked = Asked(
            cut=dict(cut),
            snapshots=snapshots,
            lost=tuple(sorted(lost)[:_LOST_MAX]),
            bytes=sum(part.size or 0 for part in self.chosen),
            freed=sum(part.freed or 0 for part in self.chosen),
            scope=self.scope,
        )
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(asked))
        return plain


def survey(
    world: World,
    *,
    stores: Collection[str] = (),
    partitions: Collection[int] = (),
    is_capped: bool = True,
    sizes: Sizes = lambda _stretches: {},
    tells: Tells = lambda _done, _total: None,
) -> Survey:
    """Look at these stores' and partitions' changelogs, or at all. Nothing is changed.

    Raises OperationRefusedError for a store that has no changelog, and a partition that none has.
    """
    seen = world.look(world.tasks(partitions), tells)
    floors = [
        (task, floor)
        for task in sorted(seen.logs)
        for floor in floors_of(task, seen, world.rules).values()
    ]
    known = {floor.place.topic for _task, floor in floors}
    wanted = {
        topic: store
        for store in stores
        for topic in known
        if is_changelog_of(topic, world.application, store)
    }
    if missing := sorted(set(stores) - set(wanted.values())):
        raise OperationRefusedError(
            f"no task tells of a changelog of {', '.join(missing)}",
            hint=f"changelogs are: {', '.join(sorted(known)) or 'none'}",
        )
    there = {floor.place.partition for _task, floor in floors}
    if absent := sorted(set(partitions) - there):
        raise OperationRefusedError(
            f"no changelog has a partition {', '.join(map(str, absent))}",
            hint="a plan without it has all that there are",
        )
    chosen = [
        (task, floor)
        for task, floor in floors
        if (not stores or floor.place.topic in wanted)
        and (not partitions or floor.place.partition in partitions)
    ]
    parts = _measured(chosen, world.rules, is_capped=is_capped, sizes=sizes)
    going = sorted((one for one in parts if one.records), key=lambda one: -one.records)
    strangers = () if stores or partitions else tuple(world.strangers(seen))
    return Survey(
        world.rules,
        tuple(sorted(parts, key=lambda one: one.place)),
        strangers,
        max(len(going) - PARTITIONS_MAX, 0),
        tuple(going[:PARTITIONS_MAX]),
        _scope(stores, partitions),
    )


def _scope(stores: Collection[str], partitions: Collection[int]) -> str:
    parts = [f"store {store}" for store in sorted(set(stores))]
    return ", ".join([*parts, *(f"partition {number}" for number in sorted(set(partitions)))])


def _measured(
    floors: Collection[tuple[TaskId, Floor]], rules: Rules, *, is_capped: bool, sizes: Sizes
) -> list[Part]:
    targets = {floor.place: floor.target(rules, is_capped=is_capped) for _task, floor in floors}
    stretches = {
        floor.place: (floor.log.start, targets[floor.place])
        for _task, floor in floors
        if targets[floor.place] > floor.log.start
    }
    found = sizes(stretches) if stretches else {}
    parts = []
    for task, floor in floors:
        to = targets[floor.place]
        if to <= floor.log.start:
            parts.append(Part(task, floor, floor.log.start))
            continue
        size = found.get(floor.place)
        freed = None if size is None else max(size - _segment_bytes(floor), 0)
        parts.append(Part(task, floor, to, size, freed, tuple(floor.lost(to))))
    return parts


def _segment_bytes(floor: Floor) -> int:
    """Files go as a whole: of what is cut, the last part stays in the file that it begins in."""
    return int(floor.log.settings.get("segment.bytes", 0))
