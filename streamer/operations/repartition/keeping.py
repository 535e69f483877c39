"""Orders for copies of the next layout: given, given anew where a worker dies, taken back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streamer import failpoints
from streamer.control.orders import FORMAT, ShadowOrder, encode_order, shadow_key
from streamer.errors import TaskCorruptedError
from streamer.ids import TaskId
from streamer.operations.ports import Effect
from streamer.operations.repartition.copies import (
    Shadows,
    is_kept,
    is_warm,
    ordered,
    placed,
    reports,
    shadows_of,
)
from streamer.operations.repartition.ports import World
from streamer.operations.repartition.request import Asked
from streamer.operations.work import Work

__all__ = ["Kept", "are_kept", "keep_shadows", "withdraw_shadows"]

_GONE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Kept:
    """How many of the copies are warm, and whose is not; `waits_for` is "" once all are."""

    warm: int
    total: int
    waits_for: str


def keep_shadows(world: World, asked: Asked, work: Work) -> Kept:
    """Have every task's copies kept by workers that live; what they were told already stays. Raises
    TaskCorruptedError for a copy that has failed."""
    shadows = _order(world, asked, work)
    found = reports(asked, world.workers.statuses())
    wanted = sorted((worker, task) for worker, tasks in shadows.items() for task in tasks)
    for worker, task in wanted:
        report = found.get((worker, task))
        if report is not None and not is_kept(report):
            raise TaskCorruptedError(
                f"the copy of task {task} of the next layout on worker {worker} has failed",
                hint="the worker's log says why; mend that, and go on with the operation",
            )
    cold = [one for one in wanted if not is_warm(found.get(one), world.config)]
    waits_for = f"worker {cold[0][0]}, whose copy of {cold[0][1]} is not warm yet" if cold else ""
    if asked.shadows and not wanted:
        waits_for = "a worker: none lives"
    return Kept(len(wanted) - len(cold), len(wanted), waits_for)


def are_kept(world: World, asked: Asked, *, times: int) -> bool:
    """Whether each task has a copy that is warm, or not much further from it, at a worker that was
    told to keep it."""
    found = reports(asked, world.workers.statuses())
    shadows = ordered(asked, world.workers.orders())
    return all(
        any(
            task in tasks and is_warm(found.get((worker, task)), world.config, times=times)
            for worker, tasks in shadows.items()
        )
        for task in asked.shadows
    )


def withdraw_shadows(world: World, asked: Asked, work: Work) -> None:
    """Take the orders back, and wait until nobody keeps a copy for them any more."""
    place = world.workers.place
    standing = ordered(asked, world.workers.orders())
    if standing:
        work.write([Effect(place, shadow_key(worker), None) for worker in standing])
    failpoints.hit("repartition.after_withdraw")
    until_ms = world.now_ms() + _GONE_MS
    while world.now_ms() < until_ms:
        statuses = world.workers.statuses()
        left = [worker for worker, one in statuses.items() if one.shadows_of == asked.number]
        if not left:
            return
        work.progress(phase="wait for workers", held_by=f"worker {left[0]}")
        world.wait()


def _order(world: World, asked: Asked, work: Work) -> Shadows:
    """What workers are to keep, having told those to whom it is news."""
    statuses = world.workers.statuses()
    orders = world.workers.orders()
    standing = ordered(asked, orders)
    copies = placed(
        asked,
        world.config,
        statuses,
        shadows=standing,
        draining=world.workers.draining(),
    )
    wanted = shadows_of(asked, copies)
    place = world.workers.place
    effects = [
        Effect(place, shadow_key(worker), _encoded(world, asked, worker, tasks))
        for worker, tasks in wanted.items()
        if standing.get(worker) != tasks
    ]
    # Whoever holds the lock is alone: orders of others are of an operation that was abandoned.
    foreign = {
        one.worker
        for one in orders.values()
        if isinstance(one, ShadowOrder) and one.operation != asked.number
    }
    gone = (standing.keys() | foreign) - wanted.keys()
    effects += [Effect(place, shadow_key(worker), None) for worker in sorted(gone)]
    if effects:
        work.write(effects)
    return wanted


def _encoded(world: World, asked: Asked, worker: str, tasks: Iterable[TaskId]) -> bytes:
    order = ShadowOrder(
        format=FORMAT,
        operation=asked.number,
        worker=worker,
        layout=asked.after,
        tasks=tuple(str(task) for task in sorted(tasks)),
        at_ms=world.now_ms(),
    )
    return encode_order(order, world.workers.place.topic)
