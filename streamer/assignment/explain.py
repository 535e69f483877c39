"""Says what a placement changes and why, and in which ways it is less than it should be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from streamer.assignment.board import NOBODY, Board
from streamer.assignment.facts import Copies, Facts, Kind, Mode, Move, Placement, Presence
from streamer.ids import TaskId

__all__ = ["described", "explain"]

_NAMED = 5


def explain(board: Board, facts: Facts) -> Placement:
    copies = {
        task: Copies(
            None if board.active[at] == NOBODY else board.names[board.active[at]],
            tuple(board.names[each] for each in board.standbys[at]),
        )
        for at, task in enumerate(board.tasks)
    }
    newcomers = set(board.names) if facts.previous else set()
    for task_copies in facts.previous.values():
        newcomers.difference_update(task_copies.workers)
    moves: list[Move] = []
    for at, task in enumerate(board.tasks):
        if board.before[at] != copies[task]:
            moves += _Changes(board, at, copies[task], newcomers=newcomers).moves()
    return Placement(copies, tuple(moves), tuple(_modes(board, facts)), _idle(board))


def described(facts: Facts, copies: Mapping[TaskId, Copies]) -> Placement:
    """A placement that was chosen elsewhere, and in which ways it is less than it should be."""
    board = Board(facts)
    for at, task in enumerate(board.tasks):
        chosen = copies.get(task, Copies(None))
        for name in chosen.workers:
            if (worker := board.index.get(name)) is not None:
                board.give(at, worker, is_active=name == chosen.active)
    return Placement(dict(copies), modes=tuple(_modes(board, facts)), idle=_idle(board))


class _Changes:
    """The differences of one task."""

    def __init__(self, board: Board, at: int, after: Copies, *, newcomers: Collection[str]) -> None:
        self._board = board
        self._at = at
        self._task = board.tasks[at]
        self._newcomers = newcomers
        self._before = board.before[at]
        self._after = after
        before, now = self._before.workers, after.workers
        self._removed = [name for name in before if name not in now]
        self._added = [name for name in now if name not in before]

    def moves(self) -> Iterator[Move]:
        old, new = self._before.active, self._after.active
        if new is not None and new != old:
            yield self._active(old, new)
        for target in self._added:
            source = self._removed.pop(0) if self._removed else None
            reason = self._reason(source, target)
            yield Move(self._task, "standby", source, target, self._bytes(target), reason)
        for source in self._removed:
            yield Move(self._task, "drop", source, None, 0, self._why_dropped(source))

    def _active(self, old: str | None, new: str) -> Move:
        size = self._bytes(new)
        if new in self._added:
            self._added.remove(new)
            if old in self._removed:
                self._removed.remove(old)
            elif self._removed:  # it has the place of a standby, and the role besides
                self._removed.pop(0)
        is_swap = old in self._after.standbys and new in self._before.standbys
        kind: Kind = "swap" if is_swap else "active"
        return Move(self._task, kind, old, new, size, self._reason(old, new))

    def _bytes(self, target: str) -> int:
        if not self._board.knows_bytes:
            return 0
        return self._board.cost(self._at, self._board.index[target])

    def _reason(self, source: str | None, target: str) -> str:
        if source is None:
            is_first = not self._before.workers
            return "first placement" if is_first else "a standby is missing"
        lost = _lost(self._board, source)
        if lost:
            return lost
        if source in self._removed or source not in self._after.workers:
            violation = self._violation(source)
            if violation:
                return violation
        why = self._board.why.get(self._at, "balance")
        return f"{target} joined; {why}" if target in self._newcomers else why

    def _violation(self, source: str) -> str:
        """Which other worker is too near to this one for both to have a copy."""
        board = self._board
        at = board.index[source]
        for name in self._before.workers:
            other = board.index.get(name)
            if other is not None and other != at and not board.zones.admits(at, [other]):
                return f"zone violation: {source} and {name} fail together"
        return ""

    def _why_dropped(self, source: str) -> str:
        lost = _lost(self._board, source)
        if lost:
            return lost
        wanted = self._board.wanted[self._at]
        if len(self._after.workers) >= wanted:
            return f"{wanted} {'copy is' if wanted == 1 else 'copies are'} wanted"
        return self._violation(source) or "no zone is left for it"


def _lost(board: Board, name: str) -> str:
    """Why the worker cannot have anything; empty if it can."""
    at = board.index.get(name)
    if at is None:
        return f"{name} is gone"
    if at in board.zones.strangers:
        return f"{name} {board.zones.strangers[at]}"
    if board.presence[at] is Presence.AWAY:
        return f"{name} is away"
    if board.presence[at] is Presence.DRAINING:
        return f"{name} is drained"
    return ""


def _modes(board: Board, facts: Facts) -> Iterator[Mode]:
    zones = board.zones
    copies = 1 + facts.standby_replicas
    if not any(board.is_open):
        tasks = [str(board.tasks[at]) for at, each in enumerate(board.active) if each == NOBODY]
        yield _mode("no_workers", tasks, f"a worker that is ready{_why_none(board)}")
    elif sum(board.is_open) == 1 and copies > 1:
        names = [name for at, name in enumerate(board.names) if board.is_open[at]]
        yield _mode("one_worker_left", names, "a second worker in another zone or on another host")
    if copies > 1 and zones.tags and zones.living < copies:
        named = sorted({_zone(facts, board.names[at]) for at in board.living()})
        name = "one_zone_left" if zones.living == 1 else "too_few_zones"
        yield _mode(name, named, f"workers in {copies} zones at least")
    elif copies > 1 and zones.hosts < copies:
        named = sorted({facts.workers[board.names[at]].host for at in board.living()})
        yield _mode("too_few_hosts", named, f"workers on {copies} hosts at least")
    if zones.strangers:
        named = [board.names[at] for at in sorted(zones.strangers)]
        yield _mode("untagged_workers", named, f"zones with the tags {','.join(zones.tags)}")
    yield from _shortages(board)


def _why_none(board: Board) -> str:
    """Of workers that are there, why none of them may be given anything."""
    drained = sum(each.is_asked_away for each in board.presence)
    away = sum(each is Presence.AWAY for each in board.presence)
    strangers = len(board.zones.strangers)
    told = {"drained": drained, "waited for": away, "without the zone tags of the rest": strangers}
    found = [
        f"{count} {'is' if count == 1 else 'are'} {how}" for how, count in told.items() if count
    ]
    return f": {', '.join(found)}" if found else ""


def _shortages(board: Board) -> Iterator[Mode]:
    short: list[str] = []
    shared: list[str] = []
    for at, task in enumerate(board.tasks):
        holders = board.holders(at)
        if len(holders) < board.wanted[at]:
            short.append(str(task))
        if board.zones.is_shared(holders):
            shared.append(str(task))
    if short:
        until = "ready workers in zones that have no copy of them, or fewer standby_replicas"
        yield _mode("unplaced_standbys", short, until)
    if shared:
        yield _mode("zone_violations", shared, "as many zones and hosts as copies")


def _mode(name: str, concerned: list[str], until: str) -> Mode:
    return Mode(name, len(concerned), tuple(concerned[:_NAMED]), until)


def _zone(facts: Facts, name: str) -> str:
    return ",".join(f"{tag}={value}" for tag, value in facts.workers[name].zone)


def _idle(board: Board) -> dict[str, str]:
    idle = {}
    for at, name in enumerate(board.names):
        if at in board.zones.strangers:
            idle[name] = board.zones.strangers[at]
        elif board.held[at]:
            continue
        elif board.presence[at].is_asked_away:
            idle[name] = "is drained"
        elif board.presence[at] is Presence.AWAY:
            idle[name] = "is away and has no copy to keep"
        elif board.tasks:
            idle[name] = "there are more workers than copies for its share"
        else:
            idle[name] = "there are no tasks"
    return idle
