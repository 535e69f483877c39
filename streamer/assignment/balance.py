"""Takes steps until no worker that is off its share can be brought nearer to it.

The worker that is off most is looked at first: exchanges of roles, which are free, before moves
and exchanges of copies. Each step lessens the sum of what all are off, so this ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from streamer.assignment.board import Board
from streamer.assignment.chains import chain_steps
from streamer.assignment.copies import Partners, copy_steps
from streamer.assignment.roles import swap_steps
from streamer.assignment.search import WORTH, Scale, Step, Swap
from streamer.assignment.shares import Shares

__all__ = ["balance", "mend"]

# What could not be mended may become so by what was mended after it.
_PASSES = 4
_MANY = 1_000_000
# With more workers off than this, another pass is not made for a few steps more.
_MANY_OFF = 100


def balance(board: Board) -> Scale:
    scale = Scale(board, Shares(board))
    for _ in range(_PASSES):
        off = sum(off > WORTH for off in scale.off)
        if mend(scale, Partners(scale), scale.shares.open) <= max(0, off - _MANY_OFF):
            break
    return scale


def mend(scale: Scale, partners: Partners, workers: Iterable[int], *, limit: int = _MANY) -> int:
    """Look at workers, and at those they are mended with, until nothing helps or it has been looked
    so often; returns the number of steps that took."""
    heap = [(-scale.off[at], at) for at in workers if scale.off[at] > WORTH]
    heapify(heap)
    taken = looked = 0
    while heap and looked < limit:
        off, worker = heappop(heap)
        if -off != scale.off[worker]:
            continue
        looked += 1
        steps = _steps(scale, worker, partners)
        if not steps:
            continue
        _note(scale, worker, steps)
        taken += 1
        partners.grow_old()
        for touched in sorted(scale.take(steps)):
            if scale.off[touched] > WORTH:
                heappush(heap, (-scale.off[touched], touched))
    return taken


def _steps(scale: Scale, worker: int, partners: Partners) -> Step:
    steps: Step = swap_steps(scale, worker) or copy_steps(scale, worker, partners)
    if not steps and not partners.is_current:
        partners.refresh()
        steps = copy_steps(scale, worker, partners)
    return steps or chain_steps(scale, worker, partners)


def _note(scale: Scale, worker: int, steps: Step) -> None:
    reason = f"balance: {scale.reason(worker)}"
    for step in steps:
        if isinstance(step, Swap) or step.task not in scale.board.why:
            scale.board.why[step.task] = reason
