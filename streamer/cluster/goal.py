"""How the target outlives its controller: what the log has of it, and what is to be written.

A new controller takes where each task is from the assignments. A task whose target is another is in
a piece of the goal (control/goals.py), which is written in the transaction that makes it so. Pieces
are not written again for each task that has arrived: what they say of it is true all the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from streamer.assignment.facts import Copies
from streamer.cluster.view import WorkerView
from streamer.control.goals import PIECES, GoalRecord, piece_of
from streamer.ids import TaskId

__all__ = ["Goal", "copies_named", "is_same", "names", "standing"]

Target = Mapping[TaskId, Copies]


class Goal:
    """The pieces as they stand in the log."""

    def __init__(self) -> None:
        self._shape = ""
        self._pieces: dict[int, dict[TaskId, Copies]] = {}
        self._foreign: set[int] = set()
        """Pieces of another shape, whose names mean something else today, unreadable ones, and
        those of whoever switched to this layout, who knew no shape: all are to be replaced."""

    def take(self, records: Mapping[int, GoalRecord] | None, shape: str) -> None:
        """What the predecessor left, None where that cannot be read. `shape` is the digest of the
        one that tasks have their names from now."""
        self._shape = shape
        if records is None:
            self._foreign = set(range(PIECES))
            return
        for piece, record in records.items():
            if record.shape in ("", self._shape):
                self._pieces[piece] = copies_named(record.copies)
            if record.shape != self._shape:
                self._foreign.add(piece)

    @property
    def is_empty(self) -> bool:
        """Every task is where it is to go, as far as the log tells."""
        return not (self._pieces or self._foreign)

    @property
    def copies(self) -> dict[TaskId, Copies]:
        """Everything that the pieces name."""
        return {task: each for piece in self._pieces.values() for task, each in piece.items()}

    def changes(self, target: Target, workers: Mapping[str, WorkerView]) -> dict[int, GoalRecord]:
        """Pieces to write so that the target follows from them and from what these workers were
        granted. They count as written; an empty one is to be taken back."""
        if not target:
            return {}
        wanted = self._moving(target, workers)
        changed: dict[int, GoalRecord] = {}
        for piece in self._pieces.keys() | wanted.keys() | self._foreign:
            now, due = self._pieces.get(piece, {}), wanted.get(piece, {})
            is_true = all(task in target and is_same(target[task], now[task]) for task in now)
            is_kept = is_true and due.keys() <= now.keys() and bool(due) == bool(now)
            if is_kept and not (now and piece in self._foreign):
                continue
            named = {str(task): names(copies) for task, copies in sorted(due.items())}
            changed[piece] = GoalRecord(shape=self._shape, copies=named)
            self._pieces[piece] = due
            if not due:
                del self._pieces[piece]
        if self._foreign:
            changed |= {each: GoalRecord() for each in self._foreign - changed.keys()}
            self._foreign = set()
        return changed

    def _moving(
        self, target: Target, workers: Mapping[str, WorkerView]
    ) -> dict[int, dict[TaskId, Copies]]:
        actives, standbys = _granted(workers, self._shape)
        nobody: list[str] = []
        wanted: dict[int, dict[TaskId, Copies]] = defaultdict(dict)
        for task, copies in target.items():
            held = standbys.get(task, nobody)
            is_there = len(held) == len(copies.standbys) and all(
                worker in copies.standbys for worker in held
            )
            if not is_there or actives.get(task) != copies.active:
                wanted[piece_of(task)][task] = copies
        return wanted


def standing(workers: Mapping[str, WorkerView], shape: str) -> dict[TaskId, Copies]:
    """Where tasks are by the last assignments of these workers, but for those that have ended and
    those of another shape than that of this digest, whose names mean something else."""
    actives, standbys = _granted(workers, shape)
    return {
        task: Copies(actives.get(task), tuple(standbys.get(task, ())))
        for task in actives.keys() | standbys.keys()
    }


def _granted(
    workers: Mapping[str, WorkerView], shape: str
) -> tuple[dict[TaskId, str], dict[TaskId, list[str]]]:
    actives: dict[TaskId, str] = {}
    standbys: dict[TaskId, list[str]] = defaultdict(list)
    for worker in sorted(workers):
        grant = workers[worker].grant
        if grant is None or grant.record.ended:
            continue
        if shape and grant.record.shape not in ("", shape):
            continue
        actives.update(dict.fromkeys(grant.tasks, worker))
        for task in grant.standbys:
            standbys[task].append(worker)
    return actives, standbys


def is_same(one: Copies, two: Copies) -> bool:
    """Whether the same workers have the same roles; standbys have no order among them."""
    return one.active == two.active and (
        one.standbys == two.standbys or set(one.standbys) == set(two.standbys)
    )


def names(copies: Copies) -> tuple[str, ...]:
    """As a record names them: the active, "" where there is none, then the standbys."""
    return (copies.active or "", *copies.standbys)


def copies_named(named: Mapping[str, tuple[str, ...]]) -> dict[TaskId, Copies]:
    """The copies of tasks as a record names them. Raises ConfigError for a task that is none."""
    return {
        TaskId.parse(task): Copies(workers[0] or None, tuple(workers[1:]))
        for task, workers in named.items()
        if workers
    }
