"""Snapshots with which feeds begin, where a changelog does not reach back to its begin: which ones,
and their rows.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack

from msgspec import Struct

from streamer.changelog.format import Positions
from streamer.changelog.topics import changelog_settings
from streamer.closable import Closable
from streamer.config import Config
from streamer.control.numbers import Whole
from streamer.errors import (
    OperationRefusedError,
    SnapshotDamagedError,
    SnapshotMismatchError,
    StoppedError,
)
from streamer.feed.plan import FeedPlan
from streamer.ids import Layout, TaskId, TopicPartition
from streamer.kafka.changelog import Bounds
from streamer.restore.scratch import scratch
from streamer.restore.usable import check_usable
from streamer.snapshot.fetch import fetch
from streamer.snapshot.listing import readable, stored_times
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.opening import open_repository
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Progress
from streamer.store.reading import Block, StoredDatabase
from streamer.store.schema import family_name

__all__ = ["SeedRecord", "SnapshotSeed", "choose_seeds"]


class SeedRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A snapshot, as a request names it. `positions` are by store."""

    repository: str
    layout: Whole
    stem: str
    positions: dict[str, Whole]
    as_of_ms: Whole
    bytes: Whole


def choose_seeds(
    config: Config,
    plans: Collection[FeedPlan],
    bounds: Mapping[TopicPartition, Bounds],
    *,
    now_ms: int,
    kept_ms: int,
) -> dict[str, SeedRecord]:
    """For each old task of whose changelogs one does not begin at 0, the newest snapshot with which
    its feed can begin. Changelogs keep the record of a removal for `kept_ms`.

    Raises OperationRefusedError where there is none, RepositoryError.
    """
    cut = [
        (plan, task)
        for plan in plans
        for task in plan.tasks
        if any(bounds[place].start > 0 for place in _places(plan, task).values())
    ]
    if not cut:
        return {}
    if not config.snapshot_repository:
        _plan, task = cut[0]
        raise OperationRefusedError(
            f"changelogs of {len(cut)} tasks were trimmed, such as those of {task}, and no"
            " snapshot_repository is set",
            hint="name the repository of the workers' snapshots: --set snapshot_repository=...",
        )
    with open_repository(config, config.snapshot_repository) as repository:
        return {
            str(task): _chosen(
                repository, plan, task, bounds=bounds, now_ms=now_ms, kept_ms=kept_ms
            )
            for plan, task in cut
        }


def _chosen(
    repository: Repository,
    plan: FeedPlan,
    task: TaskId,
    *,
    bounds: Mapping[TopicPartition, Bounds],
    now_ms: int,
    kept_ms: int,
) -> SeedRecord:
    places = _places(plan, task)
    kinds = {one.name: one.kind.value for one in plan.stores}
    own = {place: bounds[place] for place in places.values()}
    why = "there is none"
    for shelf in repository.shelves(plan.application):
        if (shelf.task, shelf.layout) != (task, plan.source.layout):
            continue
        stored_ms = stored_times(repository, shelf, now_ms)
        for manifest in readable(shelf):
            made_ms = min(manifest.created_ms, stored_ms.get(manifest.stem, 0))
            try:
                check_usable(
                    manifest, own, kinds=kinds, oldest_ms=now_ms - kept_ms, stored_ms=made_ms
                )
            except SnapshotMismatchError as error:
                why = str(error)
                continue
            return SeedRecord(
                repository=repository.address,
                layout=plan.source.layout,
                stem=manifest.stem,
                positions=_positions(manifest, places),
                as_of_ms=made_ms,
                bytes=sum(file.size for file in manifest.files),
            )
    raise OperationRefusedError(
        f"the changelogs of task {task} were trimmed, and no snapshot in {repository.address}"
        f" reaches on to where they begin: {why}",
        hint=f"make one: streamer snapshot create --task {task}",
    )


def _places(plan: FeedPlan, task: TaskId) -> dict[str, TopicPartition]:
    return {one.name: TopicPartition(one.source, task.partition) for one in plan.stores}


