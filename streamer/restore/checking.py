"""Whether a snapshot could be restored, looked at as thoroughly as is asked, and noted.

`streamer snapshot verify` and the restore drill do the same: by its files, by each of their bytes,
or by a restore of it that is read to the last row.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from streamer.errors import SnapshotDamagedError, SnapshotError, SnapshotMissingError
from streamer.restore.rehearsal import rehearse
from streamer.restore.scratch import scratch
from streamer.snapshot.choosing import Chosen
from streamer.snapshot.repository import Repository
from streamer.snapshot.transfer import Report
from streamer.snapshot.verified import Level, forget_verified, note_verified
from streamer.snapshot.verify import verify

__all__ = ["Checked", "check_snapshot"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found: what is wrong by file, and rows by store where they were read."""

    task: str
    stem: str
    level: Level
    problems: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.stem.partition("-")[2]

    @property
    def is_whole(self) -> bool:
        return not self.problems


def check_snapshot(
    repository: Repository,
    one: Chosen,
    level: Level,
    *,
    directory: Path | None = None,
    report: Report | None = None,
) -> Checked:
    """Look at one snapshot, and note what was found: a damaged one takes its notes back.

    `directory` is where to restore to, for a moment; without it the system's own for such things.
    Raises StateDirectoryError where that cannot be used.
    """
    problems: dict[str, str] = {}
    rows: dict[str, int] = {}
    damaged: list[str] = []
    try:
        if level == "restored":
            with scratch(directory) as place:
                found = rehearse(repository, one.shelf, one.stem, directory=place, report=report)
            rows = found.rows
        else:
            verdict = verify(
                repository, one.shelf, one.stem, contents=level == "contents", report=report
            )
            problems, damaged = verdict.problems, verdict.damaged
    except (SnapshotDamagedError, SnapshotMissingError) as error:
        problems = {"snapshot": error.message}
        if level == "restored":
            damaged = _damaged(repository, one)
    for name in damaged:
        # By its name and size the next snapshot would refer to it again, and each one after that.
        one.shelf.condemn("object", name)
    if problems:
        forget_verified(one.shelf, one.stem)
    else:
        note_verified(one.shelf, one.stem, level)
    return Checked(str(one.shelf.task), one.stem, level, problems, rows)


def _damaged(repository: Repository, one: Chosen) -> list[str]:
    """The objects whose bytes are wrong, of a snapshot that could not be restored."""
    with suppress(SnapshotError):
        return verify(repository, one.shelf, one.stem).damaged
    return []
