"""Steps that only exchange roles between copies that exist: they cost no bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from streamer.assignment.board import NOBODY, Board
from streamer.assignment.search import Scale, Swap

__all__ = ["swap_path", "swap_steps", "swaps_gain"]

_ACTIVES = 0
# So many ways are tried out that turn out to be no gain.
_TRIES = 12
# Less is no reason to exchange roles.
_LITTLE = 0.5
# How many workers a way may be looked for over: among all, and while a copy is moved.
_FAR, _NEAR = 10_000, 200


def swap_steps(scale: Scale, worker: int) -> tuple[Swap, ...]:
    """The best exchange of roles that brings the worker nearer to its share; empty without any."""
    direct = _direct(scale, worker)
    if direct:
        return direct
    excess = scale.excess(worker, _ACTIVES)
    if excess:
        return _path(scale, worker, is_over=excess > 0)
    if scale.excess(worker, 1):
        return _cycle(scale, worker)
    return ()


def swap_path(scale: Scale, worker: int) -> tuple[Swap, ...]:
    """The exchanges by which the worker gives one active away; empty if that is no gain."""
    return _path(scale, worker, is_over=True, reach=_NEAR)


def _options(scale: Scale, worker: int) -> Iterator[Swap]:
    """Each swap in which the worker gives a role away or gets one."""
    board = scale.board
    for task in board.held[worker]:
        active = board.active[task]
        if active == NOBODY or task in board.lent or not board.is_open[active]:
            continue
        if active == worker:
            for standby in board.standbys[task]:
                if board.may_be_active(task, standby):
                    yield Swap(task, standby)
        elif board.may_be_active(task, worker):
            yield Swap(task, worker)


def _direct(scale: Scale, worker: int) -> tuple[Swap, ...]:
    best, most = None, _LITTLE
    for swap in _options(scale, worker):
        gain = scale.swap_gain(swap.task, swap.standby)
        if gain > most:
            best, most = swap, gain
    return () if best is None else (best,)


def _path(scale: Scale, worker: int, *, is_over: bool, reach: int = _FAR) -> tuple[Swap, ...]:
    """Along swaps to the nearest worker that can take one active more, or spare one."""
    board, shares = scale.board, scale.shares
    came: dict[int, tuple[int, Swap]] = {}
    queue = deque([worker])
    seen = {worker}
    tried = 0
    while queue and tried < _TRIES and len(seen) < reach:
        at = queue.popleft()
        for swap in _options(scale, at):
            active = board.active[swap.task]
            if (active == at) != is_over:
                continue
            end = swap.standby if is_over else active
            if end in seen:
                continue
            seen.add(end)
            came[end] = (at, swap)
            count = board.carried[end][_ACTIVES]
            if count < shares.high[_ACTIVES][end] if is_over else count > shares.low[_ACTIVES][end]:
                steps = _walk(came, worker, end)
                if _improves(scale, steps):
                    return steps
                tried += 1
            queue.append(end)
    return ()


def _walk(came: dict[int, tuple[int, Swap]], start: int, end: int) -> tuple[Swap, ...]:
    steps = []
    while end != start:
        end, swap = came[end]
        steps.append(swap)
    return tuple(reversed(steps))


def _cycle(scale: Scale, worker: int) -> tuple[Swap, ...]:
    """Give a role away, and get another back over others: their counts stay, the rates change."""
    board = scale.board
    excess = scale.excess(worker, 1)
    swaps = sorted(
        _options(scale, worker),
        key=lambda swap: (
            abs(board.speed[swap.task] - abs(excess)),
            swap.task,
            swap.standby,
        ),
    )
    shared = _shared(board, worker)
    tried = 0
    for swap in swaps:
        is_given = board.active[swap.task] == worker
        if is_given != (excess > 0):
            continue
        tried += 1
        if tried > _TRIES:
            break
        other = swap.standby if is_given else board.active[swap.task]
        for steps in _back(scale, swap, (worker, other), shared):
            if _improves(scale, steps):
                return steps
    return ()


def _shared(board: Board, worker: int) -> dict[int, list[int]]:
    """The tasks of the worker by who else has a copy."""
    shared: dict[int, list[int]] = {}
    for task in board.held[worker]:
        for other in board.others(task, worker):
            shared.setdefault(other, []).append(task)
    return shared


def _back(
    scale: Scale, first: Swap, pair: tuple[int, int], shared: Mapping[int, Sequence[int]]
) -> Iterator[tuple[Swap, ...]]:
    """The ways of a role between the two in the other direction, directly or over a third, with
    which the first of them has tasks `shared`."""
    board = scale.board
    worker, other = pair
    is_given = board.active[first.task] == worker
    for swap in _options(scale, other):
        if swap.task == first.task or (board.active[swap.task] == other) != is_given:
            continue
        third = swap.standby if is_given else board.active[swap.task]
        if third == worker:
            yield (first, swap)
            continue
        for task in shared.get(third, ()):
            giver, taker = (third, worker) if is_given else (worker, third)
            if task in (first.task, swap.task) or board.active[task] != giver:
                continue
            if task not in board.lent and board.may_be_active(task, taker):
                yield (first, swap, Swap(task, taker))


def _improves(scale: Scale, steps: tuple[Swap, ...]) -> bool:
    return swaps_gain(scale, steps) > _LITTLE


def swaps_gain(scale: Scale, steps: tuple[Swap, ...]) -> float:
    """How much less the workers are off with the steps taken. Each task occurs once."""
    board = scale.board
    plus: dict[int, list[int]] = {}
    minus: dict[int, list[int]] = {}
    for swap in steps:
        role = board.role(swap.task)
        for changed, worker in ((plus, swap.standby), (minus, board.active[swap.task])):
            sums = changed.setdefault(worker, [0, 0, 0, 0])
            sums[0] += role[0]
            sums[1] += role[1]
    gain = 0.0
    for worker in sorted(plus.keys() | minus.keys()):
        more, less = plus.get(worker, (0, 0, 0, 0)), minus.get(worker, (0, 0, 0, 0))
        gain += scale.gain(worker, (more[0], more[1], 0, 0), (less[0], less[1], 0, 0))
    return gain