def _positions(manifest: Manifest, places: Mapping[str, TopicPartition]) -> dict[str, int]:
    """Of the stores that it has."""
    known = {TopicPartition(one.topic, one.partition): one.position for one in manifest.changelog}
    return {store: known[place] for store, place in places.items() if place in known}


class SnapshotSeed(Closable):
    """A `Seed`: fetched when its rows are asked for, to a directory that goes when it is closed.
    Closed by another thread than the feed's it ends what is under way there, and may be asked
    again."""

    def __init__(
        self, config: Config, task: TaskId, record: SeedRecord, *, application: str
    ) -> None:
        self._config = config
        self._application = application
        self._task = task
        self._record = record
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._database: StoredDatabase | None = None
        self._open = ExitStack()

    @property
    def positions(self) -> Mapping[str, int]:
        return self._record.positions

    @property
    def as_of_ms(self) -> int:
        return self._record.as_of_ms

    def inside(self) -> Positions:
        """Where it stands, as the snapshot itself has it. Raises as `blocks` does."""
        with self._lock:
            return Positions.decode(self._fetched_once().metadata)

    def blocks(self, store: str) -> Iterator[Block]:
        """Raises OperationRefusedError where the snapshot is gone, SnapshotError for one that
        cannot be read or was made wrong, RepositoryError, and StoppedError once it was closed."""
        with self._lock:
            database = self._fetched_once()
            rows = database.blocks(family_name(store))
        while True:
            with self._lock:
                if self._database is not database:
                    raise StoppedError(f"the snapshot of task {self._task} was closed")
                block = next(rows, None)
            if block is None:
                return
            yield block

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            self._database = None
            self._open.close()

    def _fetched_once(self) -> StoredDatabase:
        self._closing.clear()
        if self._database is None:
            self._database = self._fetched()
        return self._database

    def _heard(self, _progress: Progress) -> None:
        if self._closing.is_set():
            raise StoppedError(f"the snapshot of task {self._task} is not needed any more")

    def _fetched(self) -> StoredDatabase:
        record = self._record
        with ExitStack() as made:
            repository = made.enter_context(open_repository(self._config, record.repository))
            shelf = self._shelf(repository)
            staging = made.enter_context(scratch()) / str(self._task)
            fetched = fetch(repository, shelf, record.stem, staging=staging, report=self._heard)
            database = made.enter_context(StoredDatabase(fetched.directory))
            self._check(str(fetched.manifest), Positions.decode(database.metadata))
            self._open = made.pop_all()
        return database

    def _shelf(self, repository: Repository) -> Shelf:
        for shelf in repository.shelves(self._application):
            is_own = (shelf.task, shelf.layout) == (self._task, Layout(self._record.layout))
            if is_own and any(entry.stem == self._record.stem for entry in shelf.entries()):
                return shelf
        raise OperationRefusedError(
            f"the snapshot {self._record.stem} of task {self._task} is not in"
            f" {self._record.repository} any more",
            hint="it was pruned since this was planned: cancel the operation and plan it anew",
        )

    def _check(self, what: str, inside: Positions) -> None:
        """It stands where its manifest says, and the state in it is as young."""
        for store, at in self._record.positions.items():
            # Of a store that nothing was written to, nothing is noted.
            found = inside.changelogs.get(store, 0)
            if found != at:
                raise SnapshotDamagedError(
                    f"{what} says that {store} stands at {at}, and inside it stands at {found}",
                    hint="it was made wrong: cancel the operation, make a new one, and plan anew",
                )
        kept_ms = int(changelog_settings(self._config)["delete.retention.ms"])
        late_ms = self._record.as_of_ms - inside.as_of_ms - kept_ms
        if inside.as_of_ms >= 0 and late_ms > 0:
            raise SnapshotDamagedError(
                f"{what} has a state that was {kept_ms + late_ms} ms old when it was made: rows"
                " removed since may have left the changelog, and would come back",
                hint="cancel the operation, make a new one, and plan anew",
            )
