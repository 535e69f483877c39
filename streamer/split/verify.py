"""Whether the databases of the next layout hold what those of the former do, to the last row.

Every database is read once (`survey`), and the cells of both layouts are compared: counts, bytes
and fingerprints, for each pair of a former and a new task. Only where two cells differ are their
rows compared one by one, side by side in the order of their keys, to name the keys. So memory is
bounded, and a verification that was cut off goes on with the databases that have no note yet.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from streamer.ids import TaskId
from streamer.split.keyed import families_of
from streamer.split.merge import load_merge, load_units
from streamer.split.move import Move
from streamer.split.survey import Place, Role, SurveyRecord, of_unit, sums, surveyed
from streamer.split.totals import Totals
from streamer.split.vectors import tasks_of
from streamer.store.reading import StoredDatabase

__all__ = ["DIFFERENCES_MAX", "Difference", "Verdict", "compare", "verify"]

DIFFERENCES_MAX = 100
Kind = Literal["missing", "extra", "different", "wrong home"]


class Difference(NamedTuple):
    """One key. `kind` is of the new layout: a row is missing there, is there in excess, is another,
    or lies in another task than its key says. `task` is its home, or where it was found."""

    kind: Kind
    family: str
    key: bytes
    task: int

    def __str__(self) -> str:
        return f"{self.kind}: {self.family} {self.key.hex()} (task {self.task})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`unequal` are the cells that differ, `strangers` rows of the new layout that lie in a task
    which is not their home; `differences` names the first keys of both."""

    rows: int
    unequal: Mapping[Place, tuple[Totals | None, Totals | None]]
    strangers: int
    differences: Sequence[Difference] = ()

    @property
    def is_equal(self) -> bool:
        return not self.unequal and not self.strangers


def verify(
    move: Move,
    sources: Mapping[int, Path],
    targets: Mapping[int, Path],
    *,
    notes: Path,
    cut: str = "",
    indexes: bool = True,
    units: Path | None = None,
    on_rows: Callable[[int], None] = lambda _rows: None,
) -> Verdict:
    """Compare the databases of all tasks of both layouts, by task; nobody writes to them.

    `cut` names the moment that all of them show; notes of another are not used. Indexes are not
    compared where a merge left them to be made anew, nor with `indexes` off: databases that live on
    drop what their indexes have in excess at different times. `units` is where the sources were
    split to, if they are just what was split: they are not read again.
    Raises TaskCorruptedError where a database is damaged.
    """
    skipped: set[str] = set()
    for database in targets.values():
        merged = load_merge(database)
        skipped |= set(merged.rebuilt) if merged is not None else set()

    def all_of(role: Role, databases: Mapping[int, Path]) -> list[SurveyRecord]:
        return [
            surveyed(
                move,
                role,
                TaskId(move.subtopology, number),
                database=databases[number],
                note=notes / f"{role}-{TaskId(move.subtopology, number)}.json",
                cut=cut,
                on_rows=on_rows,
            )
            for number in sorted(databases)
        ]

    if units is None:
        former = all_of("source", sources)
    else:
        former = [of_unit(record, cut) for record in load_units(move, units).values()]
    latter = all_of("target", targets)
    verdict = compare(
        former,
        latter,
        is_compared=lambda family: (
            family not in skipped and (indexes or not family.startswith("index."))
        ),
    )
    if verdict.is_equal:
        return verdict
    named = chain(_wrong_homes(move, latter, targets), _named(move, verdict, sources, targets))
    return replace(verdict, differences=tuple(islice(named, DIFFERENCES_MAX)))


def compare(
    sources: Sequence[SurveyRecord],
    targets: Sequence[SurveyRecord],
    *,
    is_compared: Callable[[str], bool] = lambda _family: True,
) -> Verdict:
    """By surveys alone, without keys."""
    former, latter = sums(sources), sums(targets)
    unequal = {
        place: (former.get(place), latter.get(place))
        for place in sorted(former.keys() | latter.keys())
        if is_compared(place[0]) and former.get(place) != latter.get(place)
    }
    strangers = sum(
        cell.totals.rows for one in targets for cell in one.strangers if is_compared(cell.family)
    )
    return Verdict(sum(one.rows for one in targets), unequal, strangers)


def _wrong_homes(
    move: Move, surveys: Sequence[SurveyRecord], targets: Mapping[int, Path]
) -> Iterator[Difference]:
    for one in surveys:
        task = TaskId.parse(one.task).partition
        for cell in one.strangers:
            for key, _row in _rows(move, targets[task], cell.place):
                yield Difference("wrong home", cell.family, key, task)


def _named(
    move: Move, verdict: Verdict, sources: Mapping[int, Path], targets: Mapping[int, Path]
) -> Iterator[Difference]:
    for place in verdict.unequal:
        yield from _differences(move, place, sources, targets)


def _differences(
    move: Move, place: Place, sources: Mapping[int, Path], targets: Mapping[int, Path]
) -> Iterator[Difference]:
    """The keys of one cell whose rows are not the same on both sides."""
    family, _source, home = place
    former = heapq.merge(*(_rows(move, one, place) for one in sources.values()))
    latter = heapq.merge(*(_rows(move, one, place) for one in targets.values()))
    sides = heapq.merge(
        ((key, 0, row) for key, row in former),
        ((key, 1, row) for key, row in latter),
    )
    for key, group in groupby(sides, key=itemgetter(0)):
        rows: tuple[list[bytes], list[bytes]] = ([], [])
        for _key, side, row in group:
            rows[side].append(row)
        before, after = rows
        if before != after:
            kind: Kind = "different"
            if len(before) != len(after):
                kind = "missing" if len(before) > len(after) else "extra"
            yield Difference(kind, family, key, home)


def _rows(move: Move, database: Path, place: Place) -> Iterator[tuple[bytes, bytes]]:
    """The rows of one cell in a database, in the order of their keys."""
    name, source, target = place
    with StoredDatabase(database) as opened:
        for family in families_of(opened, move.specs):
            if family.name != name:
                continue
            for block in opened.blocks(name):
                homes = tasks_of(family.keys_of(block.keys), move.source, move.target)
                for at in np.flatnonzero((homes[0] == source) & (homes[1] == target)).tolist():
                    yield block.keys[at], block.rows[at]
