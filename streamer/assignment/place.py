"""The placement: what can stay stays, what is missing is filled in, and what is uneven is mended.

A pure function of the facts: the same for the same facts in any order, and unchanged when nothing
is missing and nothing is off its share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from streamer.assignment.balance import balance
from streamer.assignment.board import Board
from streamer.assignment.explain import explain
from streamer.assignment.facts import Facts, Placement
from streamer.assignment.fill import fill_actives, fill_standbys, relieve
from streamer.assignment.keep import keep_actives, keep_standbys, lend
from streamer.assignment.redeal import redeal
from streamer.assignment.search import Scale
from streamer.assignment.thrift import save

__all__ = ["place", "settle"]

# Saving may open a way to come nearer to a share; it ends after one round nearly always.
_ROUNDS = 4
_FEW = 1_000
_ANYBODY: Mapping[int, frozenset[int]] = {}


def place(facts: Facts) -> Placement:
    """Place every task."""
    board = settle(facts).board
    if len(board.tasks) <= _FEW:
        _repeat(board, facts)
    return explain(board, facts)


def _repeat(board: Board, facts: Facts) -> None:
    """Place again from what was found, until nothing changes: where there are few tasks, a single
    one off its share is seen, and a step may have been in the way of a better one."""
    for _ in range(_ROUNDS):
        found = explain(board, facts).copies
        # Whoever takes over from one that is gone has to be warm in all rounds.
        again = settle(replace(facts, previous=found), roles=board.roles).board
        if (again.active, again.standbys) == (board.active, board.standbys):
            return
        board.active, board.standbys = again.active, again.standbys
        board.why |= {task: why for task, why in again.why.items() if task not in board.why}


def settle(facts: Facts, *, roles: Mapping[int, frozenset[int]] = _ANYBODY) -> Scale:
    """The finished board, and how far each worker is off its share. `roles` are limits from before,
    to those that the facts themselves set."""
    board = Board(facts)
    lingering = keep_actives(board)
    board.roles |= roles
    fill_actives(board)
    keep_standbys(board)
    fill_standbys(board)
    relieve(board, lingering)
    lend(board, facts)
    redeal(board)
    scale = balance(board)
    for turn in range(_ROUNDS):
        if not save(scale, is_thorough=turn == 0):
            break
        scale = balance(board)
    return scale
