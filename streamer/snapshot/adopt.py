"""A fetched snapshot takes the place of a task's database: all of it or nothing, also across a
crash.

    <tasks>/0_3                     the database
            0_3.restore/files       what was fetched
            0_3.adopting            the marker: from here to its removal `settle` has work to do
            0_3.old-1700000000000   the former database; kept until whoever called removes it

    marker -> 0_3 becomes 0_3.old-... -> 0_3.restore/files becomes 0_3 -> marker removed

`settle` runs at every start, before a database is opened: what had not begun is undone, what had is
finished. It never has to guess, since the marker says both names.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from streamer import failpoints
from streamer.errors import StateDirectoryError
from streamer.snapshot.disk import sync

__all__ = ["STAGING", "Adopted", "adopt", "remove_former", "settle", "settle_all", "staging_of"]

STAGING = ".restore"
_MARKER = ".adopting"


@dataclass(frozen=True, slots=True)
class Adopted:
    """Where the new database is, and the former one, None where there was none."""

    directory: Path
    former: Path | None


def staging_of(target: Path) -> Path:
    """Where a snapshot for this database is fetched: beside it, on the same disk."""
    return target.with_name(f"{target.name}{STAGING}")


def adopt(fetched: Path, target: Path, *, now_ms: int) -> Adopted:
    """Put a directory in the place of a database that is closed. Raises StateDirectoryError."""
    former = target.with_name(f"{target.name}.old-{now_ms}")
    try:
        has_former = target.exists()
        if former.exists():
            raise FileExistsError(17, "it exists", str(former))
        failpoints.hit("adopt.before_marker")
        _write_marker(target, {"fetched": str(fetched), "former": former.name * has_former})
        failpoints.hit("adopt.after_marker")
        if has_former:
            target.rename(former)
            sync(target.parent)
        failpoints.hit("adopt.between_renames")
        fetched.rename(target)
        sync(target.parent)
        failpoints.hit("adopt.before_marker_removed")
        _end(target)
    except OSError as error:
        raise StateDirectoryError(
            f"{fetched} cannot take the place of {target}: {error}",
            hint="correct what the system says and start again: the start finishes or undoes it",
        ) from error
    shutil.rmtree(staging_of(target), ignore_errors=True)
    return Adopted(target, former if has_former else None)


def settle(target: Path) -> str:
    """Finish or undo what a crash has cut; idempotent. Returns what was done, empty if nothing.

    Raises StateDirectoryError when neither can be done.
    """
    marker = _marker(target)
    try:
        if not marker.exists():
            return ""
        said = json.loads(marker.read_text(encoding="utf-8"))
        former = target.with_name(said["former"]) if said["former"] else None
        done = _settled(target, Path(said["fetched"]), former)
        _end(target)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateDirectoryError(
            f"the exchange of {target} was cut by a crash, and cannot be settled: {error}",
            hint=f"{marker} says which directories it was about: rename one of them to"
            f" {target.name}, and remove the marker",
        ) from error
    return done


def settle_all(directory: Path) -> list[str]:
    """`settle` for every database below a directory, such as a worker's tasks."""
    markers = sorted(directory.glob(f"*{_MARKER}"))
    done = [settle(marker.with_name(marker.name.removesuffix(_MARKER))) for marker in markers]
    return [said for said in done if said]


def _settled(target: Path, fetched: Path, former: Path | None) -> str:
    if not target.exists() and fetched.exists():
        fetched.rename(target)
        sync(target.parent)
        return f"finished the exchange of {target}"
    if not target.exists():
        # Somebody removed what was fetched: what was there before is still good.
        if former is not None:
            former.rename(target)
            sync(target.parent)
        return f"undid the exchange of {target}"
    if fetched.exists():
        return f"undid the exchange of {target}, which had not begun"
    return f"the exchange of {target} was complete"


def remove_former(adopted: Adopted) -> None:
    """Remove the former database, when the new one serves. Idempotent."""
    if adopted.former is not None:
        shutil.rmtree(adopted.former, ignore_errors=True)


def _marker(target: Path) -> Path:
    return target.with_name(target.name + _MARKER)


def _write_marker(target: Path, content: dict[str, str]) -> None:
    marker = _marker(target)
    part = marker.with_name(marker.name + ".part")
    number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(number, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, marker)
    sync(marker.parent)


def _end(target: Path) -> None:
    _marker(target).unlink(missing_ok=True)
    sync(target.parent)
