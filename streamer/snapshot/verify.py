"""Whether a snapshot could be restored: its files are there, or were read to the last byte."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field

from streamer.errors import SnapshotDamagedError, SnapshotMissingError
from streamer.snapshot.claims import lease
from streamer.snapshot.manifest import File
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Report, Tally, each

__all__ = ["Verdict", "verify"]


@dataclass(slots=True)
class Verdict:
    """What was looked at, and what is wrong, file by file."""

    stem: str
    files: int = 0
    bytes_read: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    # Objects whose bytes are not those that were stored.
    damaged: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return not self.problems


def verify(
    repository: Repository,
    shelf: Shelf,
    stem: str,
    *,
    contents: bool = True,
    report: Report | None = None,
) -> Verdict:
    """Look at a snapshot: names and sizes, or with `contents` each byte. It stays meanwhile.

    Raises as reading its manifest does; what is wrong with files is in the verdict.
    """
    with lease(shelf, stem, beat_ms=repository.beat_ms, even_condemned=True) as leased:
        manifest = leased.manifest
        verdict = Verdict(stem, len(manifest.files))
        objects = shelf.objects()
        present: dict[str, File] = {}
        for file in manifest.files:
            found = objects.get(file.object)
            if found is None:
                verdict.problems[file.name] = "it is not there"
            elif found.size != file.stored_size:
                verdict.problems[file.name] = (
                    f"it has {found.size} bytes, and {file.stored_size} were stored"
                )
            else:
                present[file.object] = file
        if contents:
            _read_all(repository, shelf, list(present.values()), verdict=verdict, report=report)
    return verdict


def _read_all(
    repository: Repository,
    shelf: Shelf,
    files: list[File],
    *,
    verdict: Verdict,
    report: Report | None,
) -> None:
    tally = Tally(len(files), sum(file.size for file in files), report)
    lock = threading.Lock()

    def read(file: File) -> None:
        problem = _problem(repository, shelf, file, tally)
        tally.file_done()
        if problem:
            with lock:
                verdict.problems[file.name] = problem
                verdict.damaged.append(file.object)

    each(files, read, parallel=repository.transfers.parallel)
    verdict.bytes_read = tally.progress.bytes_moved


def _problem(repository: Repository, shelf: Shelf, file: File, tally: Tally) -> str:
    """What is wrong with one file; empty if nothing."""
    key = shelf.object_key(file.object)
    digest, size = hashlib.sha256(), 0
    try:
        chunks = shelf.cipher.open(shelf.reader(key), key)
        for chunk in repository.transfers.pace.through(chunks):
            digest.update(chunk)
            size += len(chunk)
            tally.moved(len(chunk))
    except SnapshotMissingError:
        return "it is not there"
    except SnapshotDamagedError as error:
        return error.message
    if size != file.size:
        return f"it has {size} bytes, and {file.size} were stored"
    if digest.hexdigest() != file.sha256:
        return "its sha256 is another"
    return ""
