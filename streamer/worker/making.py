"""The slow part of a snapshot: all that asks the repository, in a thread beside processing. What
takes a processor's time, to hash and to send, has a process of its own (`streamer.snapshot.apart`).

A checkpoint that is here was made of committed state, at the positions that go with it into the
manifest. So it may be sent whatever becomes of the task meanwhile; but a worker that stood still,
and whose task another one has, must not put an older state on top of a newer one.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from streamer import failpoints, metrics
from streamer.closable import Closable
from streamer.config import Config
from streamer.errors import (
    RepositoryError,
    SnapshotDamagedError,
    SnapshotError,
    StateDirectoryError,
    StoppedError,
    StreamerError,
)
from streamer.layout import ApplicationLayout
from streamer.snapshot.apart import Job, Make, make_apart
from streamer.snapshot.create import About
from streamer.snapshot.listing import made_for, readable, stored_times
from streamer.snapshot.manifest import Manifest
from streamer.snapshot.opening import open_repository
from streamer.snapshot.pace import Pace
from streamer.snapshot.prune import Policy, prune
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Progress
from streamer.snapshot.verified import note_verified, verified
from streamer.snapshot.verify import verify
from streamer.store.rocks import TaskDatabase
from streamer.worker.agenda import Want

__all__ = ["Found", "Maker", "Sending", "describe"]

_log = logging.getLogger(__name__)

# Commits come meanwhile; each flush is quicker than the one before, and leaves a file to compact.
_FLUSHES_MAX = 4
# Two workers that have had the task at the same time make two snapshots, not more.
_COMPARED_MAX = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What the repository has of a task. `made` is the id of the snapshot that was asked for, ""
    where there is none; `newest_ms` when the newest was made, -1 where there is none."""

    made: str = ""
    newest_ms: int = -1


@dataclass(slots=True)
class Sending:
    """A checkpoint on its way. `is_over` says that nobody wants it any more."""

    want: Want
    directory: Path
    digests: Path
    about: About
    is_over: Callable[[], bool]
    progress: Progress = field(default_factory=Progress)

    def tell(self, progress: Progress) -> None:
        self.check()
        self.progress = progress

    def check(self) -> None:
        """Raise StoppedError where it is not wanted any more."""
        if self.is_over():
            raise StoppedError(f"the snapshot of {self.want.task} is not wanted any more")


