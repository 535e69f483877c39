"""One bootstrap: look for the soonest way, fetch, look at what was fetched; in a thread of its own.

    WAITING -> LOOKING -> FETCHING -> READY      a snapshot lies in the staging directory
                  |          |-----> FAILED
                  +-----------------> CHOSEN     another way is sooner
    any of them -> CANCELLED

It touches nothing but the staging directory beside the database, whose files it borrows while the
database may be open. What was fetched stays there when it is cut, and the next one goes on with it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Protocol

from streamer.changelog.format import Positions
from streamer.clock import Clock
from streamer.errors import (
    RepositoryError,
    SnapshotDamagedError,
    SnapshotError,
    SnapshotMissingError,
    StoppedError,
    StreamerError,
    TaskCorruptedError,
)
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.changelog import Bounds
from streamer.restore.choice import Choice, Facts, Offer, Rates, choose
from streamer.restore.usable import check_inside, check_usable, left_offsets
from streamer.snapshot.adopt import staging_of
from streamer.snapshot.fetch import Fetched
from streamer.snapshot.listing import stored_times
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.newest import fetch_newest
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Progress

__all__ = ["Bootstrap", "Phase", "Surroundings", "Wanted"]

_log = logging.getLogger(__name__)

# A trim that goes on while one is fetched makes the next newer one the base; never for ever.
ATTEMPTS = 3


class Phase(Enum):
    WAITING = "waiting"
    LOOKING = "looking"
    FETCHING = "fetching"
    READY = "ready"
    CHOSEN = "chosen"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A state that is to be made. `target` is where its database is or will be; `local_offsets`
    are those to read after what is there, None where that does not count.

    `source` is `auto`, `changelog`, or what comes from a repository alone; `repository` is its
    address, that of the settings where it is empty.
    """

    task: TaskId
    target: Path
    changelogs: Mapping[str, TopicPartition]
    kinds: Mapping[str, str]
    local_offsets: int | None
    source: str = "auto"
    repository: str = ""
    operation: str = ""


