"""The placement that the controller works towards, and the step towards it that is due.

A new placement is made when the attendance changes (attendance.py), when a worker came back with
another zone or capacity, when somebody drains workers, and when tasks are without a place. A new
controller alone is no reason: it goes on with the target of its predecessor (goal.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Literal

from streamer.assignment.facts import Copies, Facts, Load, Placement, Presence, Site
from streamer.assignment.place import place
from streamer.cluster.attendance import COMING_MS, Attendance, Change, named
from streamer.cluster.drains import Drains
from streamer.cluster.goal import is_same
from streamer.cluster.steps import Known, Limits, Step, next_step
from streamer.ids import TaskId

__all__ = ["Plan", "Policy", "World"]

Tasks = frozenset[TaskId]
_NOBODY: frozenset[str] = frozenset()
_SCANT = "the layout has begun, and tasks have fewer copies than they should"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user asks of placements; the same settings on every worker."""

    standby_replicas: int = 0
    zone_policy: Literal["strict", "relaxed"] = "strict"
    delay_ms: int = 0
    limits: Limits = field(default_factory=Limits)

    @property
    def named(self) -> str:
        """The settings that a placement is made by."""
        return f"standby_replicas={self.standby_replicas} zone_policy={self.zone_policy}"


@dataclass(frozen=True, slots=True)
class World:
    """What workers that are ready say at this moment; `lags` are of the copies that they keep,
    `owners` those that have a task open. `held` counts what drained workers have not let go of."""

    sites: Mapping[str, Site] = field(default_factory=dict)
    lags: Mapping[TaskId, Mapping[str, int]] = field(default_factory=dict)
    loads: Mapping[TaskId, Load] = field(default_factory=dict)
    running: Collection[TaskId] = ()
    owners: Mapping[TaskId, Set[str]] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)


