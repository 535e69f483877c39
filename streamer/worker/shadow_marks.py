"""Which directories of a worker are shadows: copies for a layout that may never come.

    <tasks>/0_1.layout-2           the database, where a task of layout 2 will have it
            0_1.layout-2.shadow    the mark: whose order it is kept by
            0_1.layout-2.removed   being removed

The mark is there before the database and goes after it. With it a directory may be removed, since
all that it has is in changelogs; without it, it is the state of a task, and nobody here touches it.
So the mark is taken off when the layout is recorded by the operation that gave the order, at the
start of a worker that runs it. What was left by another operation is removed then: in the changelog
of the same name are other records.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streamer import failpoints
from streamer.control.layouts import LayoutRecord
from streamer.errors import StateDirectoryError
from streamer.ids import FIRST_LAYOUT, Layout, TaskId
from streamer.snapshot.disk import sync

__all__ = ["REMOVED", "Mark", "make_room", "mark", "marks", "remove", "settle_shadows"]

_log = logging.getLogger(__name__)

_SUFFIX = ".shadow"
# What bears it is removed at a start, whatever it was.
REMOVED = ".removed"
_NAME = re.compile(r"(\d+_\d+)\.layout-(\d+)\.shadow")


@dataclass(frozen=True, slots=True)
class Mark:
    """`path` is the database's; `operation` is "" where the mark cannot be read."""

    path: Path
    task: TaskId
    layout: Layout
    operation: str


class _Content(msgspec.Struct):
    operation: str


_decoder = msgspec.json.Decoder(_Content)


def marks(tasks: Path) -> list[Mark]:
    """Of all shadows in a worker's directory of tasks."""
    found = []
    for file in sorted(tasks.glob(f"*{_SUFFIX}")):
        if match := _NAME.fullmatch(file.name):
            path = file.with_name(file.name.removesuffix(_SUFFIX))
            found.append(
                Mark(path, TaskId.parse(match[1]), Layout(int(match[2])), _operation(file))
            )
    return found


def mark(one: Mark) -> None:
    """Make the database that is made next a shadow. Raises StateDirectoryError where one is there
    that is none, or the disk refuses."""
    file = _file(one.path)
    try:
        if file.exists():
            return
        if one.path.exists():
            raise FileExistsError(17, "a state is there that is no copy for the next layout")
        one.path.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.part")
        with open(part, "wb") as writing:
            writing.write(msgspec.json.encode(_Content(one.operation)))
            writing.flush()
            os.fsync(writing.fileno())
        os.replace(part, file)
        sync(file.parent)
    except OSError as error:
        raise StateDirectoryError(
            f"no copy of task {one.task} of layout {one.layout} can be made in {one.path}:"
            f" {error.strerror}",
            hint="correct what the system says, or move the directory away if it is of no use;"
            " then have the order given again. Nothing was changed",
        ) from error


def make_room(one: Mark) -> None:
    """Remove what another operation has left there. Raises StateDirectoryError."""
    file = _file(one.path)
    if file.exists() and _operation(file) != one.operation:
        remove(one.path)


def remove(path: Path) -> None:
    """A shadow whose database is closed. Cut anywhere, it is done again. Raises
    StateDirectoryError where the disk refuses."""
    aside = path.with_name(f"{path.name}{REMOVED}")
    try:
        failpoints.hit("shadow.before_removed")
        shutil.rmtree(aside, ignore_errors=True)
        if path.exists():
            # Half of a database must not stand where a task would open it.
            path.rename(aside)
            sync(path.parent)
        failpoints.hit("shadow.after_renamed")
        shutil.rmtree(aside, ignore_errors=True)
        _file(path).unlink(missing_ok=True)
    except OSError as error:
        raise StateDirectoryError(
            f"the copy in {path} cannot be removed: {error.strerror}",
            hint="it is of no use any more: correct what the system says, or remove it by hand",
        ) from error


def settle_shadows(tasks: Path, record: LayoutRecord | None) -> None:
    """At a start, before a task is opened: what became the state of a task is a shadow no more, and
    what cannot become one any more is removed. Raises StateDirectoryError."""
    for cut in tasks.glob(f"*{REMOVED}"):
        shutil.rmtree(cut, ignore_errors=True)
    number = FIRST_LAYOUT if record is None else record.number
    for one in marks(tasks):
        if one.layout > number:
            continue
        known = (one.layout, one.operation) if one.operation else None
        if record is not None and known == (number, record.operation):
            failpoints.hit("shadow.before_adopted")
            _file(one.path).unlink(missing_ok=True)
            sync(tasks)
            _log.info("task %s of layout %d begins with its copy", one.task, one.layout)
        else:
            # It may be of a layout that was given up, and its changelog was made anew since.
            _log.warning("%s was not made for the layout that holds, and is removed", one.path)
            remove(one.path)


def _file(path: Path) -> Path:
    return path.with_name(f"{path.name}{_SUFFIX}")


def _operation(file: Path) -> str:
    try:
        return _decoder.decode(file.read_bytes()).operation
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return ""
