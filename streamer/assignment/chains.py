"""Steps for a worker with too many copies none of which may simply go to one with too few.

It may have only actives to give: then one goes, and roles are exchanged back along other workers.
Or all their other copies are in the zone with too few: then a worker of a third zone takes one and
gives one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamer.assignment.copies import Partners
from streamer.assignment.roles import swap_path, swaps_gain
from streamer.assignment.search import WORTH, Move, Scale, Step

__all__ = ["chain_steps"]

_COPIES = 2
_OTHERS = (0, 1, 3)
_TRIED = 6


def chain_steps(scale: Scale, worker: int, partners: Partners) -> Step:
    """The cheapest chain from the worker, or to it; empty if anything else is off too."""
    excess = scale.excess(worker, _COPIES)
    if not excess or any(scale.excess(worker, unit) for unit in _OTHERS):
        return ()
    for other in partners.of(worker)[:_TRIED]:
        source, target = (worker, other) if excess > 0 else (other, worker)
        steps = _with_roles(scale, source, target)
        if steps:
            return steps
    best: tuple[int, Step] | None = None
    between = partners.middle()
    for other in partners.of(worker)[:_TRIED]:
        source, target = (worker, other) if excess > 0 else (other, worker)
        for middle in between:
            if middle in (source, target):
                continue
            for found in _chains(scale, source, middle, target):
                if best is None or found[0] < best[0]:
                    best = found
    return () if best is None else best[1]


def _with_roles(scale: Scale, source: int, target: int) -> Step:
    """Move an active, and bring the roles back into order along swaps."""
    board = scale.board
    found = [
        task
        for task in board.held[source]
        if board.active[task] == source
        and board.is_movable(task, source)
        and board.admits(task, target, board.others(task, source))
    ]
    for task in sorted(found, key=lambda task: (board.cost(task, target), task))[:_TRIED]:
        move = Move(task, source, target)
        off = scale.off[source] + scale.off[target]
        scale.take((move,))
        swaps = swap_path(scale, target)
        gain = off - scale.off[source] - scale.off[target] + swaps_gain(scale, swaps)
        scale.undo(len(scale.undoing) - 1)
        if swaps and gain >= WORTH:
            return (move, *swaps)
    return ()


def _chains(scale: Scale, source: int, middle: int, target: int) -> Iterator[tuple[int, Step]]:
    """The first chain that helps, for each of the cheapest copies of the source."""
    board = scale.board
    for first in _standbys(scale, source, middle):
        for second in _standbys(scale, middle, target):
            if first == second:
                continue
            mine = board.copy(first, is_active=False)
            yours = board.copy(second, is_active=False)
            gain = (
                scale.gain(source, minus=mine)
                + scale.gain(middle, plus=mine, minus=yours)
                + scale.gain(target, plus=yours)
            )
            if gain >= WORTH:
                price = board.cost(first, middle) + board.cost(second, target)
                yield price, (Move(first, source, middle), Move(second, middle, target))
                break


def _standbys(scale: Scale, source: int, target: int) -> list[int]:
    """The cheapest standbys that may go from one worker to the other."""
    board = scale.board
    found = [
        task
        for task in board.held[source]
        if board.active[task] != source and board.admits(task, target, board.others(task, source))
    ]
    return sorted(found, key=lambda task: (board.cost(task, target), task))[:_TRIED]
