"""What lies in changelogs and in the repository: looked at seldom, since each look costs requests.

Brokers do not tell this client how large a log is, so some partitions of each changelog are weighed
(`operations/trim/sizes.py`) and the others taken to be alike. Of a task's snapshots the manifest of
the newest is read, once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from streamer.clock import Clock, SystemClock
from streamer.config import Config
from streamer.control.messages import StatusRecord
from streamer.errors import ConfigError, RepositoryError, SnapshotError, StreamerError
from streamer.ids import TaskId, TopicPartition, changelog_topic
from streamer.kafka.admin import Admin
from streamer.layout import ApplicationLayout
from streamer.operations.trim.sizes import sampled_sizes
from streamer.overview.seen import Seen
from streamer.snapshot.listing import readable
from streamer.snapshot.opening import open_repository
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import each
from streamer.snapshot.verified import verified

__all__ = ["Inventory", "SnapshotRow", "StoreRow", "Surveyor"]

# Of each changelog: state is spread over partitions by hash, so a few tell of all.
_WEIGHED = 8
_ASK_S = 20.0
# Some thousand tasks on S3. What is left then is looked at first the next time.
_SHELVES_MS = 120_000


class StoreRow(Struct, kw_only=True, omit_defaults=True):
    """One store and its changelog. `records` are offsets from the begin to the end, compacted ones
    included; `bytes` is about what they take, -1 where that is not known."""

    store: str
    topic: str
    kind: str = ""
    partitions: int = 0
    records: int = 0
    bytes: int = -1
    trouble: str = ""


class SnapshotRow(Struct, kw_only=True, omit_defaults=True):
    """The newest snapshot of a task, and how many there are. `level` is how it was verified."""

    task: str
    count: int = 0
    stem: str = ""
    created_ms: int = 0
    bytes: int = 0
    files: int = 0
    level: str = ""
    by: str = ""
    stores: dict[str, str] = {}
    trouble: str = ""

    @property
    def id(self) -> str:
        return self.stem.partition("-")[2]


class Inventory(Struct, kw_only=True, omit_defaults=True):
    """What was found at `looked_ms`. `is_complete` says that every task's snapshots were looked at.
    Without a `repository` none is set, and nothing is known of snapshots."""

    looked_ms: int
    repository: str = ""
    interval_ms: int = 0
    stores: tuple[StoreRow, ...] = ()
    tasks: tuple[SnapshotRow, ...] = ()
    is_complete: bool = False
    trouble: str = ""
    hint: str = ""


class Surveyor:
    """Looks, again and again, and remembers of snapshots what never changes. Used by one thread.
    Once `stopping` is set, a look ends early and says so."""

    def __init__(
        self, *, clock: Clock | None = None, stopping: threading.Event | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._stopping = stopping or threading.Event()
        self._known: dict[str, SnapshotRow] = {}
        self._layout = ApplicationLayout()

    def survey(self, config: Config, seen: Seen) -> Inventory:
        """Never raises a StreamerError: what cannot be looked at says so in its row."""
        stores = self._stores(config, seen)
        found = Inventory(
            looked_ms=self._clock.now_ms(),
            repository=config.snapshot_repository,
            interval_ms=config.snapshot_interval_ms,
            stores=tuple(stores),
        )
        if not config.snapshot_repository:
            return found
        try:
            with open_repository(config) as repository:
                self._look(repository, seen)
                found.is_complete = {row.task for row in self._known.values()} >= _tasks(seen)
        except (RepositoryError, SnapshotError, ConfigError) as error:
            found.trouble, found.hint = error.message, error.hint
        ordered = sorted(self._known.values(), key=lambda row: TaskId.parse(row.task))
        found.tasks = tuple(ordered)
        kinds = {store: kind for row in ordered for store, kind in row.stores.items()}
        for row in found.stores:
            row.kind = kinds.get(row.store, "")
        return found

    # -- changelogs ----------------------------------------------------------------------------

    def _stores(self, config: Config, seen: Seen) -> list[StoreRow]:
        numbers: dict[str, int] = {}
        for status in seen.statuses.values():
            numbers |= _stores_of(status)
        rows = [
            StoreRow(
                store=name,
                topic=changelog_topic(seen.application, name, seen.layout.since(numbers[name])),
            )
            for name in sorted(numbers)
        ]
        if not rows:
            return rows
        try:
            admin = Admin(config, timeout_s=_ASK_S, stopping=self._stopping)
            counts = admin.topics()
            stretches = _stretches(
                admin,
                [
                    TopicPartition(row.topic, number)
                    for row in rows
                    for number in range(counts.get(row.topic, 0))
                ],
            )
            weigh(rows, stretches, lambda chosen: sampled_sizes(config, chosen))
        except StreamerError as error:
            for row in rows:
                row.trouble = error.message
        return rows

    # -- snapshots -----------------------------------------------------------------------------

    def _look(self, repository: Repository, seen: Seen) -> None:
        if seen.layout != self._layout:
            # Snapshots of other shelves, under the same names.
            self._known, self._layout = {}, seen.layout
        shelves = [
            shelf
            for shelf in repository.shelves(seen.application)
            if shelf.layout == seen.layout.since(shelf.task.subtopology)
        ]
        on_shelves = {str(shelf.task) for shelf in shelves}
        # Tasks without a shelf never had a snapshot; those that are gone are forgotten.
        self._known = {
            task: self._known.get(task, SnapshotRow(task=task))
            for task in on_shelves | _tasks(seen)
            if task in self._known or task not in on_shelves
        }
        until_ms = self._clock.monotonic_ms() + _SHELVES_MS
        found: dict[str, SnapshotRow] = {}

        def look(shelf: Shelf) -> None:
            if self._stopping.is_set() or self._clock.monotonic_ms() > until_ms:
                return
            found[str(shelf.task)] = self._newest(shelf)

        # Those of which nothing is known come first.
        order = sorted(shelves, key=lambda shelf: (str(shelf.task) in self._known, shelf.task))
        each(order, look, parallel=repository.transfers.parallel)
        self._known |= found

    def _newest(self, shelf: Shelf) -> SnapshotRow:
        task = str(shelf.task)
        try:
            entries = shelf.entries()
            levels = verified(shelf)
            known = self._known.get(task)
            if entries and known is not None and known.stem == entries[-1].stem:
                level = levels.get(known.stem, "")
                return replace(known, count=len(entries), level=level, trouble="")
            manifest = next(readable(shelf), None)
        except (RepositoryError, SnapshotError) as error:
            return SnapshotRow(task=task, trouble=error.message)
        if manifest is None:
            return SnapshotRow(task=task)
        return SnapshotRow(
            task=task,
            count=len(entries),
            stem=manifest.stem,
            created_ms=manifest.created_ms,
            bytes=manifest.size,
            files=len(manifest.files),
            level=levels.get(manifest.stem, ""),
            by=manifest.created_by,
            stores=dict(manifest.stores),
        )


def weigh(
    rows: Sequence[StoreRow],
    stretches: Mapping[TopicPartition, tuple[int, int]],
    sizes: Callable[[Mapping[TopicPartition, tuple[int, int]]], Mapping[TopicPartition, int]],
) -> None:
    """Add partitions, records and about the bytes of each changelog to its row."""
    own = {row.topic: [one for one in stretches if one.topic == row.topic] for row in rows}
    chosen = {
        place: stretches[place]
        for places in own.values()
        for place in _some([one for one in places if _length(stretches[one])])
    }
    found = sizes(chosen) if chosen else {}
    for row in rows:
        places = own[row.topic]
        row.partitions = len(places)
        row.records = sum(_length(stretches[place]) for place in places)
        weighed = [place for place in places if place in found]
        offsets = sum(_length(stretches[place]) for place in weighed)
        if not row.records:
            row.bytes = 0
        elif offsets:
            row.bytes = sum(found[place] for place in weighed) * row.records // offsets
        if not places:
            row.trouble = f"the topic {row.topic} does not exist, or may not be seen"


def _stretches(
    admin: Admin, places: Sequence[TopicPartition]
) -> dict[TopicPartition, tuple[int, int]]:
    starts, ends = admin.starts(places), admin.ends(places)
    return {place: (starts[place], max(ends[place], starts[place])) for place in places}


def _some(places: Sequence[TopicPartition]) -> Iterable[TopicPartition]:
    """Evenly over all of them."""
    ordered = sorted(places)
    step = max(len(ordered) // _WEIGHED, 1)
    return ordered[::step][:_WEIGHED]


def _length(stretch: tuple[int, int]) -> int:
    return stretch[1] - stretch[0]


def _stores_of(status: StatusRecord) -> dict[str, int]:
    """The subtopology of each store that it tells of."""
    actives = ((task, report.durable) for task, report in status.tasks.items())
    copies = ((task, report.durable) for task, report in status.standbys.items())
    return {
        store: TaskId.parse(task).subtopology
        for task, durable in (*actives, *copies)
        for store in durable
    }


def _tasks(seen: Seen) -> set[str]:
    """Tasks that have state."""
    return {
        task
        for status in seen.statuses.values()
        for task, report in status.tasks.items()
        if report.durable
    }