class Maker(Closable):
    """Asks repositories; used by one thread, and closed by another."""

    def __init__(
        self,
        config: Config,
        pace: Pace | None = None,
        make: Make = make_apart,
        *,
        layout: ApplicationLayout | None = None,
    ) -> None:
        self._config = config
        self._layout = layout or ApplicationLayout()
        self._pace = pace
        self._make = make
        self._opened: tuple[str, Repository] | None = None

    def look(self, want: Want, now_ms: int) -> Found:
        """Whether the snapshot is there already, such as one of this worker before it died, or of
        another one that had the task. One that nobody has looked at is looked at, and one of which
        an object was found damaged is none: its names and sizes say nothing of that."""
        repository, shelf = self._shelf(want)
        newest, newest_ms = next(readable(shelf), None), -1
        if newest is not None:
            # A maker whose clock was ahead must not keep others from making any for as long.
            stored_ms = stored_times(repository, shelf, now_ms).get(newest.stem, now_ms)
            newest_ms = min(newest.created_ms, stored_ms)
        found = made_for(shelf, want.operation) if want.operation else newest
        if found is None:
            return Found("", newest_ms)
        if found.stem not in verified(shelf):
            try:
                _refuse_condemned(repository, shelf, found)
                _verify(repository, shelf, found.stem)
            except SnapshotDamagedError as error:
                # As if there were none: what it lacks, a new one sends.
                _log.warning("task %s: %s", want.task, error)
                return Found()
        return Found(found.id if want.operation else "", newest_ms)

    def flush(self, database: TaskDatabase, directory: Path) -> None:
        """Bring what is in memory into files, so that the checkpoint need not: it would sync them
        while processing waits. Makes room for the checkpoint in `directory`."""
        try:
            # What a checkpoint that failed has left, and RocksDB's name for one in the making.
            for each in (directory, directory.with_name(f"{directory.name}.tmp")):
                shutil.rmtree(each, ignore_errors=True)
            directory.parent.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StateDirectoryError(
                f"no checkpoint can be made in {directory.parent}: {error.strerror}",
                hint="the worker's directory must be writable, on one disk",
            ) from error
        for _ in range(_FLUSHES_MAX):
            database.flush()
            if not database.memtable_rows():
                return

    def send(self, sending: Sending) -> Manifest:
        """Make the snapshot and have a look at it. The checkpoint is gone afterwards, in any case.

        Raises RepositoryError and SnapshotError; StoppedError where it is not wanted any more.
        """
        want, began = sending.want, time.monotonic()
        try:
            repository, shelf = self._shelf(want)
            _refuse_older(shelf, sending.about)
            repository.make_fit()
            pace = repository.transfers.pace
            job = Job(
                config=self._config,
                address=want.repository,
                task=want.task,
                directory=sending.directory,
                digests=sending.digests,
                about=sending.about,
                is_fit=True,
                is_limited=bool(pace.bytes_per_s),
                # A copy without a state waits for what it pulls from here.
                cpu_percent=100 if self._is_pulled(want) else self._config.snapshot_cpu_percent,
                layout=shelf.layout,
                log_level=logging.getLogger().getEffectiveLevel(),
            )
            created = self._make(job, pace, sending.tell)
            failpoints.hit("checkpoint.before_noted")
            self._check_newest(shelf, sending.about, created.manifest)
            _verify(repository, shelf, created.manifest.stem)
            failpoints.hit("checkpoint.before_removed")
        finally:
            shutil.rmtree(sending.directory, ignore_errors=True)
        seconds = time.monotonic() - began
        metrics.snapshots_made.labels(str(want.task)).inc()
        metrics.snapshot_sent_bytes.labels(str(want.task)).inc(created.sent_bytes)
        metrics.snapshot_seconds.observe(seconds)
        _log.info(
            "task %s: %s stands in %s after %.1f s: %d bytes in %d files sent, %d bytes were there",
            want.task,
            created.manifest,
            repository.address,
            seconds,
            created.sent_bytes,
            created.sent_files,
            created.reused_bytes,
        )
        policy = self._policy(want)
        if policy is not None:
            _prune(repository, shelf, policy)
        return created.manifest

    def forget(self) -> None:
        """Open the repository anew the next time: after a failure, with what is set by then."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened[1].close()

    def close(self) -> None:
        self.forget()

    def _check_newest(self, shelf: Shelf, about: About, made: Manifest) -> None:
        """What another worker has made meanwhile is newer, whatever their order: this one goes."""
        try:
            _refuse_older(shelf, about, besides=made.stem)
        except SnapshotError:
            shelf.condemn("snapshot", made.stem)
            raise

    def _policy(self, want: Want) -> Policy | None:
        """What stays where this one was made; None where this worker removes nothing: somebody else
        looks after a repository that an order names."""
        config = self._config
        if want.repository:
            # For one rebuild each. Who still reads an older one has a lease on it.
            return Policy(keep_last=1) if self._is_pulled(want) else None
        if not config.snapshot_keep_last:
            return None
        return Policy(
            keep_last=config.snapshot_keep_last,
            keep_ms=config.snapshot_keep_ms,
            # Somebody verifies now and then: newer ones, not verified yet, must not push these out.
            keep_verified=config.trim_snapshots_min,
            level=config.trim_verified_level,  # type: ignore[arg-type]
        )

    def _is_pulled(self, want: Want) -> bool:
        """Whether it stays on this host for another one that rebuilds a copy from it."""
        directory = self._config.snapshot_export_dir
        return directory is not None and want.repository == f"file://{directory.absolute()}"

    def _shelf(self, want: Want) -> tuple[Repository, Shelf]:
        address = want.repository
        if self._opened is None or self._opened[0] != address:
            self.forget()
            self._opened = (address, open_repository(self._config, address, pace=self._pace))
        repository = self._opened[1]
        layout = self._layout.since(want.task.subtopology)
        return repository, repository.shelf(self._config.application_id, want.task, layout)


def _prune(repository: Repository, shelf: Shelf, policy: Policy) -> None:
    """Remove what need not stay. What cannot be removed waits: the snapshot stands."""
    try:
        done = prune(repository, shelf, policy, dry_run=False)
    except (RepositoryError, SnapshotError) as error:
        metrics.snapshot_failures.labels(str(shelf.task)).inc()
        _log.warning("task %s: old snapshots could not be removed: %s", shelf.task, error)
        return
    for problem in done.problems:
        _log.warning("task %s: %s", shelf.task, problem)
    if done.removed:
        _log.info("task %s: removed the snapshots %s", shelf.task, ", ".join(done.removed))


def _verify(repository: Repository, shelf: Shelf, stem: str) -> None:
    """Raise unless all files are there with their sizes, and note that they are."""
    verdict = verify(repository, shelf, stem, contents=False)
    if not verdict.is_whole:
        name, problem = next(iter(verdict.problems.items()))
        raise SnapshotDamagedError(
            f"{repository.address}: snapshot {stem} of {shelf} is not whole: {name}: {problem}",
            hint="something else deletes files there, such as a lifecycle rule; it is made again",
        )
    note_verified(shelf, stem, "files")


def _refuse_condemned(repository: Repository, shelf: Shelf, manifest: Manifest) -> None:
    """Raise where nobody may rely on an object any more: as a rule its bytes were found wrong."""
    condemned = shelf.condemned("object")
    if bad := [file.name for file in manifest.files if file.object in condemned]:
        raise SnapshotDamagedError(
            f"{repository.address}: snapshot {manifest.stem} of {shelf} is not whole: {bad[0]}: it"
            " was found damaged",
            hint="a new one is made, which sends anew what was damaged",
        )


def _refuse_older(shelf: Shelf, about: About, *, besides: str = "") -> None:
    """Raise where one of the newest snapshots is of a later state of the same changelogs."""
    own = {(one.topic, one.partition, one.topic_id): one.position for one in about.changelog}
    for newest in islice(readable(shelf), _COMPARED_MAX):
        if newest.stem == besides:
            continue
        for one in newest.changelog:
            position = own.get((one.topic, one.partition, one.topic_id))
            if position is not None and position < one.position:
                raise SnapshotError(
                    f"{newest} stands at {one.position} of {one.topic}/{one.partition}, and this"
                    f" worker's state at {position}: another worker has the task",
                    hint="nothing is to be done: this worker finds out, or is the newer one soon",
                )


def describe(error: Exception) -> str:
    """Why something failed, in one line of at most 300 characters: it goes into every status."""
    text = error.message if isinstance(error, StreamerError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]
