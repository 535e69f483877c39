"""What the controller tells of its plan, and a placement that it proposes. Pure; nothing goes by
the plan that was told, and by a proposal only when somebody asks for it by its id."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from streamer.assignment.explain import described
from streamer.assignment.facts import Copies, Facts, Load, Mode, Move, Placement, Presence
from streamer.assignment.place import place
from streamer.cluster.drains import staying
from streamer.cluster.goal import is_same, names
from streamer.cluster.plan import Plan, World
from streamer.control.requests import ModeRecord, MoveRecord, PlanRecord, ProposalRecord
from streamer.ids import TaskId

__all__ = ["judged", "outlook", "proposal"]

# A record of a fleet that has lost a zone would have thousands.
_MOVES_MAX = 200
_NONE: frozenset[str] = frozenset()
_NOBODY = Copies(None)

Names = dict[str, tuple[str, ...]]


def outlook(
    plan: Plan,
    world: World,
    *,
    about: PlanRecord,
    rebalance: tuple[str, str],
    since: Mapping[str, int],
) -> PlanRecord:
    """What to add to `about`. `since` says since when each degraded mode has been there."""
    moves = list(_moves(plan, world))
    placement = plan.placement
    holding = {each: count for each, count in sorted(world.held.items()) if count}
    return replace(
        about,
        why=plan.why,
        moves=tuple(moves[:_MOVES_MAX]),
        moves_left=len(moves),
        building=plan.step.building,
        waiting=plan.step.waiting,
        modes=_modes(placement.modes if placement else (), since),
        away=tuple(sorted(plan.attendance.away)),
        beginning=tuple(sorted(plan.attendance.beginning)),
        idle=dict(placement.idle) if placement else {},
        draining=tuple(sorted(plan.drained)),
        rebalance=rebalance,
        drain=plan.drains.answered,
        halted=plan.drains.halted,
        holding=holding,
        staying=staying(plan.target.values(), plan.leaving),
        settings=plan.policy.named,
    )


def judged(plan: Plan) -> Placement | None:
    """The placement as its target is now, where that was not computed but adopted or halted: what
    was told of the computed one may be mended by then, or more may be amiss."""
    if plan.placement is None:
        return None
    return described(plan.facts(plan.workers, World()), plan.target)


def proposal(
    facts: Facts, target: Mapping[TaskId, Copies], *, modes: Iterable[Mode] = ()
) -> ProposalRecord:
    """What would change by the placement that follows from the facts of this moment. `modes` are
    those of the target."""
    placement = place(facts)
    changed = sorted(
        task
        for task, copies in placement.copies.items()
        if not is_same(target.get(task, _NOBODY), copies)
    )
    is_changed = frozenset(changed)
    moves = [move for move in placement.moves if move.task in is_changed]
    before = {str(task): names(target[task]) for task in changed if task in target}
    after = {str(task): names(placement.copies[task]) for task in changed}
    return ProposalRecord(
        id=_digest(before, after),
        before=before,
        after=after,
        moves=tuple(map(_told, moves)),
        moved_bytes=sum(move.bytes for move in moves),
        modes_before=_modes(modes, {}),
        modes=_modes(placement.modes, {}),
        spread_before=_spread(target, facts),
        spread_after=_spread(placement.copies, facts),
    )


def _spread(copies: Mapping[TaskId, Copies], facts: Facts) -> dict[str, int]:
    """By how many per cent the fullest worker is above its share, by what it is measured in."""
    ready = {
        worker: site.capacity
        for worker, site in facts.workers.items()
        if site.presence is Presence.READY
    }
    held: dict[str, Counter[str]] = {name: Counter() for name in ("actives", "rate", "bytes")}
    for task, each in copies.items():
        load = facts.tasks.get(task, Load())
        if each.active is not None:
            held["actives"][each.active] += 1
            held["rate"][each.active] += load.rate
        for worker in each.workers:
            held["bytes"][worker] += load.bytes
    capacity = sum(ready.values())
    spread = {}
    for name, amounts in held.items():
        total = sum(amounts[worker] for worker in ready)
        if total:
            fullest = max(amounts[worker] * capacity / share for worker, share in ready.items())
            spread[name] = round(100 * fullest / total) - 100
    return spread


def _digest(before: Names, after: Names) -> str:
    text = json.dumps([before, after], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _told(move: Move) -> MoveRecord:
    return MoveRecord(
        task=str(move.task),
        kind=move.kind,
        source=move.source or "",
        target=move.target or "",
        bytes=move.bytes,
        why=move.reason,
    )


def _modes(modes: Iterable[Mode], since: Mapping[str, int]) -> tuple[ModeRecord, ...]:
    return tuple(
        ModeRecord(
            name=one.name,
            concerns=one.count,
            examples=one.examples,
            until=one.until,
            since_ms=since.get(one.name, 0),
        )
        for one in modes
    )


def _moves(plan: Plan, world: World) -> Iterator[MoveRecord]:
    """Where the step of this moment is not yet what the placement wants."""
    for task, copies in sorted(plan.target.items()):
        owner = plan.step.actives.get(task, "")
        held = plan.step.standbys.get(task, _NONE)
        # A task has moved when its former owner says that it has let go.
        others = world.owners.get(task, _NONE) - {copies.active}
        if owner == copies.active and others:
            owner = min(others)
        if copies.active is not None and copies.active != owner:
            yield _move(plan, world, task, kind="active", source=owner, target=copies.active)
        for worker in copies.standbys:
            is_built = worker in held and _is_warm(plan, world, task, worker)
            if not is_built and worker not in plan.attendance.away and worker != owner:
                # The copy that goes when the new one is there.
                source = min(held - {owner, *copies.workers}, default="")
                yield _move(plan, world, task, kind="standby", source=source, target=worker)


def _move(
    plan: Plan, world: World, task: TaskId, *, kind: str, source: str, target: str
) -> MoveRecord:
    load = world.loads.get(task)
    return MoveRecord(
        task=str(task),
        kind=kind,
        source=source,
        target=target,
        bytes=load.bytes if load else 0,
        left=world.lags.get(task, {}).get(target, -1),
        why=plan.reasons.get((task, target), "") or plan.why,
    )


def _is_warm(plan: Plan, world: World, task: TaskId, worker: str) -> bool:
    lag = world.lags.get(task, {}).get(worker, -1)
    return 0 <= lag <= plan.policy.limits.warm_lag_max
