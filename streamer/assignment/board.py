"""The placement while it is being made: who has which copy, and what each worker carries by that.

Workers and tasks are numbers in the order of their names, so that no order of the input and no hash
decides anything. What a worker carries is counted in four units: actives, rate of the actives,
copies that have state, and their bytes.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

from streamer.assignment.facts import Copies, Facts, Presence
from streamer.assignment.zones import Zones
from streamer.ids import TaskId

__all__ = ["NOBODY", "NOTHING", "Board", "Units"]

NOBODY = -1
Units = tuple[int, int, int, int]
NOTHING: Units = (0, 0, 0, 0)
# Of a state that lies on a former worker's disk, what changed since then is fetched.
_FORMER_PART = 10
_ROUNDS = 30


class Board:
    """`carried` is per worker. `lent` are tasks whose active role a worker that is waited for will
    take back: they are not counted where they are. `roles` limits who may have the active role.
    `barred` is a task and a worker that must not come together, while another way is tried."""

    def __init__(self, facts: Facts) -> None:
        self.names = sorted(facts.workers)
        self.tasks: list[TaskId] = sorted(facts.tasks)
        self.index = {name: at for at, name in enumerate(self.names)}
        self.zones = Zones.of(facts, self.names)
        sites = [facts.workers[name] for name in self.names]
        self.capacity = [max(1, site.capacity) for site in sites]
        self.presence = [site.presence for site in sites]
        strangers, stays = self.zones.strangers, self.zones.keeps_strangers
        everybody = range(len(sites))
        leaves = [at in strangers and not stays for at in everybody]
        is_ready = [presence is Presence.READY for presence in self.presence]
        is_away = [presence is Presence.AWAY for presence in self.presence]
        self.is_open = [is_ready[at] and at not in strangers for at in everybody]
        is_staying = [presence in (Presence.READY, Presence.HELD) for presence in self.presence]
        self.keeps_active = [is_staying[at] and not leaves[at] for at in everybody]
        self.keeps_standby = [
            (is_staying[at] or is_away[at]) and not leaves[at] for at in everybody
        ]
        # It lives and serves, but is to have nothing in the end.
        self.is_drained = [
            self.presence[at] is Presence.DRAINING or (is_staying[at] and leaves[at])
            for at in everybody
        ]
        loads = [facts.tasks[task] for task in self.tasks]
        self.has_state = [load.has_state for load in loads]
        self.bytes = [max(0, load.bytes) if load.has_state else 0 for load in loads]
        # Where no size is known, each move is as bad as another.
        self.knows_bytes = any(self.bytes)
        self._worth = (
            self.bytes if self.knows_bytes else [_FORMER_PART * load.has_state for load in loads]
        )
        self.rate = [max(0, load.rate) for load in loads]
        # A task that is more than a worker's share weighs as much as the share: whoever has it can
        # have nothing else beside it, and nobody else looks underfed because of that.
        copies = 1 + facts.standby_replicas
        shares = max(1, sum(self.is_open))
        self.size = _clipped(self.bytes, shares / copies)
        self.speed = _clipped(self.rate, shares)
        # What a task weighs as an active, as a standby, and what its active role alone does.
        self._as_active: list[Units] = [
            (1, speed, int(state), size)
            for speed, state, size in zip(self.speed, self.has_state, self.size, strict=True)
        ]
        self._as_standby: list[Units] = [
            (0, 0, state, size) for _, _, state, size in self._as_active
        ]
        self._role: list[Units] = [(1, speed, 0, 0) for speed in self.speed]
        self.wanted = [copies if load.has_state else 1 for load in loads]
        self.active = [NOBODY] * len(loads)
        self.standbys: list[list[int]] = [[] for _ in loads]
        # In ascending order, which is the order in which they are looked at.
        self.held: list[list[int]] = [[] for _ in sites]
        self.carried: list[list[int]] = [[0, 0, 0, 0] for _ in sites]
        self.lent: set[int] = set()
        self.roles: dict[int, frozenset[int]] = {}
        self.why: dict[int, str] = {}
        self.barred: tuple[int, int] = (NOBODY, NOBODY)
        self.moved = 0
        self._remember(facts)

    def _remember(self, facts: Facts) -> None:
        """Which workers have something of a task, so that being given it moves less or nothing."""
        index = self.index
        nothing = Copies(None)
        self.before: list[Copies] = []
        self.home: list[frozenset[int]] = []
        self.warm: list[frozenset[int]] = []
        self.former: list[frozenset[int]] = []
        for task in self.tasks:
            copies = facts.previous.get(task, nothing)
            warm = frozenset(index[name] for name in facts.warm.get(task, ()) if name in index)
            home = {index[name] for name in copies.workers if name in index}
            former = facts.former.get(task, ())
            self.before.append(copies)
            self.warm.append(warm)
            self.home.append(warm | home)
            self.former.append(frozenset(index[name] for name in former if name in index))

    def cost(self, task: int, worker: int) -> int:
        """Bytes that travel if the worker gets a copy; without known sizes, tenths of a copy."""
        if worker in self.home[task]:
            return 0
        size = self._worth[task]
        return -(-size // _FORMER_PART) if worker in self.former[task] else size

    @property
    def usual_cost(self) -> int:
        """What it costs without known sizes that a worker gets a copy."""
        return _FORMER_PART

    def living(self) -> list[int]:
        """Workers that count for how many zones and hosts there are."""
        strangers = self.zones.strangers
        return [
            at
            for at, each in enumerate(self.presence)
            if not each.is_asked_away and at not in strangers
        ]

    def holders(self, task: int) -> list[int]:
        active = self.active[task]
        return self.standbys[task] if active == NOBODY else [active, *self.standbys[task]]

    def others(self, task: int, worker: int) -> list[int]:
        """Who has a copy beside the worker."""
        return [each for each in self.holders(task) if each != worker]

    def admits(self, task: int, worker: int, others: Sequence[int]) -> bool:
        if not self.is_open[worker] or (task, worker) == self.barred:
            return False
        return self.zones.admits(worker, others)

    def may_be_active(self, task: int, worker: int) -> bool:
        roles = self.roles.get(task)
        return self.is_open[worker] and (roles is None or worker in roles)

    def is_movable(self, task: int, worker: int) -> bool:
        """Balance may take the worker's copy, with its role, to another worker."""
        if not self.is_open[worker]:
            return False
        return self.active[task] != worker or (task not in self.lent and task not in self.roles)

    def role(self, task: int) -> Units:
        """What the active role weighs without the copy."""
        return NOTHING if task in self.lent else self._role[task]

    def copy(self, task: int, *, is_active: bool) -> Units:
        counts = is_active and task not in self.lent
        return self._as_active[task] if counts else self._as_standby[task]

    def give(self, task: int, worker: int, *, is_active: bool) -> None:
        """A copy that is added. The active role must be free."""
        if is_active:
            self.active[task] = worker
        else:
            self.standbys[task].append(worker)
        self._count(task, worker, +1)

    def take(self, task: int, worker: int) -> None:
        self._count(task, worker, -1)
        if self.active[task] == worker:
            self.active[task] = NOBODY
        else:
            self.standbys[task].remove(worker)

    def move(self, task: int, source: int, target: int) -> None:
        """The copy with its role; it keeps its place among the standbys."""
        self.moved += self.cost(task, target) - self.cost(task, source)
        self._count(task, source, -1)
        if self.active[task] == source:
            self.active[task] = target
        else:
            standbys = self.standbys[task]
            standbys[standbys.index(source)] = target
        self._count(task, target, +1)

    def swap(self, task: int, standby: int) -> None:
        """The active and one of its standbys exchange their roles."""
        active = self.active[task]
        role = self.role(task)
        for unit in (0, 1):
            self.carried[active][unit] -= role[unit]
            self.carried[standby][unit] += role[unit]
        standbys = self.standbys[task]
        standbys[standbys.index(standby)] = active
        self.active[task] = standby

    def lend(self, task: int) -> None:
        """Do not count the active role where it is."""
        carried = self.carried[self.active[task]]
        carried[0] -= 1
        carried[1] -= self.speed[task]
        self.lent.add(task)

    def _count(self, task: int, worker: int, sign: int) -> None:
        carried = self.carried[worker]
        copy = self.copy(task, is_active=self.active[task] == worker)
        for unit in range(4):
            carried[unit] += sign * copy[unit]
        if sign > 0:
            insort(self.held[worker], task)
        else:
            self.held[worker].remove(task)


def _clipped(loads: Sequence[int], shares: float) -> list[int]:
    """Loads cut to what a share leaves when it has its number of small ones as well."""
    ranked = sorted(loads)
    beside = ranked[len(ranked) // 4] * max(0.0, len(loads) / shares - 1) if ranked else 0.0
    clipped = ranked
    share = sum(ranked) / shares
    for _ in range(_ROUNDS):
        share = sum(clipped) / shares
        cut = max(1, round(max(share / 2, share - beside)))
        if not clipped or clipped[-1] <= cut:
            break
        clipped = [min(load, cut) for load in clipped]
    return [min(load, clipped[-1]) for load in loads]
