"""Steps that move copies to other workers. They cost bytes, so the fewest that help are taken."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from streamer.assignment.board import NOBODY
from streamer.assignment.search import WORTH, Move, Scale, Step, Swap

__all__ = ["Partners", "copy_steps"]

_RATE, _COPIES, _BYTES = 1, 2, 3
# With so few workers each is looked at; else the least and the most loaded of each zone.
_ALL = 24
_PER_ZONE = 3
_MOST = 9
# With so many workers off, what one of them needs is found at fewer others.
_MANY_OFF = 100
# The order of partners is made anew after so many steps.
_STALE = 8
# Moving an average copy must gain so much more: half of what an average copy too many weighs.
_BYTES_PRICE = 1.0
_Found = tuple[float, Step]


class Partners:
    """Whom a worker may exchange copies with: those that are off, and the extremes of each zone.

    The order is made anew now and then only; what a step is worth is computed exactly each time.
    """

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._orders: dict[int, list[int]] = {}
        self._age = 0
        self._most = _MOST
        if len(scale.shares.open) > _ALL:
            self.refresh()

    @property
    def is_current(self) -> bool:
        return not self._age or len(self._scale.shares.open) <= _ALL

    def grow_old(self) -> None:
        """A step was taken."""
        self._age += 1
        if self._age >= _STALE and len(self._scale.shares.open) > _ALL:
            self.refresh()

    def refresh(self) -> None:
        scale = self._scale
        board, shares = scale.board, scale.shares
        self._orders = {}
        for unit in range(4):
            if shares.totals[unit]:
                part, carried = shares.parts[unit], board.carried
                level = {at: carried[at][unit] / (part[at] or 1e-9) for at in shares.open}
                # Of equals the first one stays the first.
                self._orders[unit] = sorted(shares.open, key=level.__getitem__)
        off = sum(off > WORTH for off in scale.off)
        self._most = _MOST if off < _MANY_OFF else _MOST // 3
        self._age = 0

    def of(self, worker: int) -> list[int]:
        """Where the worker has too much, those who have least, and the other way round."""
        scale = self._scale
        if len(scale.shares.open) <= _ALL:
            return [at for at in scale.shares.open if at != worker]
        found: dict[int, None] = {}
        for unit, order in self._orders.items():
            excess = scale.excess(worker, unit)
            if excess:
                self._pick(iter(order) if excess > 0 else reversed(order), found)
        found.pop(worker, None)
        return list(found)

    def middle(self) -> list[int]:
        """Through whom something may be passed on: a few of each zone."""
        found: dict[int, None] = {}
        self._pick(iter(self._orders.get(_COPIES, self._scale.shares.open)), found)
        return list(found)

    def _pick(self, listed: Iterator[int], found: dict[int, None]) -> None:
        areas = self._scale.board.zones.areas
        picked: dict[int, int] = {}
        left = self._most
        for at in listed:
            if picked.get(areas[at], 0) < _PER_ZONE:
                picked[areas[at]] = picked.get(areas[at], 0) + 1
                found[at] = None
                left -= 1
                if not left:
                    return


def copy_steps(scale: Scale, worker: int, partners: Partners) -> Step:
    """The best move, or exchange, between the worker and others; empty if none is worth it."""
    others = partners.of(worker)
    found = max(_moves(scale, worker, others), default=None, key=lambda each: each[0])
    if found is None:
        found = max(_exchanges(scale, worker, others), default=None, key=lambda each: each[0])
    return () if found is None else found[1]


def _moves(scale: Scale, worker: int, others: list[int]) -> Iterator[_Found]:
    """Of each task of the worker to others, and of others' tasks to the worker.

    Nobody gains more than what it is off, so most are dismissed by what one side gains.
    """
    yield from _given(scale, worker, others)
    board = scale.board
    wanted = _wanted(scale, worker, is_over=False)
    for other in others:
        for task in board.held[other]:
            if not board.is_movable(task, other):
                continue
            move = (task, other, worker)
            if found := _fetch(scale, move, wanted):
                yield found
            if found := _take_over(scale, move, wanted):
                yield found


def _given(scale: Scale, worker: int, others: list[int]) -> Iterator[_Found]:
    board, off = scale.board, scale.off
    wanted = _wanted(scale, worker, is_over=True)
    for task in board.held[worker]:
        if not board.is_movable(task, worker):
            continue
        copy = board.copy(task, is_active=board.active[task] == worker)
        mine = scale.gain(worker, minus=copy)
        for other in others:
            if mine + off[other] < WORTH:
                continue
            move = (task, worker, other)
            gain = mine + scale.gain(other, plus=copy) - _bytes(scale, move)
            if gain >= WORTH and board.admits(task, other, board.others(task, worker)):
                yield gain - _price(scale, move, wanted), (Move(*move),)


def _fetch(scale: Scale, move: tuple[int, int, int], wanted: float) -> _Found | None:
    board = scale.board
    task, source, target = move
    copy = board.copy(task, is_active=board.active[task] == source)
    gain = scale.gain(target, plus=copy)
    if gain + scale.off[source] < WORTH:
        return None
    gain += scale.gain(source, minus=copy) - _bytes(scale, move)
    if gain < WORTH or not board.admits(task, target, board.others(task, source)):
        return None
    return gain - _price(scale, move, wanted), (Move(*move),)


def _take_over(scale: Scale, move: tuple[int, int, int], wanted: float) -> _Found | None:
    """The worker gets the copy of a standby, and the active role with it."""
    board, off = scale.board, scale.off
    task, source, target = move
    active = board.active[task]
    if active in (source, NOBODY) or task in board.roles or task in board.lent:
        return None
    if not board.is_open[active]:
        return None
    role, copy = board.role(task), board.copy(task, is_active=False)
    gain = scale.gain(target, plus=(role[0], role[1], copy[2], copy[3]))
    if gain + off[source] + off[active] < WORTH:
        return None
    gain += scale.gain(source, minus=copy) + scale.gain(active, minus=role)
    gain -= _bytes(scale, move)
    if gain < WORTH or not board.admits(task, target, board.others(task, source)):
        return None
    return gain - _price(scale, move, wanted), (Move(*move), Swap(task, target))


def _wanted(scale: Scale, worker: int, *, is_over: bool) -> float:
    """The size of which each copy should be, for bytes and counts to become right together."""
    sign = 1 if is_over else -1
    size = max(0.0, sign * scale.excess(worker, _BYTES))
    copies = max(0.0, sign * scale.excess(worker, _COPIES), sign * scale.excess(worker, 0))
    return size / max(1.0, copies)


def _bytes(scale: Scale, move: tuple[int, int, int]) -> float:
    """What the bytes of a move take from its gain; negative if a copy comes back."""
    task, source, target = move
    board = scale.board
    home = board.home[task]
    # Asked of nearly every move that is weighed, and nearly all leave a worker that is a home.
    more = 0 if target in home else board.cost(task, target)
    less = 0 if source in home else board.cost(task, source)
    return _BYTES_PRICE * (more - less) / scale.byte_unit


def _price(scale: Scale, move: tuple[int, int, int], wanted: float) -> float:
    """What makes one of two equally useful moves the worse: bytes, an ill size, a crowd."""
    board = scale.board
    task, source, target = move
    misfit = abs(board.size[task] - wanted) / scale.byte_unit
    price = 4.0 * _bytes(scale, move) + 6.0 * misfit
    return price + 0.001 * _crowd(scale, task, source, target)


def _crowd(scale: Scale, task: int, source: int, target: int) -> int:
    """How many more of the task's subtopology the target has than the source."""
    board = scale.board
    tasks, number = board.tasks, board.tasks[task].subtopology
    here = sum(tasks[other].subtopology == number for other in board.held[source])
    there = sum(tasks[other].subtopology == number for other in board.held[target])
    return there - here


