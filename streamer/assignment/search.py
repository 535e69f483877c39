"""What a step of balancing is worth: how much less the workers concerned are off their shares.

Units are weighed so that what matters more is mended first: counts of actives, then rates, bytes,
and counts of copies. Inside the bands nothing counts. While a worker is waited for, counts alone
do: others carry for it what they will give back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamer.assignment.board import NOTHING, Board, Units
from streamer.assignment.shares import Shares

__all__ = ["WORTH", "Move", "Scale", "Step", "Swap"]

# Per step of a unit: one active, an average task's rate, one copy, an average copy's bytes.
WEIGHTS = (1_000.0, 50.0, 4.0, 10.0)
_COUNTS_ALONE = (1_000.0, 0.0, 4.0, 0.0)
# What a step must gain: a fifth of an average copy's bytes, or half a copy. A worker that is off
# less than that is left alone.
WORTH = 2.0
NAMES = ("number of actives", "rate", "number of copies", "bytes")


@dataclass(frozen=True, slots=True)
class Move:
    """A copy and its role go to a worker that has none."""

    task: int
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Swap:
    """A standby and the active exchange their roles."""

    task: int
    standby: int


Step = tuple[Move | Swap, ...]


class Scale:
    """Weighs workers and steps, and carries steps out."""

    def __init__(self, board: Board, shares: Shares) -> None:
        self.board = board
        self.shares = shares
        self._is_open = board.is_open
        self._carried = board.carried
        bounds = zip(*shares.low, *shares.high, strict=True)
        self._bounds = list(bounds)
        weights = WEIGHTS if shares.is_complete else _COUNTS_ALONE
        self._weights = [
            weight / unit if unit else 0.0
            for weight, unit in zip(weights, shares.units, strict=True)
        ]
        # What moving an average copy costs.
        self.byte_unit = shares.units[3] or float(board.usual_cost)
        self.undoing: list[Move | Swap] = []
        self.off = [0.0] * len(board.names)
        self.looks = 0
        """How many changes of a worker's load were weighed: what a search costs."""
        for worker in shares.open:
            self.off[worker] = self._off(worker, board.carried[worker])

    def _off(self, worker: int, load: Sequence[int]) -> float:
        """How far a worker with this load is off its share."""
        actives, rate, copies, size = load
        low0, low1, low2, low3, high0, high1, high2, high3 = self._bounds[worker]
        weights = self._weights
        off = 0.0
        if actives > high0:
            off += (actives - high0) * weights[0]
        elif actives < low0:
            off += (low0 - actives) * weights[0]
        if rate > high1:
            off += (rate - high1) * weights[1]
        elif rate < low1:
            off += (low1 - rate) * weights[1]
        if copies > high2:
            off += (copies - high2) * weights[2]
        elif copies < low2:
            off += (low2 - copies) * weights[2]
        if size > high3:
            off += (size - high3) * weights[3]
        elif size < low3:
            off += (low3 - size) * weights[3]
        return off

    def gain(self, worker: int, plus: Units = NOTHING, minus: Units = NOTHING) -> float:
        """How much nearer to its share a worker comes by a change of its load."""
        if not self._is_open[worker]:
            return 0.0
        self.looks += 1
        a, r, n, b = self._carried[worker]
        more_a, more_r, more_n, more_b = plus
        less_a, less_r, less_n, less_b = minus
        load = (a + more_a - less_a, r + more_r - less_r, n + more_n - less_n, b + more_b - less_b)
        return self.off[worker] - self._off(worker, load)

    def excess(self, worker: int, unit: int) -> float:
        """Above its bounds if positive, below if negative; 0 where nobody looks at the unit."""
        if not self._weights[unit]:
            return 0.0
        carried = self.board.carried[worker][unit]
        if carried > self.shares.high[unit][worker]:
            return carried - self.shares.high[unit][worker]
        return min(0.0, carried - self.shares.low[unit][worker])

    def reason(self, worker: int) -> str:
        """In words, by what the worker is off most."""
        most, name = 0.0, "load"
        for unit, weight in enumerate(self._weights):
            off = abs(self.excess(worker, unit)) * weight
            if off > most:
                most, name = off, NAMES[unit]
        return name

    def swap_gain(self, task: int, standby: int) -> float:
        role = self.board.role(task)
        return self.gain(self.board.active[task], minus=role) + self.gain(standby, plus=role)

    def move_gain(self, task: int, source: int, target: int) -> float:
        copy = self.board.copy(task, is_active=self.board.active[task] == source)
        return self.gain(source, minus=copy) + self.gain(target, plus=copy)

    def take(self, steps: Iterable[Move | Swap]) -> set[int]:
        """Carry steps out; returns the workers whose load changed."""
        touched: set[int] = set()
        board = self.board
        for step in steps:
            if isinstance(step, Swap):
                active = board.active[step.task]
                touched |= {active, step.standby}
                board.swap(step.task, step.standby)
                self.undoing.append(Swap(step.task, active))
            else:
                touched |= {step.source, step.target}
                board.move(step.task, step.source, step.target)
                self.undoing.append(Move(step.task, step.target, step.source))
        for worker in touched:
            if self._is_open[worker]:
                self.off[worker] = self._off(worker, board.carried[worker])
        return touched

    def undo(self, since: int) -> None:
        """Take back all steps but the first ones."""
        steps = self.undoing[since:]
        self.take(reversed(steps))
        del self.undoing[since:]
