"""Takes moves back, or makes smaller ones of them, where the placement stays as even as it is.

Steps of balancing are chosen one after the other, and a later one may make an earlier one needless.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamer.assignment.balance import mend
from streamer.assignment.board import NOBODY
from streamer.assignment.copies import Partners
from streamer.assignment.search import Move, Scale, Step

__all__ = ["save"]

# In larger clusters a move is only compared with others from the same worker.
_ALL = 24
# Other ways are looked for while the search has weighed fewer changes than this. A controller that
# plans does nothing else, and this is about a second of it; how many ways that is depends on the
# tasks. It is no time, so that a plan depends on what is planned alone.
_LOOKS = 400_000
# In a large cluster the rest of a plan takes most of the second that it may take.
_LOOKS_LARGE = 100_000
# How long another way may be.
_STEPS = 12
# Of so many moves none is looked at alone.
_MANY = 500
_NOT_WORSE = -1e-6


def save(scale: Scale, *, is_thorough: bool) -> bool:
    """Whether anything was saved. Other ways are looked for only if it shall be thorough."""
    partners = Partners(scale)
    is_small = len(scale.shares.open) <= _ALL
    until = scale.looks + (_LOOKS if is_small else _LOOKS_LARGE) if is_thorough else 0
    changed, saved = True, False
    while changed:
        changed = False
        moved = _moved(scale)
        if len(moved) > _MANY and not is_small:
            break
        for task, at in moved:
            if at not in scale.board.holders(task):
                continue
            steps = _cheaper(scale, task, at)
            if steps:
                scale.take(steps)
                changed = True
                continue
            for other in _others(scale, task, at) if is_small else _returns(scale, task, at):
                if scale.looks >= until:
                    break
                if _is_cheaper(scale, partners, other):
                    changed = True
                    break
        saved |= changed
    return saved


def _moved(scale: Scale) -> list[tuple[int, int]]:
    """Copies where there was none before, the most expensive first."""
    board = scale.board
    found = [
        (-board.cost(task, at), task, at)
        for task in range(len(board.tasks))
        for at in board.holders(task)
        if at not in board.home[task] and board.cost(task, at) and board.is_movable(task, at)
    ]
    return [(task, at) for _, task, at in sorted(found)]


def _returns(scale: Scale, task: int, at: int) -> Iterator[Step]:
    board = scale.board
    beside = board.others(task, at)
    for home in sorted(board.home[task]):
        if board.admits(task, home, beside):
            yield (Move(task, at, home),)


def _others(scale: Scale, task: int, at: int) -> Iterator[Step]:
    """Other beginnings: the copy back, or to another worker, and alone or for another copy."""
    board = scale.board
    yield from _returns(scale, task, at)
    beside = board.others(task, at)
    for other in scale.shares.open:
        if other == at or not board.admits(task, other, beside):
            continue
        if other not in board.home[task]:
            yield (Move(task, at, other),)
        for instead in tuple(board.held[other]):  # Each way is tried out meanwhile.
            fits = board.is_movable(instead, other) and at not in board.holders(instead)
            if fits and board.admits(instead, at, board.others(instead, other)):
                yield (Move(task, at, other), Move(instead, other, at))


def _is_cheaper(scale: Scale, partners: Partners, begin: Step) -> bool:
    """Begin another way and mend what that leaves; it is kept if it is cheaper and as even."""
    board = scale.board
    first = begin[0]
    assert isinstance(first, Move)
    off, moved, since = sum(scale.off), board.moved, len(scale.undoing)
    board.barred = (first.task, first.source)
    touched = scale.take(begin)
    mend(scale, partners, sorted(touched), limit=_STEPS)
    board.barred = (NOBODY, NOBODY)
    if board.moved < moved and sum(scale.off) <= off + 1e-6:
        return True
    scale.undo(since)
    return False


def _cheaper(scale: Scale, task: int, at: int) -> Step:
    """The step that saves most of what it costs that the worker gets the task."""
    board = scale.board
    beside = board.others(task, at)
    best: tuple[int, Step] | None = None
    for home in sorted(board.home[task]):
        if not board.admits(task, home, beside):
            continue
        back = Move(task, at, home)
        if scale.move_gain(task, at, home) >= _NOT_WORSE:
            return (back,)
        for saving, other in _instead(scale, back):
            if best is None or saving > best[0]:
                best = (saving, (back, other))
    return () if best is None else best[1]


def _instead(scale: Scale, back: Move) -> Iterator[tuple[int, Move]]:
    """Smaller tasks with the same role that may go where this one went."""
    board = scale.board
    task, at, home = back.task, back.source, back.target
    is_active = board.active[task] == at
    mine = board.copy(task, is_active=is_active)
    cost = board.cost(task, at)
    everybody = scale.shares.open
    for donor in everybody if len(everybody) <= _ALL else [home]:
        if donor == at:
            continue
        for other in board.held[donor]:
            saving = cost - (board.cost(other, at) - _refund(scale, other, donor))
            if saving <= 0 or (board.active[other] == donor) != is_active:
                continue
            if not board.is_movable(other, donor) or at in board.holders(other):
                continue
            yours = board.copy(other, is_active=is_active)
            gain = scale.gain(at, plus=yours, minus=mine)
            if donor == home:
                gain += scale.gain(home, plus=mine, minus=yours)
            else:
                gain += scale.gain(home, plus=mine) + scale.gain(donor, minus=yours)
            if gain >= _NOT_WORSE and board.admits(other, at, board.others(other, donor)):
                yield saving, Move(other, donor, at)


def _refund(scale: Scale, task: int, at: int) -> int:
    return scale.board.cost(task, at)
