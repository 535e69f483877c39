"""A new database takes the place of a task's, which is closed; what was there stays beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from streamer import failpoints
from streamer.errors import StateDirectoryError
from streamer.restore.bootstrap import Bootstrap
from streamer.restore.note import Note, write_note
from streamer.snapshot.adopt import Adopted, adopt, staging_of
from streamer.snapshot.disk import make_private

__all__ = ["exchange"]


def exchange(bootstrap: Bootstrap, *, now_ms: int) -> Adopted:
    """Adopt what a bootstrap has fetched, or nothing for a restore from the changelogs; the note
    that says so goes with it. Raises StateDirectoryError."""
    target = bootstrap.wanted.target
    # Two in a millisecond, or a clock that was set back.
    while target.with_name(f"{target.name}.old-{now_ms}").exists():
        now_ms += 1
    former = f"{target.name}.old-{now_ms}" if target.exists() else ""
    try:
        files = _files(bootstrap, former, now_ms)
    except OSError as error:
        raise StateDirectoryError(
            f"{staging_of(target)} cannot be written: {error}",
            hint="correct what the system says and start again; nothing was changed",
        ) from error
    failpoints.hit("bootstrap.before_adopt")
    adopted = adopt(files, target, now_ms=now_ms)
    failpoints.hit("bootstrap.after_adopt")
    return adopted


def _files(bootstrap: Bootstrap, former: str, now_ms: int) -> Path:
    wanted, fetched = bootstrap.wanted, bootstrap.fetched
    if fetched is not None:
        files, source, stem = fetched.directory, bootstrap.source, fetched.manifest.stem
    else:
        shutil.rmtree(staging_of(wanted.target), ignore_errors=True)
        files, source, stem = staging_of(wanted.target) / "files", "changelog", ""
        make_private(files)
    note = Note(
        operation=wanted.operation, source=source, snapshot=stem, former=former, at_ms=now_ms
    )
    write_note(files, note)
    return files
