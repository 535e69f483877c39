"""Fetching a snapshot into a staging directory: in parallel, verified on the way, going on after a
cut.

    <staging>/files/      under its final name: whole, verified, synced
             /parts/      on its way; goes on at its length

A file that the repository need not send is taken from a directory that has it, such as the task's
old one: a sorted file as a hard link, since it never changes, any other as a copy. Either is hashed
first. Nothing outside of the staging directory is touched; `adopt` puts the result in its place.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streamer import failpoints
from streamer.errors import (
    SnapshotDamagedError,
    SnapshotError,
    SnapshotMissingError,
)
from streamer.snapshot.claims import lease
from streamer.snapshot.disk import (
    by_size,
    digest_of,
    make_private,
    read_part,
    settle_part,
    sync,
    write_all,
)
from streamer.snapshot.manifest import File, Manifest, check_identity
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Report, Tally, each

__all__ = ["Fetched", "fetch"]

_log = logging.getLogger(__name__)

# What must stay free: RocksDB needs room to open, and a disk that is full stops every task of it.
FREE_SHARE_MIN = 0.05


@dataclass(frozen=True, slots=True)
class Fetched:
    """A snapshot that lies whole in `directory`."""

    manifest: Manifest
    directory: Path
    moved_bytes: int
    kept_bytes: int


def fetch(
    repository: Repository,
    shelf: Shelf,
    stem: str,
    *,
    staging: Path,
    store_format: str = "1",
    reuse: Sequence[Path] = (),
    report: Report | None = None,
    even_condemned: bool = False,
) -> Fetched:
    """Bring all files of a snapshot into `staging`, where earlier attempts may have left some.

    Raises SnapshotMissingError when it is being deleted or a file is gone (choose another),
    SnapshotDamagedError for bytes that are wrong twice, SnapshotMismatchError for one of another
    task or format, RepositoryError when the repository stays away, SnapshotError for a full disk.
    """
    with lease(shelf, stem, beat_ms=repository.beat_ms, even_condemned=even_condemned) as leased:
        manifest = leased.manifest
        check_identity(
            manifest, shelf.application, shelf.task, layout=shelf.layout, store_format=store_format
        )
        fetching = _Fetching(repository, shelf, manifest, staging=staging)
        try:
            return fetching.run(reuse, report)
        except OSError as error:
            raise SnapshotError(
                f"{manifest} cannot be fetched into {staging}: {error}",
                hint="free space there, or correct the rights; what was fetched is kept",
            ) from error


class _Fetching:
    def __init__(
        self, repository: Repository, shelf: Shelf, manifest: Manifest, *, staging: Path
    ) -> None:
        self._repository = repository
        self._shelf = shelf
        self._manifest = manifest
        self._files = staging / "files"
        self._parts = staging / "parts"
        self._tally = Tally(len(manifest.files), manifest.size)

    def run(self, reuse: Sequence[Path], report: Report | None) -> Fetched:
        manifest = self._manifest
        self._tally = tally = Tally(len(manifest.files), manifest.size, report)
        for directory in (self._files.parent, self._files, self._parts):
            make_private(directory)
        self._remove_strangers()
        missing = []
        donors = by_size(reuse)
        for file in manifest.files:
            if self._is_there(file) or self._is_borrowed(file, donors.get(file.size, ())):
                tally.kept(file.size)
                tally.file_done()
            else:
                missing.append(file)
        self._check_space(missing)
        missing.sort(key=lambda file: (-file.size, file.name))
        each(missing, self._bring, parallel=self._repository.transfers.parallel)
        sync(self._files)
        shutil.rmtree(self._parts)
        moved = tally.progress.bytes_moved
        return Fetched(manifest, self._files, moved, max(0, manifest.size - moved))

    def _remove_strangers(self) -> None:
        """What earlier attempts left of another snapshot; names and hashes tell."""
        wanted = {file.name for file in self._manifest.files}
        parts = {_part_name(file) for file in self._manifest.files}
        for directory, names in ((self._files, wanted), (self._parts, parts)):
            for entry in os.scandir(directory):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                elif entry.name not in names or entry.is_symlink():
                    os.unlink(entry.path)

    def _is_there(self, file: File) -> bool:
        path = self._files / file.name
        if not path.exists():
            return False
        if path.stat().st_size == file.size and digest_of(path) == file.sha256:
            return True
        path.unlink()
        return False

    def _is_borrowed(self, file: File, donors: Iterable[Path]) -> bool:
        path = self._files / file.name
        for donor in donors:
            with suppress(OSError):
                if digest_of(donor) != file.sha256:
                    continue
                if file.name.endswith(".sst") and donor.suffix == ".sst":
                    with suppress(OSError):
                        os.link(donor, path, follow_symlinks=False)
                        return True
                part = self._parts / _part_name(file)
                shutil.copyfile(donor, part, follow_symlinks=False)
                part.chmod(0o600)
                # It may have been changed while it was copied.
                if digest_of(part) == file.sha256:
                    settle_part(part, path)
                    return True
        return False

    def _check_space(self, missing: Iterable[File]) -> None:
        needed = sum(file.size for file in missing)
        disk = shutil.disk_usage(self._files)
        if needed and disk.free - needed < disk.total * FREE_SHARE_MIN:
            raise SnapshotError(
                f"{self._manifest} needs {needed} bytes on {self._files}, where {disk.free} of"
                f" {disk.total} are free, and a twentieth must stay so",
                hint="free space there, or give the task to a worker with a larger disk; nothing"
                " was changed",
            )

    def _bring(self, file: File) -> None:
        """Fetch one file; bytes that are wrong are fetched once more from the begin."""
        part = self._parts / _part_name(file)
        for is_last in (False, True):
            problem = self._attempt(file, part)
            if problem is None:
                break
            part.unlink(missing_ok=True)
            if is_last:
                raise problem
            _log.warning("fetching %s of %s again: %s", file.name, self._manifest, problem)
        settle_part(part, self._files / file.name)
        self._tally.file_done()
        failpoints.hit("fetch.after_file")

    def _attempt(self, file: File, part: Path) -> SnapshotDamagedError | None:
        """None when the part has all bytes and they are right."""
        number = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(number, "r+b", buffering=0) as target:
            digest = hashlib.sha256()
            start = self._shelf.cipher.aligned(min(target.seek(0, os.SEEK_END), file.size))
            target.seek(0)
            for chunk in read_part(target, start):
                digest.update(chunk)
            target.truncate(start)
            self._tally.kept(start)
            done = start
            problem = ""
            try:
                for chunk in self._content(file, start):
                    if done + len(chunk) > file.size:
                        problem = "it is longer"
                        break
                    digest.update(chunk)
                    write_all(target, chunk)
                    self._tally.moved(len(chunk))
                    done += len(chunk)
            except SnapshotDamagedError as error:
                self._tally.again(done)
                return error
            except BaseException:
                self._tally.again(done)
                raise
            if not problem and done != file.size:
                problem = f"it ends after {done} bytes"
            if not problem and digest.hexdigest() != file.sha256:
                problem = "its sha256 is another"
            if problem:
                self._tally.again(done)
                return self._damaged(file, problem)
            os.fsync(target.fileno())
        return None

    def _content(self, file: File, start: int) -> Iterator[bytes]:
        key = self._shelf.object_key(file.object)
        cipher = self._shelf.cipher
        try:
            if start < file.size or file.size == 0:
                chunks = cipher.open(self._shelf.reader(key), key, start=start)
                yield from self._repository.transfers.pace.through(chunks)
        except SnapshotMissingError as error:
            raise SnapshotMissingError(
                f"{self._manifest} lacks {file.name}: {error}",
                hint="choose another snapshot; `streamer snapshot verify` tells which are whole",
            ) from error

    def _damaged(self, file: File, why: str) -> SnapshotDamagedError:
        return SnapshotDamagedError(
            f"{self._manifest}: {file.name} is not what the manifest says, {file.size} bytes with"
            f" sha256 {file.sha256}: {why} (object {file.object})",
            hint="choose another snapshot; `streamer snapshot verify` tells which are whole",
        )


def _part_name(file: File) -> str:
    """By content too, so that a part is never continued with another file's bytes."""
    return f"{file.name}.{file.sha256[:16]}.part"
