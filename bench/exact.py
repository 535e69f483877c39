"""The fewest bytes that a placement has to move, from an exact solver: what the product is held to.

The model knows nothing of how the product searches. It may place every copy anew under the same
hard rules, must come as near to the shares as the product did in each unit, over all workers
together, and moves as few bytes as that allows. Workers are ready or gone in it, nothing between.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import highspy

from streamer.assignment.facts import Facts
from streamer.assignment.place import settle
from streamer.assignment.search import Scale

UNITS = 4
_ROLE_UNITS = 2
TIME_LIMIT_S = 20.0
# Loads are scaled to about one per worker, so that the solver's tolerances mean the same for all.
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Verdict:
    """``least`` is None if the solver did not finish in time."""

    moved: int
    least: float | None

    @property
    def ratio(self) -> float | None:
        """Moved bytes over the fewest; an unfinished solve has none."""
        if self.least is None:
            return None
        if self.least < 0.5:
            return 1.0 if self.moved == 0 else float("inf")
        return self.moved / self.least


def judge(facts: Facts) -> Verdict:
    """Place, and solve the same exactly."""
    scale = settle(facts)
    board = scale.board
    moved = sum(
        board.cost(task, worker)
        for task in range(len(board.tasks))
        for worker in board.holders(task)
    )
    return Verdict(moved, _Model(scale).least())


@contextmanager
def _muted() -> Iterator[None]:
    """The solver greets on standard output, where rows go."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _solver() -> highspy.Highs:
    with _muted():
        return highspy.Highs()  # type: ignore[no-untyped-call]


@dataclass
class _Model:
    scale: Scale
    solver: highspy.Highs = field(default_factory=_solver)

    def least(self) -> float | None:
        solver = self.solver
        solver.silent()
        solver.setOptionValue("time_limit", TIME_LIMIT_S)
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("mip_rel_gap", 0.0)
        board = self.scale.board
        workers = self.scale.shares.open
        tasks = range(len(board.tasks))
        self.copy = {(t, w): solver.addBinary() for t in tasks for w in workers}
        self.active = {(t, w): solver.addBinary() for t in tasks for w in workers}
        for task in tasks:
            self._rules(task)
        for unit in range(UNITS):
            self._evenness(unit)
        unit = max(board.bytes, default=1) or 1
        solver.minimize(
            solver.qsum(
                board.cost(task, worker) / unit * chosen
                for (task, worker), chosen in self.copy.items()
            )
        )
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        return float(solver.getInfo().objective_function_value) * unit

    def _rules(self, task: int) -> None:
        board, solver = self.scale.board, self.solver
        workers = self.scale.shares.open
        sum_of = solver.qsum
        solver.addConstr(sum_of(self.copy[task, w] for w in workers) == len(board.holders(task)))
        solver.addConstr(sum_of(self.active[task, w] for w in workers) == 1)
        places: dict[int, list[int]] = {}
        for worker in workers:
            solver.addConstr(self.active[task, worker] <= self.copy[task, worker])
            if not board.may_be_active(task, worker):
                solver.addConstr(self.active[task, worker] == 0)
            for place in board.zones.paths[worker]:
                places.setdefault(place, []).append(worker)
        for place, inside in places.items():
            if len(inside) > 1:
                limit = board.zones.limits[place]
                solver.addConstr(sum_of(self.copy[task, w] for w in inside) <= limit)

    def _evenness(self, unit: int) -> None:
        """All workers together are no more off their shares than the product left them."""
        scale, solver = self.scale, self.solver
        shares = scale.shares
        if not shares.totals[unit]:
            return
        step = shares.totals[unit] / len(shares.open)
        over = []
        for worker in shares.open:
            load = solver.qsum(self._load(unit, worker, step))
            off = solver.addVariable(lb=0.0)
            solver.addConstr(load - off <= shares.high[unit][worker] / step)
            solver.addConstr(load + off >= shares.low[unit][worker] / step)
            over.append(off)
        allowed = sum(abs(_excess(scale, worker, unit)) for worker in shares.open) / step
        solver.addConstr(solver.qsum(over) <= allowed + _TOLERANCE)

    def _load(
        self, unit: int, worker: int, step: float
    ) -> list[highspy.highs.highs_linear_expression]:
        board = self.scale.board
        is_role = unit < _ROLE_UNITS
        chosen = self.active if is_role else self.copy
        loads = board.role if is_role else lambda task: board.copy(task, is_active=False)
        return [loads(task)[unit] / step * chosen[task, worker] for task in range(len(board.tasks))]


def _excess(scale: Scale, worker: int, unit: int) -> float:
    carried = scale.board.carried[worker][unit]
    low, high = scale.shares.low[unit][worker], scale.shares.high[unit][worker]
    return max(0.0, carried - high, low - carried)
