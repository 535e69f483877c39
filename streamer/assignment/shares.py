"""How much each worker should carry, and how far from that it may be before something moves.

Actives follow the capacities. Copies do as far as the zones allow: where one zone has more than
half of the capacity, it still gets one copy of each task at the most, and the others get the rest.
Counts may be the fair share rounded down or up. Bytes and rates may be a tenth off, or the size of
an average copy: nothing moves for less, and a small cluster is no more even than its copies are.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamer.assignment.board import Board
from streamer.assignment.facts import Presence
from streamer.assignment.zones import ROOT

__all__ = ["BAND", "Shares"]

BAND = 0.10
_ACTIVES, _RATE, _COPIES, _BYTES = range(4)


class Shares:
    """`low` and `high` are per unit and worker; `units` are what one step of each unit is."""

    def __init__(self, board: Board, totals: Sequence[int] | None = None) -> None:
        """`totals` are what is to be shared out; without it, what the open workers carry."""
        self._board = board
        self.open = [at for at, is_open in enumerate(board.is_open) if is_open]
        if totals is None:
            totals = [sum(board.carried[at][unit] for at in self.open) for unit in range(4)]
        by_capacity = _fractions(board.capacity, self.open)
        by_place = _Places(board).fractions() if totals[_COPIES] else by_capacity
        self.totals = totals
        self.parts = [by_capacity, by_capacity, by_place, by_place]
        counts = (max(1, totals[_ACTIVES]), max(1, totals[_COPIES]))
        self.units = [1.0, totals[_RATE] / counts[0], 1.0, totals[_BYTES] / counts[1]]
        # One worker more or less is seen in a moment; until then one copy is no reason to move.
        self.is_complete = all(each is not Presence.AWAY for each in board.presence)
        slack = 0 if self.is_complete else 1
        self.low: list[list[float]] = []
        self.high: list[list[float]] = []
        for unit, part in enumerate(self.parts):
            fair = [totals[unit] * each for each in part]
            if unit in (_ACTIVES, _COPIES):
                self.low.append([_floor(each) - slack for each in fair])
                self.high.append([_ceil(each) + slack for each in fair])
            else:
                band = [max(BAND * each, self.units[unit]) for each in fair]
                self.low.append([each - width for each, width in zip(fair, band, strict=True)])
                self.high.append([each + width for each, width in zip(fair, band, strict=True)])

    def quotas(self, unit: int) -> list[int]:
        """Whole numbers that add up to the total; the larger ones go to those who have most."""
        part, total = self.parts[unit], self.totals[unit]
        fair = [total * each for each in part]
        quotas = [_floor(each) for each in fair]
        carried = self._board.carried
        ranked = sorted(
            (at for at in self.open if _ceil(fair[at]) > quotas[at]),
            key=lambda at: (-(carried[at][unit] > quotas[at]), quotas[at] - fair[at], at),
        )
        for at in ranked[: max(0, total - sum(quotas))]:
            quotas[at] += 1
        return quotas


class _Places:
    """The share of each worker in all copies: by capacity, but no place gets more than the copies
    of a task that it may have."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._children = board.zones.children
        self._limits = board.zones.limits
        self._weights: dict[int, int] = {}
        self._part = [0.0] * len(board.names)

    def fractions(self) -> list[float]:
        self._share(ROOT, float(self._limits[ROOT]))
        total = sum(self._part) or 1.0
        return [part / total for part in self._part]

    def _weight(self, node: int) -> int:
        """The capacity of the open workers there; a worker stands as -1 - number."""
        if node < 0:
            worker = -1 - node
            return self._board.capacity[worker] if self._board.is_open[worker] else 0
        if node not in self._weights:
            self._weights[node] = sum(self._weight(each) for each in self._children.get(node, ()))
        return self._weights[node]

    def _share(self, node: int, copies: float) -> None:
        if node < 0:
            self._part[-1 - node] += copies
            return
        below = [each for each in self._children.get(node, ()) if self._weight(each)]
        rooms = {each: self._limits[each] if each >= 0 else 1 for each in below}
        left = copies
        while below:
            each = left / sum(self._weight(node) for node in below)
            full = [node for node in below if each * self._weight(node) >= rooms[node]]
            if not full:
                break
            for node in full:
                self._share(node, float(rooms[node]))
                left -= rooms[node]
                below.remove(node)
            if left <= 0:
                return
        for node in below:
            self._share(node, each * self._weight(node))


def _fractions(capacity: Sequence[int], workers: Sequence[int]) -> list[float]:
    total = sum(capacity[at] for at in workers) or 1
    part = [0.0] * len(capacity)
    for at in workers:
        part[at] = capacity[at] / total
    return part


# Shares such as 10 that come out as 9.999999 or 10.000001 mean 10.
def _floor(share: float) -> int:
    return int(share + 1e-6)


def _ceil(share: float) -> int:
    return -int(-share + 1e-6) if share == 0 else int(share + 1 - 1e-6)
