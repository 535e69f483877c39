"""When many workers came at once, such as a zone that is back: one step at a time takes too long.

Workers with too many copies give the surplus away, of a size that fills the newcomers up to what
they should have, and it is dealt out as if it were missing. Steps of balancing do the rest.
"""

from __future__ import annotations

from streamer.assignment.board import Board
from streamer.assignment.fill import fill_actives, fill_standbys
from streamer.assignment.shares import Shares

__all__ = ["redeal"]

_ACTIVES, _COPIES, _BYTES = 0, 2, 3
# So many copies are moved one by one in less than a second.
_MANY = 200


def redeal(board: Board) -> None:
    unit = _ACTIVES if max(board.wanted, default=1) == 1 else _COPIES
    shares = Shares(board)
    lacking = _lacking(board, shares, unit)
    if lacking < _MANY:
        return
    size = _lacking(board, shares, _BYTES) / lacking
    quotas = shares.quotas(unit)
    for worker in shares.open:
        surplus = board.carried[worker][unit] - quotas[worker]
        if surplus > 0:
            for task in _fitting(board, worker, unit, size)[:surplus]:
                board.take(task, worker)
                board.why[task] = "balance: number of copies"
    if unit == _ACTIVES:
        fill_actives(board)
    else:
        fill_standbys(board)


def _lacking(board: Board, shares: Shares, unit: int) -> float:
    low = shares.low[unit]
    return sum(max(0.0, low[at] - board.carried[at][unit]) for at in shares.open)


def _fitting(board: Board, worker: int, unit: int, size: float) -> list[int]:
    """Tasks that the worker may give away, those of about the size first."""
    found = [
        task
        for task in board.held[worker]
        if board.is_movable(task, worker) and (board.active[task] == worker) == (unit == _ACTIVES)
    ]
    return sorted(found, key=lambda task: (abs(board.size[task] - size), task))
