"""A note beside the files of a database that was put in the place of another: what it came from.

It lies inside the directory, so that it takes its place in the same rename: a rebuild whose note is
there has happened, also after a crash, and never happens twice. `former` names the directory beside
it that it replaced, which goes when this one serves.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import msgspec

from streamer.snapshot.disk import sync

__all__ = ["Note", "former_of", "read_note", "remove_old", "write_note"]

_log = logging.getLogger(__name__)

NAME = "bootstrap.json"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """`operation` is empty where nobody asked, `snapshot` where it was made of the changelogs."""

    operation: str = ""
    source: str = ""
    snapshot: str = ""
    former: str = ""
    at_ms: int = 0


_decoder = msgspec.json.Decoder(Note)


def write_note(directory: Path, note: Note) -> None:
    """Durable and whole, or absent. Raises OSError."""
    path = directory / NAME
    part = path.with_name(NAME + ".part")
    number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(number, "wb") as file:
        file.write(msgspec.json.encode(note))
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    sync(directory)


def read_note(directory: Path) -> Note | None:
    """None where the database was not put there, or the note cannot be read: nothing rests on it
    but whether to do something again."""
    try:
        return _decoder.decode((directory / NAME).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("the note in %s cannot be read: %s", directory, error)
        return None


def former_of(directory: Path, note: Note) -> Path | None:
    """What this database has replaced, while that is there. A name that `adopt` does not make is
    nobody's to remove."""
    if not note.former.startswith(f"{directory.name}.old-") or "/" in note.former:
        return None
    former = directory.with_name(note.former)
    return former if former.is_dir() and not former.is_symlink() else None


def remove_old(path: Path) -> None:
    """Remove what was replaced, or fetched in vain. Cut anywhere, it is done again."""
    shutil.rmtree(path, ignore_errors=True)
    _log.info("removed %s, which is not needed any more", path)