class Surroundings(Protocol):
    """What a bootstrap needs of the outside; called by several threads."""

    @property
    def clock(self) -> Clock: ...

    @property
    def rates(self) -> Rates: ...

    @property
    def delete_retention_ms(self) -> int: ...

    def bounds(self, places: list[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        """As they are now. Raises KafkaUnavailableError, TopicMissingError."""

    def shelf(self, address: str, task: TaskId) -> tuple[Repository, Shelf]:
        """Where snapshots of a task are. Raises ConfigError, RepositoryError."""

    def positions(self, task: TaskId, directory: Path) -> Positions:
        """What a database that nobody has open holds. Raises what opening one does."""


@dataclass(slots=True, eq=False)
class Bootstrap:
    """Run by one thread; others read its phase and progress, and may cancel it."""

    wanted: Wanted
    around: Surroundings
    phase: Phase = Phase.WAITING
    progress: Progress = field(default_factory=Progress)
    began_ms: int = 0
    choice: Choice | None = None
    fetched: Fetched | None = None
    error: StreamerError | None = None
    source: str = ""
    # What is still to be read while it waits, which falls.
    left_offsets: int | None = None
    _stored_ms: dict[str, int] = field(default_factory=dict)
    _is_cancelled: bool = False

    def cancel(self) -> None:
        """Stop soon; what was fetched is kept."""
        self._is_cancelled = True

    @property
    def is_cancelled(self) -> bool:
        return self._is_cancelled

    @property
    def is_fetching(self) -> bool:
        """Whether it has decided to fetch a snapshot, or has it."""
        return self.phase in (Phase.FETCHING, Phase.READY)

    def run(self) -> None:
        """Go to the end. Never raises: what went wrong is in `error`."""
        try:
            self._check()
            self._run()
        except StoppedError:
            self.phase = Phase.CANCELLED
        except StreamerError as error:
            self._fail(error)
        except Exception as error:
            # Nobody else would notice: the task would wait for ever.
            _log.exception("task %s: the bootstrap failed", self.wanted.task)
            self._fail(SnapshotError(f"{type(error).__name__}: {error}", hint="see the log"))

    def _fail(self, error: StreamerError) -> None:
        self.error, self.phase = error, Phase.FAILED

    def _run(self) -> None:
        wanted, around = self.wanted, self.around
        self.began_ms = around.clock.monotonic_ms()
        self.phase = Phase.LOOKING
        bounds = self._bounds()
        whole = sum(one.end - one.start for one in bounds.values())
        is_cut = any(one.start > 0 for one in bounds.values())
        local = wanted.local_offsets if self.left_offsets is None else self.left_offsets
        facts = Facts(
            local_offsets=local,
            whole_offsets=None if is_cut or wanted.source not in ("auto", "changelog") else whole,
            offer=None,
        )
        refused: SnapshotError | RepositoryError | None = None
        if wanted.source != "changelog":
            try:
                facts = self._with_offer(facts, bounds)
            except (SnapshotError, RepositoryError) as error:
                refused = error
                _log.warning("task %s: no snapshot is at hand: %s", wanted.task, error)
        self.choice = choose(facts, around.rates)
        self._check()
        if self.choice is None:
            raise self._no_way(bounds, refused)
        if self.choice.way.fetches:
            self._fetch()
        else:
            self.phase = Phase.CHOSEN

    def _no_way(
        self,
        bounds: Mapping[TopicPartition, Bounds],
        refused: SnapshotError | RepositoryError | None,
    ) -> StreamerError:
        if isinstance(refused, RepositoryError):
            return refused
        cut = next(
            (f"{place} begins at {one.start}" for place, one in bounds.items() if one.start),
            "the changelogs were not to be used",
        )
        why = refused.message if refused is not None else "no snapshot was to be used"
        return SnapshotMissingError(
            f"task {self.wanted.task} can be made anew neither from its changelogs ({cut}) nor from"
            f" a snapshot: {why}",
            hint="make a snapshot of the task where it is whole, or bring back a repository with"
            " one that reaches the changelog's begin, and start again. Nothing was changed",
        )

    # -- looking ---------------------------------------------------------------------------------

    def _bounds(self) -> Mapping[TopicPartition, Bounds]:
        return self.around.bounds(list(self.wanted.changelogs.values()))

    def _oldest_ms(self) -> int:
        return self.around.clock.now_ms() - self.around.delete_retention_ms

    def _with_offer(self, facts: Facts, bounds: Mapping[TopicPartition, Bounds]) -> Facts:
        repository, shelf = self.around.shelf(self.wanted.repository, self.wanted.task)
        self.source = repository.address
        self._stored_ms = stored_times(repository, shelf, self.around.clock.now_ms())
        manifest = self._newest(shelf, bounds)
        offer = Offer(
            manifest.stem,
            manifest.size,
            _reusable_bytes(manifest, self.wanted.target),
            left_offsets(manifest, bounds),
        )
        return replace(facts, offer=offer)

    def _newest(self, shelf: Shelf, bounds: Mapping[TopicPartition, Bounds]) -> Manifest:
        reasons = []
        for entry in reversed(shelf.entries()):
            self._check()
            try:
                manifest = shelf.manifest(entry.stem)
                if manifest is not None:
                    self._usable(manifest, bounds)
                    return manifest
            except SnapshotError as error:
                reasons.append(f"\n  {entry.stem}: {error}")
        raise SnapshotMissingError(
            f"{shelf.backend.address}: {shelf} has no snapshot that can be restored from"
            + "".join(reasons)
        )

    def _usable(self, manifest: Manifest, bounds: Mapping[TopicPartition, Bounds]) -> None:
        check_usable(
            manifest,
            bounds,
            kinds=self.wanted.kinds,
            oldest_ms=self._oldest_ms(),
            stored_ms=self._stored(manifest),
        )

    def _stored(self, manifest: Manifest) -> int:
        """One that came since it was looked for is new."""
        return self._stored_ms.get(manifest.stem, self.around.clock.now_ms())

    # -- fetching --------------------------------------------------------------------------------

    def _fetch(self) -> None:
        wanted = self.wanted
        repository, shelf = self.around.shelf(wanted.repository, wanted.task)
        self.phase = Phase.FETCHING
        rejected: dict[str, SnapshotError] = {}
        for _attempt in range(ATTEMPTS):
            bounds = self._bounds()

            def check(manifest: Manifest, bounds: Mapping[TopicPartition, Bounds] = bounds) -> None:
                self._check()
                if manifest.stem in rejected:
                    raise rejected[manifest.stem]
                self._usable(manifest, bounds)

            fetched = fetch_newest(
                repository,
                shelf,
                staging=staging_of(wanted.target),
                check=check,
                # The staging directory is looked at anyway.
                reuse=[wanted.target],
                report=self._report,
            )
            try:
                self._look_inside(fetched)
            except SnapshotError as error:
                if type(error) is SnapshotError:
                    raise
                _log.warning("task %s: %s is not taken: %s", wanted.task, fetched.manifest, error)
                rejected[fetched.manifest.stem] = error
                continue
            self.fetched = fetched
            self.phase = Phase.READY
            return
        raise next(iter(rejected.values()))

    def _look_inside(self, fetched: Fetched) -> None:
        """Raise SnapshotError for a database that does not open, or stands where it must not."""
        wanted, manifest = self.wanted, fetched.manifest
        self._check()
        try:
            positions = self.around.positions(wanted.task, fetched.directory)
        except SnapshotError:
            raise
        except StreamerError as error:
            # Another one may be whole; but not where it is this host's disk, or the topology.
            kind = SnapshotDamagedError if isinstance(error, TaskCorruptedError) else SnapshotError
            raise kind(
                f"{manifest} was fetched, and its database cannot be opened: {error}",
                hint=error.hint or "choose another snapshot",
            ) from error
        bounds = self._bounds()
        stated = {
            TopicPartition(each.topic, each.partition): each.position for each in manifest.changelog
        }
        check_inside(
            str(manifest),
            positions,
            {store: bounds[place] for store, place in wanted.changelogs.items()},
            expected={store: stated.get(place, 0) for store, place in wanted.changelogs.items()},
            oldest_ms=self._oldest_ms(),
            stored_ms=self._stored(manifest),
        )

    def _report(self, progress: Progress) -> None:
        self.progress = progress
        self._check()

    def _check(self) -> None:
        if self._is_cancelled:
            raise StoppedError(f"the bootstrap of task {self.wanted.task} is not wanted any more")


def _reusable_bytes(manifest: Manifest, directory: Path) -> int:
    """Of sorted files that seem to be here, by name and size: what they are is found out later."""
    found = set()
    with suppress(OSError):
        found = {(path.name, path.stat().st_size) for path in directory.glob("*.sst")}
    return sum(file.size for file in manifest.files if (file.name, file.size) in found)
