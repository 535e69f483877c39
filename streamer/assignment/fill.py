"""Gives every missing copy a place: the heaviest first, each to the worker with the least.

A worker gets no more than its quota while others have room, so counts come out even whatever the
sizes are. Within a size class the tasks of one subtopology are dealt out together, so that each is
spread over the workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from itertools import groupby

from streamer.assignment.board import NOBODY, Board
from streamer.assignment.shares import Shares

__all__ = ["fill_actives", "fill_standbys", "relieve"]

_ACTIVES, _RATE, _COPIES, _BYTES = range(4)
# So many tasks of about one rate are given to as many workers at once, by their bytes.
_TOGETHER = 32
# From twice the average on, it matters more who can carry a task than how tasks are mixed.
_HEAVY = -5
_Key = tuple[bool, float, float, int, int]


def fill_actives(board: Board) -> None:
    missing = [task for task, active in enumerate(board.active) if active == NOBODY]
    if not missing or not any(board.is_open):
        return
    shares = Shares(board, _totals(board, missing, is_active=True))
    dealer = _Dealer(board, shares, _ACTIVES)
    for tasks in dealer.deal(missing):
        rest = []
        for task in tasks:
            target = _former(board, task, dealer)
            if target == NOBODY:
                rest.append(task)
            else:
                board.give(task, target, is_active=True)
                dealer.gave(target)
        for task, target in dealer.pairs(rest):
            board.give(task, target, is_active=True)
            dealer.gave(target)


def fill_standbys(board: Board) -> None:
    room = board.zones.limits[0]
    missing = [
        task
        for task, wanted in enumerate(board.wanted)
        for _ in range(min(wanted, room) - len(board.holders(task)))
    ]
    if not missing or not any(board.is_open):
        return
    shares = Shares(board, _totals(board, missing, is_active=False))
    dealer = _Dealer(board, shares, _COPIES)
    for (task,) in dealer.deal(missing):
        target = _former(board, task, dealer)
        if target == NOBODY:
            target = dealer.least(task)
        if target != NOBODY:
            board.give(task, target, is_active=False)
            dealer.gave(target)


def relieve(board: Board, lingering: Iterable[int]) -> None:
    """Take a task from a drained worker at once if no standby can be built beside it."""
    stuck = []
    for task in sorted(lingering):
        if any(board.is_open[at] for at in board.standbys[task]) or not any(board.is_open):
            continue
        board.take(task, board.active[task])
        board.roles.pop(task, None)
        stuck.append(task)
    if stuck:
        fill_actives(board)
        for task in stuck:
            for at in list(board.standbys[task]):
                if not board.zones.admits(at, board.others(task, at)):
                    board.take(task, at)


def _totals(board: Board, missing: Sequence[int], *, is_active: bool) -> list[int]:
    """What the open workers will carry in all."""
    totals = [
        sum(carried[unit] for carried, ok in zip(board.carried, board.is_open, strict=True) if ok)
        for unit in range(4)
    ]
    for task in missing:
        for unit, more in enumerate(board.copy(task, is_active=is_active)):
            totals[unit] += more
    return totals


def _former(board: Board, task: int, dealer: _Dealer) -> int:
    """A worker that still has older state of the task on its disk, if it has room."""
    others = board.holders(task)
    for at in sorted(board.former[task]):
        if dealer.has_room(at) and board.admits(task, at, others):
            return at
    return NOBODY


class _Dealer:
    """Workers by what they carry, in a heap per zone, so that a zone which a task must avoid is
    passed over as a whole."""

    def __init__(self, board: Board, shares: Shares, unit: int) -> None:
        self._board = board
        self._unit = unit
        self._quotas = shares.quotas(unit)
        self._open = shares.open
        self._measures = _measures(board, shares, unit)
        self._fair = [shares.totals[unit] * part for part in shares.parts[unit]]
        self._is_heavy = False
        self._same = [0] * len(board.names)
        self._heaps: dict[int, list[_Key]] = {}
        self._counts: dict[int, list[int]] = {}
        for at in self._open:
            for task in board.held[at]:
                if unit == _COPIES or board.active[task] == at:
                    self._counted(board.tasks[task].subtopology)[at] += 1

    def _counted(self, subtopology: int) -> list[int]:
        return self._counts.setdefault(subtopology, [0] * len(self._board.names))

    def deal(self, missing: Sequence[int]) -> Iterable[list[int]]:
        """The tasks in the order in which they shall be placed, as many as may go together."""
        tasks, former = self._board.tasks, self._board.former
        weights = {task: self._weight(task) for task in missing}
        groups = {
            task: (not former[task], -int(weights[task] * 8).bit_length(), tasks[task].subtopology)
            for task in missing
        }
        together = max(1, min(_TOGETHER, len(self._open) // 8)) if len(self._measures) > 1 else 1
        ordered = sorted(missing, key=lambda task: (groups[task], -weights[task], task))
        for group, members in groupby(ordered, key=lambda task: groups[task]):
            self._is_heavy = group[1] <= _HEAVY
            self._regroup(group[2])
            listed = list(members)
            for start in range(0, len(listed), together):
                yield listed[start : start + together]

    def has_room(self, worker: int) -> bool:
        return self._board.carried[worker][self._unit] < self._quotas[worker]

    def gave(self, worker: int) -> None:
        self._same[worker] += 1
        heappush(self._heaps[self._board.zones.areas[worker]], self._key(worker))

    def least(self, task: int) -> int:
        """The worker with the least that may have the task; NOBODY if the zones forbid all."""
        others = self._board.holders(task)
        tops = (self._top(heap, others) for heap in self._heaps.values())
        best = min((top for top in tops if top is not None), default=None)
        return NOBODY if best is None else best[-1]

    def pairs(self, tasks: Sequence[int]) -> list[tuple[int, int]]:
        """Tasks of about one weight with the workers that need most of it: among these, the
        largest goes to the one that needs most of the second measure."""
        workers = []
        for _ in tasks:
            tops = ((self._top(heap, []), heap) for heap in self._heaps.values())
            found = [(key, area) for key, area in tops if key is not None]
            key, heap = min(found, key=lambda each: each[0])
            heappop(heap)
            workers.append(key[-1])
        if len(tasks) < 2:
            return list(zip(tasks, workers, strict=True))
        unit, fair, by = self._measures[-1]
        carried, size = self._board.carried, self._board.size
        workers.sort(key=lambda at: (carried[at][unit] * by - fair[at], at))
        return list(zip(sorted(tasks, key=lambda task: -size[task]), workers, strict=True))

    def _top(self, heap: list[_Key], others: list[int]) -> _Key | None:
        """The first that the zones admit."""
        zones = self._board.zones
        passed: list[_Key] = []
        found = None
        while heap:
            key = heap[0]
            worker = key[-1]
            if key != self._key(worker):
                heappop(heap)
                continue
            if zones.admits(worker, others):
                found = key
                break
            if zones.closes(worker, others):
                break
            passed.append(heappop(heap))
        for key in passed:
            heappush(heap, key)
        return found

    def _key(self, worker: int) -> _Key:
        carried = self._board.carried[worker]
        slots = max(self._fair[worker] - carried[self._unit], 0.01)
        unit, fair, by = self._measures[0]
        need = fair[worker] - carried[unit] * by
        urgency = -need if self._is_heavy else -need / slots
        level = carried[self._unit] / (self._fair[worker] or 1e-9)
        return (
            not self.has_room(worker),
            round(urgency, 6),
            round(level, 6),
            self._same[worker],
            worker,
        )

    def _weight(self, task: int) -> float:
        """Beside an average task."""
        unit, _, by = self._measures[0]
        return self._board.copy(task, is_active=self._unit == _ACTIVES)[unit] * by

    def _regroup(self, subtopology: int) -> None:
        self._same = self._counted(subtopology)
        self._heaps = {}
        for at in self._open:
            self._heaps.setdefault(self._board.zones.areas[at], []).append(self._key(at))
        for heap in self._heaps.values():
            heapify(heap)


def _measures(board: Board, shares: Shares, unit: int) -> list[tuple[int, list[float], float]]:
    """The units that are to come out even: what each worker should carry, in average copies, and
    how many of those one step of the unit is.

    Actives are dealt out by their rates and, among workers that need about the same, by bytes.
    """
    is_known = [bool(total) for total in shares.totals]
    measures = [_BYTES] if is_known[_BYTES] else []
    if unit == _ACTIVES and is_known[_RATE]:
        measures = [_RATE, *measures]
    count = shares.totals[unit]
    return [
        (each, [count * part for part in shares.parts[each]], count / shares.totals[each])
        for each in measures or [unit]
    ]
