"""What stays where it is: the roles and copies of the last target that the rules allow.

An active stays with its worker. Where that one is gone, away or drained, a caught-up copy takes the
role, and only such a one: a cold copy would make its task wait. With standbys wanted, a drained
worker keeps the role until one of them is warm.
"""

from __future__ import annotations

from streamer.assignment.board import NOBODY, Board
from streamer.assignment.facts import Facts, Presence

__all__ = ["keep_actives", "keep_standbys", "lend"]


def keep_actives(board: Board) -> set[int]:
    """Returns the tasks whose active is on a drained worker until somebody else has a copy."""
    lingering: set[int] = set()
    orphans: list[tuple[int, list[int]]] = []
    for task, copies in enumerate(board.before):
        active = board.index.get(copies.active or "", NOBODY)
        if active != NOBODY and board.keeps_active[active]:
            board.give(task, active, is_active=True)
        elif board.has_state[task]:
            orphans.append((task, _heirs(board, task)))
    orphans.sort(key=lambda orphan: len(orphan[1]))
    for task, heirs in orphans:
        if heirs:
            board.give(task, min(heirs, key=lambda at: _burden(board, at)), is_active=True)
            continue
        last = _last_resort(board, task)
        if last != NOBODY:
            board.give(task, last, is_active=True)
            if board.is_drained[last]:
                lingering.add(task)
    return lingering


def _burden(board: Board, at: int) -> tuple[bool, float, int]:
    """Who has least takes over; one whose drain was stopped only where nobody else can."""
    is_held = board.presence[at] is Presence.HELD
    return is_held, board.carried[at][0] / board.capacity[at], at


def _heirs(board: Board, task: int) -> list[int]:
    """Who may take over: warm copies; without any, those that are being built."""
    warm = sorted(at for at in board.warm[task] if board.keeps_active[at])
    if warm:
        board.roles[task] = frozenset(warm)
        return warm
    if _serving(board, task):
        return []
    named = [board.index.get(name, NOBODY) for name in board.before[task].standbys]
    return [at for at in named if at != NOBODY and board.keeps_active[at]]


def _serving(board: Board, task: int) -> list[int]:
    """Workers that are drained and have a warm copy, the active first."""
    if board.wanted[task] < 2:
        return []
    active = board.index.get(board.before[task].active or "", NOBODY)
    holders = sorted(board.warm[task] | {active}, key=lambda at: (at != active, at))
    return [at for at in holders if at != NOBODY and board.is_drained[at]]


def _last_resort(board: Board, task: int) -> int:
    """A drained worker that serves, or would serve at once."""
    serving = _serving(board, task)
    if serving:
        return serving[0]
    # Nobody is left who may be given anything: who has the task goes on.
    active = board.index.get(board.before[task].active or "", NOBODY)
    if active != NOBODY and board.presence[active] is not Presence.AWAY and not any(board.is_open):
        return active
    return NOBODY


def keep_standbys(board: Board) -> None:
    """Keep the other copies, as many as are wanted and as the zones admit, the best first."""
    for task, copies in enumerate(board.before):
        room = board.wanted[task] - 1
        if room < 1:
            continue
        named = [board.index.get(name, NOBODY) for name in copies.workers]
        found = [at for at in dict.fromkeys((*named, *sorted(board.warm[task]))) if at != NOBODY]
        for at in sorted(found, key=lambda at: _rank(board, task, at)):
            if len(board.standbys[task]) == room:
                break
            others = board.holders(task)
            if board.keeps_standby[at] and board.zones.admits(at, others):
                board.give(task, at, is_active=False)


def _rank(board: Board, task: int, at: int) -> tuple[bool, bool, bool]:
    """Copies of the last target before left-over ones, open workers first, then warm copies."""
    name = board.names[at]
    is_left_over = name not in board.before[task].workers
    return (is_left_over, not board.is_open[at], at not in board.warm[task])


def lend(board: Board, facts: Facts) -> None:
    """Reckon with each worker that is waited for as if it had its share of actives back already.

    Else a restart would make the others look overloaded with what they only keep for it.
    """
    away = [at for at, each in enumerate(board.presence) if each is Presence.AWAY]
    if not away:
        return
    everybody = sum(board.capacity[at] for at in away) + sum(
        capacity for at, capacity in enumerate(board.capacity) if board.is_open[at]
    )
    for at in away:
        share = -(-len(facts.tasks) * board.capacity[at] // everybody)
        borrowed: dict[int, list[int]] = {}
        for task in reversed(board.held[at]):
            active = board.active[task]
            if active != NOBODY and board.is_open[active] and task not in board.lent:
                borrowed.setdefault(active, []).append(task)
        for _ in range(share):
            if not borrowed:
                break
            most = max(borrowed, key=lambda at: (board.carried[at][0] / board.capacity[at], -at))
            board.lend(borrowed[most].pop())
            if not borrowed[most]:
                del borrowed[most]