def _exchanges(scale: Scale, worker: int, others: list[int]) -> Iterator[_Found]:
    """A task of the worker against one of another with the same role, of which sizes fit best."""
    board = scale.board
    everything = len(scale.shares.open) <= _ALL
    own = [task for task in board.held[worker] if board.is_movable(task, worker)]
    for other in others:
        theirs = [task for task in board.held[other] if board.is_movable(task, other)]
        for is_active in (True, False):
            mine = [task for task in own if (board.active[task] == worker) == is_active]
            yours = [task for task in theirs if (board.active[task] == other) == is_active]
            if not mine or not yours:
                continue
            near = None if everything else _Near(scale, (worker, other), yours)
            for task in mine:
                for partner in yours if near is None else near.of(task):
                    move = (task, worker, other)
                    if found := _exchange(scale, move, partner, is_active):
                        yield found


class _Near:
    """Of another worker's tasks those whose size, or rate, makes up best for half of the
    difference between the two."""

    def __init__(self, scale: Scale, workers: tuple[int, int], yours: list[int]) -> None:
        board = scale.board
        self._lists: list[tuple[list[int], float, list[int], list[int]]] = []
        for unit, of in ((_BYTES, board.size), (_RATE, board.speed)):
            excess = [scale.excess(each, unit) for each in workers]
            if excess[0] or excess[1]:
                ordered = sorted(yours, key=of.__getitem__)
                half = (excess[0] - excess[1]) / 2
                self._lists.append((of, half, ordered, [of[each] for each in ordered]))

    def of(self, task: int) -> list[int]:
        found: list[int] = []
        for of, half, ordered, values in self._lists:
            at = bisect_left(values, of[task] - half)
            found += ordered[max(0, at - 1) : at + 1]
        return found


def _exchange(
    scale: Scale, move: tuple[int, int, int], partner: int, is_active: bool
) -> _Found | None:
    board = scale.board
    task, worker, other = move
    if task == partner:
        return None
    mine = board.copy(task, is_active=is_active)
    yours = board.copy(partner, is_active=is_active)
    if mine == yours:
        return None
    gain = scale.gain(worker, yours, mine)
    if gain + scale.off[other] < WORTH:
        return None
    there, back = (task, worker, other), (partner, other, worker)
    price = _bytes(scale, there) + _bytes(scale, back)
    gain += scale.gain(other, plus=mine, minus=yours) - price
    if (
        gain < WORTH
        or not board.admits(task, other, board.others(task, worker))
        or not board.admits(partner, worker, board.others(partner, other))
    ):
        return None
    return gain - 4.0 * price, (Move(*there), Move(*back))
