"""A survey: every row of one task's database, read, hashed, and counted by both of its homes.

A cell is a family, the task of the layout that is split, and the task of the next one. The cells of
all tasks of one layout sum up to those of the other, whichever rows lie where; what lies in a task
that is not its home is seen by the cell alone. A survey reads one database once, so it is the unit
of a verification: what was surveyed is noted, and not read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from streamer import failpoints
from streamer.errors import OperationRefusedError
from streamer.ids import TaskId
from streamer.split.fingerprint import Ledger
from streamer.split.keyed import families_of
from streamer.split.move import Move, MoveRecord, Text, checked_text
from streamer.split.record import UnitRecord, check_places
from streamer.split.sealed import VERSION, held, load, save
from streamer.split.totals import NOTHING, Totals
from streamer.split.vectors import tasks_of
from streamer.store.reading import StoredDatabase

__all__ = ["Cell", "Place", "Role", "SurveyRecord", "of_unit", "sums", "survey", "surveyed"]

Role = Literal["source", "target"]
Place = tuple[str, int, int]
"""A family, and the two homes."""
_Task = Annotated[int, Meta(ge=0, lt=10**6)]


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    family: Text
    source: _Task
    target: _Task
    totals: Totals

    @property
    def place(self) -> Place:
        return self.family, self.source, self.target


class SurveyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of the database of one task, as it was at a `cut`."""

    version: int
    move: MoveRecord
    role: Role
    task: Text
    cut: Text
    cells: list[Cell]

    @property
    def rows(self) -> int:
        return sum(cell.totals.rows for cell in self.cells)

    @property
    def strangers(self) -> list[Cell]:
        """Cells whose rows belong to another task of this layout."""
        own = TaskId.parse(self.task).partition
        return [
            cell
            for cell in self.cells
            if (cell.source if self.role == "source" else cell.target) != own
        ]


_decoder = msgspec.json.Decoder(SurveyRecord)


def survey(
    move: Move,
    role: Role,
    task: TaskId,
    *,
    database: Path,
    cut: str = "",
    on_rows: Callable[[int], None] = lambda _rows: None,
) -> SurveyRecord:
    """Read a database that nobody writes to. Raises TaskCorruptedError where it is damaged,
    ProcessingError where a function of the user fails."""
    cells: list[Cell] = []
    width = move.target.tasks
    with StoredDatabase(database) as opened:
        for family in families_of(opened, move.specs):
            ledger = Ledger(move.source.tasks * width, move.salt)
            for block in opened.blocks(family.name):
                sources, targets = tasks_of(family.keys_of(block.keys), move.source, move.target)
                ledger.add(sources * width + targets, block.keys, block.rows)
                on_rows(len(block.keys))
            cells += [
                Cell(family.name, *divmod(number, width), totals)
                for number, totals in ledger.totals().items()
            ]
    return SurveyRecord(
        version=VERSION,
        move=move.record,
        role=role,
        task=str(task),
        cut=cut,
        cells=cells,
    )


def of_unit(record: UnitRecord, cut: str = "") -> SurveyRecord:
    """What a split has seen of its source, which need not be read once more. Raises
    OperationRefusedError where rows lie in another task than their keys say."""
    check_places(record)
    own = TaskId.parse(record.task).partition
    return SurveyRecord(
        version=VERSION,
        move=record.move,
        role="source",
        task=record.task,
        cut=cut,
        cells=[Cell(part.family, own, part.target, part.totals) for part in record.parts],
    )


def surveyed(
    move: Move,
    role: Role,
    task: TaskId,
    *,
    database: Path,
    note: Path,
    cut: str = "",
    on_rows: Callable[[int], None] = lambda _rows: None,
) -> SurveyRecord:
    """As `survey`, once: what was noted of the same cut is not read again.

    Raises OperationRefusedError for a note of something else, and while another process makes it.
    """
    checked_text(cut)
    with held(note.with_name(f"{note.name}.lock")):
        known = load(note, _decoder)
        if known is not None:
            same = (known.move, known.role, known.task, known.cut)
            if same != (move.record, role, str(task), cut):
                raise OperationRefusedError(
                    f"{note} is of another survey: the {known.role} {known.task} at"
                    f" {known.cut or 'no cut'} of operation {known.move.operation}",
                    hint="name another directory for the notes",
                )
            return known
        record = survey(move, role, task, database=database, cut=cut, on_rows=on_rows)
        failpoints.hit("survey.before_note")
        save(note, record)
        return record


def sums(surveys: Iterable[SurveyRecord]) -> dict[Place, Totals]:
    """The cells of several databases together."""
    found: dict[Place, Totals] = {}
    for one in surveys:
        for cell in one.cells:
            found[cell.place] = found.get(cell.place, NOTHING) + cell.totals
    return found