class Plan:
    """Which worker each task shall go to, and who keeps copies of it. `former` remembers where
    tasks were before."""

    def __init__(self, tasks: Tasks, policy: Policy | None = None, stateless: Tasks = frozenset()):
        self.tasks = tasks
        self.policy = policy or Policy()
        self.stateless = stateless
        self.workers: frozenset[str] = frozenset()
        self.target: dict[TaskId, Copies] = {}
        self.step = Step()
        self.former: dict[TaskId, str] = {}
        self.placement: Placement | None = None
        self.reasons: dict[tuple[TaskId, str], str] = {}
        self.why = ""
        self.attendance = Attendance(self.policy.delay_ms)
        self.drains = Drains()
        self.revision = 0
        """Another one whenever the target is."""
        self._relieved: frozenset[TaskId] = frozenset()
        self._sites: dict[str, Site] = {}
        self._kept: dict[TaskId, tuple[str, ...]] = {}
        self._gone_ms: dict[str, int] = {}
        self._shares: dict[str, tuple[Tasks, Tasks]] = {}

    def remember(self, granted: Mapping[str, tuple[Tasks, Tasks]]) -> None:
        """What an earlier controller granted, tasks and standbys by worker; nothing moves only
        because the controller does."""
        self.workers |= granted.keys()
        for worker, (tasks, standbys) in granted.items():
            for task in tasks & self.tasks:
                self.step.actives[task] = worker
            for task in standbys & self.tasks:
                self.step.standbys[task] = self.step.standbys.get(task, _NOBODY) | {worker}
        self._shares = _shares(self.step)

    def miss(
        self, worker: str, tasks: Tasks, standbys: Tasks, *, gone_ms: int, now_ms: int
    ) -> None:
        """What a worker had that is gone; its places are kept while it is waited for."""
        self.former.update(dict.fromkeys(tasks & self.tasks, worker))
        self._gone_ms[worker] = gone_ms
        if now_ms - gone_ms < self.policy.delay_ms:
            self.attendance.away[worker] = gone_ms
            for task in (tasks | standbys) & self.tasks:
                self._kept[task] = (*self._kept.get(task, ()), worker)

    def resume(
        self,
        target: Mapping[TaskId, Copies],
        *,
        sites: Mapping[str, Site],
        reasons: Mapping[tuple[TaskId, str], str],
        told: Placement,
        away: Collection[str],
        why: str,
        now_ms: int,
        beginning: Collection[str] = (),
    ) -> None:
        """Go on towards what an earlier controller was going to. `sites` tells where workers are
        that have not been away since; `told` has its degraded modes, `away` whom it waited for,
        `beginning` whom the layout's begin waits for, though they were fenced in it."""
        self.target = {task: copies for task, copies in target.items() if task in self.tasks}
        named = {worker for copies in self.target.values() for worker in copies.workers}
        for worker in named.union(away) & self._gone_ms.keys() - self.workers:
            # It was waited for meanwhile, and is given up. One that was fenced just now may come.
            if worker in away or now_ms - self._gone_ms[worker] >= COMING_MS:
                self.attendance.away[worker] = self._gone_ms[worker]
        for worker in beginning:
            self.attendance.away.pop(worker, None)
        # Theirs already, so that no copy elsewhere takes over, which may be cold, while they come.
        for task, copies in self.target.items():
            if copies.active is not None and copies.active in beginning:
                self.step.actives.setdefault(task, copies.active)
        self._shares = _shares(self.step)
        self.workers = frozenset(self.workers | named) - self.attendance.away.keys()
        everybody = self.workers | self.attendance.away.keys()
        self._sites = {worker: sites.get(worker, Site()) for worker in everybody}
        self.reasons, self.why = dict(reasons), why
        self.placement = replace(told, copies=dict(self.target))

    # -- what operators ask for ------------------------------------------------------------------

    @property
    def drained(self) -> frozenset[str]:
        """Living workers that are given nothing because somebody asked for that."""
        return self.drains.among(self.workers, self._sites, Presence.DRAINING, Presence.HELD)

    @property
    def leaving(self) -> frozenset[str]:
        """Those of them that are to end up with nothing; the others' drain was stopped."""
        return self.drains.among(self.workers, self._sites, Presence.DRAINING)

    def adopt(
        self,
        before: Mapping[TaskId, Copies],
        after: Mapping[TaskId, Copies],
        reasons: Mapping[tuple[TaskId, str], str],
    ) -> str:
        """Go towards a placement that somebody has approved; returns why not, or ""."""
        if why_not := _misfit(self, before, after):
            return why_not
        self.target |= after
        self.revision += 1
        self.reasons |= reasons
        return ""

    def halt(self) -> None:
        """Stay where every task is now, with the copies that are there or being built; only where
        they are too few, others are built."""
        self.revision += 1
        self.drains.is_asked |= self.drains.is_any and not self.drains.is_halted
        for task, worker in self.step.actives.items():
            if (wanted := self.target.get(task)) is None:
                continue  # A placement is due for it.
            held = self.step.standbys.get(task, _NOBODY)
            order = [one for one in wanted.workers if one in held]
            order += sorted(held.difference(order))
            order += [one for one in wanted.workers if one not in held and one != worker]
            self.target[task] = Copies(worker, tuple(order[: len(wanted.standbys)]))

    # -- what workers go by ----------------------------------------------------------------------

    def share(self, worker: str) -> Tasks:
        """The tasks that shall go to the worker now."""
        return self._shares.get(worker, (frozenset(), frozenset()))[0]

    def copies(self, worker: str) -> Tasks:
        """The tasks of which the worker shall keep a copy now."""
        return self._shares.get(worker, (frozenset(), frozenset()))[1]

    def update(
        self,
        ready: Set[str],
        present: Set[str],
        *,
        now_ms: int,
        is_news: bool,
        look: Callable[[], World],
    ) -> bool:
        """Make a new placement if it is time, and take the step that is due; whether anything is
        different now. `look` costs something: it is called where that is needed."""
        change = self.attendance.look(self.workers, ready, present, now_ms=now_ms)
        is_unplaced = bool(self.workers) and self.target.keys() != self.tasks
        is_due = change.is_due or is_unplaced or self.drains.is_asked
        if not (is_due or is_news):
            return False
        world = look()
        why = self._why_due() if is_due else self._why_all_the_same(world, ready)
        if why:
            self.attendance.placed(change, now_ms)
            self._place(change, world, change.why or why)
        # Also those who are given nothing are told so.
        return self._advance(change.live, world) or bool(why)

    def _why_due(self) -> str:
        missing = _missing(self.tasks - self.target.keys(), is_all=not self.target)
        return "a drain was asked for" if self.drains.is_asked else missing

    def _why_all_the_same(self, world: World, ready: Set[str]) -> str:
        """Why a new placement is due though nobody came, went or asked; "" where none is."""
        if moved := [
            each
            for each, site in world.sites.items()
            if each in self.workers and each in ready and self._sites.get(each, site) != site
        ]:
            return f"{named(moved)} came back with another zone, host or capacity"
        if self._can_leave(world):
            return (
                f"warm elsewhere, and still on drained workers: {named(map(str, self._relieved))}"
            )
        return ""

    def _can_leave(self, world: World) -> bool:
        """Whether tasks that drained workers keep until another copy is warm can go now. Tried once
        for the same ones: what holds them then is not the copy."""
        leaving = self.leaving
        found = frozenset(
            task
            for task, copies in (self.target.items() if leaving else ())
            if copies.active in leaving
            and self._warm(task, world).intersection(copies.standbys) - self.drained
        )
        is_more, self._relieved = not found <= self._relieved, found
        return is_more

    def _place(self, change: Change, world: World, why: str) -> None:
        known = self._sites
        self._sites = {
            worker: world.sites.get(worker, known.get(worker, Site()))
            for worker in change.live | self.attendance.away.keys()
        }
        placement = place(self.facts(change.live, world))
        for task, worker in self.step.actives.items():
            if placement.copies.get(task, Copies(None)).active != worker:
                self.former[task] = worker
        has_anybody = bool(change.live)
        self.target = dict(placement.copies) if has_anybody else {}
        self.placement = placement if has_anybody else None
        self.reasons = {(one.task, one.target): one.reason for one in placement.moves if one.target}
        self.workers, self.why = change.live, why
        self.revision += 1
        self.drains.placed()

    def facts(self, live: Set[str], world: World) -> Facts:
        """What a placement for these workers goes by."""
        return Facts(
            workers=self.drains.sites(self._sites, self.attendance.away.keys()),
            tasks={
                task: replace(world.loads.get(task, Load()), has_state=task not in self.stateless)
                for task in self.tasks
            },
            standby_replicas=self.policy.standby_replicas,
            previous={task: self._previous(task, live) for task in self.tasks},
            warm={task: self._warm(task, world) & live for task in self.tasks},
            former={task: frozenset({worker}) for task, worker in self.former.items()},
            zone_policy=self.policy.zone_policy,
        )

    def _warm(self, task: TaskId, world: World) -> frozenset[str]:
        """Who could go on with the task at once, its owner among them."""
        lag_max, owner = self.policy.limits.warm_lag_max, self.step.actives.get(task)
        lags = world.lags.get(task, {})
        found = {each for each, lag in lags.items() if 0 <= lag <= lag_max}
        return frozenset(found | {owner}) if owner else frozenset(found)

    def _previous(self, task: TaskId, live: Set[str]) -> Copies:
        """The last target; where its active is gone, whoever is active until then stands for it."""
        owner, copies = self.step.actives.get(task), self.target.get(task)
        if copies is None:
            known = sorted(self.step.standbys.get(task, _NOBODY)) + sorted(self._kept.get(task, ()))
            return Copies(owner, tuple(one for one in dict.fromkeys(known) if one != owner))
        if copies.active in live or owner not in live:
            return copies
        return Copies(owner, tuple(one for one in copies.standbys if one != owner))

    def _advance(self, live: frozenset[str], world: World) -> bool:
        known = Known(
            live=live,
            actives=self.step.actives,
            standbys=self.step.standbys,
            lags=world.lags,
            running=world.running,
            stateless=self.stateless,
        )
        before, self.step = self.step, next_step(self.target, known, self.policy.limits)
        is_other = (before.actives, before.standbys) != (self.step.actives, self.step.standbys)
        if is_other:
            self._shares = _shares(self.step)
        return is_other


def _misfit(plan: Plan, before: Mapping[TaskId, Copies], after: Mapping[TaskId, Copies]) -> str:
    """Why what was proposed is not to be gone towards any more, or ""."""
    for task, copies in sorted(before.items()):
        if not is_same(plan.target.get(task, Copies(None)), copies):
            return f"the placement of task {task} is not what it was"
    drained = plan.drained
    for task, copies in sorted(after.items()):
        if task not in before or task not in plan.tasks:
            return f"there is no task {task}"
        if gone := set(copies.workers) - plan.workers:
            return f"worker {min(gone)} is gone"
        if closed := drained.intersection(copies.workers).difference(before[task].workers):
            return f"worker {min(closed)} is drained"
    return ""


def _missing(tasks: Tasks, *, is_all: bool) -> str:
    if not tasks:
        return _SCANT
    if is_all:
        return f"{len(tasks)} tasks are placed anew: where they were to go is not known"
    return f"new, and without a place: {named(map(str, tasks))}"


def _shares(step: Step) -> dict[str, tuple[Tasks, Tasks]]:
    """By worker, the tasks that it is to have now, and those that it is to keep a copy of."""
    actives: dict[str, set[TaskId]] = defaultdict(set)
    copies: dict[str, set[TaskId]] = defaultdict(set)
    for task, worker in step.actives.items():
        actives[worker].add(task)
    for task, workers in step.standbys.items():
        for worker in workers:
            copies[worker].add(task)
    return {
        worker: (frozenset(actives[worker]), frozenset(copies[worker]))
        for worker in actives.keys() | copies.keys()
    }
