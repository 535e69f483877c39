"""The kind `trim`: `survey` chooses how far each log may go, this makes a plan of that and steps.

found = survey(world)
executor.propose("trim", found.request())       shown, approved
executor.start(operation)                       refused where somebody needs more meanwhile
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import msgspec

from streamer.clock import SystemClock
from streamer.config import Config
from streamer.control.plans import PLAN_FORMAT, Cost, Plan, PlannedStep
from streamer.errors import OperationRefusedError
from streamer.ids import TaskId
from streamer.kafka.admin import Admin
from streamer.operations.kinds import Step
from streamer.operations.trim.control import KafkaControl
from streamer.operations.trim.facts import Rules, Seen
from streamer.operations.trim.floors import Floor, floors_of, unfit
from streamer.operations.trim.request import Asked, read_request
from streamer.operations.trim.steps import CUT, HOLD, RELEASE, made
from streamer.operations.trim.world import World
from streamer.snapshot.opening import open_repository

__all__ = ["Trim", "open_world", "rules_of"]

# People wait for it, and a repository that stays away holds the trim back anyway.
_PATIENCE_MS_MAX = 20_000
_PLAN_AGAIN = "make a new plan: streamer trim plan"

Opened = Callable[[Config], AbstractContextManager[World]]


def rules_of(config: Config) -> Rules:
    return Rules(
        config.trim_snapshots_min,
        config.trim_verified_level,  # type: ignore[arg-type]
        config.trim_percent_max,
    )


@contextmanager
def open_world(config: Config) -> Iterator[World]:
    """The changelogs, control records and repository of an application. Raises TopicMissingError
    where it never ran, RepositoryError where the repository is none."""
    admin = Admin(config)
    patience_ms = min(config.snapshot_patience_ms, _PATIENCE_MS_MAX)
    patient = replace(config, snapshot_patience_ms=patience_ms)
    repository = open_repository(patient) if config.snapshot_repository else None
    try:
        with KafkaControl(config, admin) as control:
            yield World(
                config.application_id,
                logs=admin,
                control=control,
                repository=repository,
                rules=rules_of(config),
                wall_ms=SystemClock().now_ms,
            )
    finally:
        if repository is not None:
            repository.close()


class Trim:
    """A `Kind`. `opened` gives the world, for tests that have one of their own."""

    name = "trim"

    def __init__(self, opened: Opened = open_world) -> None:
        self._opened = opened

    def open(self, config: Config, request: Mapping[str, Any]) -> AbstractContextManager[World]:
        read_request(request)
        return self._opened(config)

    def plan(self, world: World, request: Mapping[str, Any]) -> Plan:
        """Raises OperationRefusedError where a log is not as it was, or somebody needs more."""
        asked = read_request(request)
        seen = world.look(asked.tasks)
        for task in asked.tasks:
            _check(task, asked, seen, rules=world.rules)
        cost = Cost(bytes=asked.bytes, records=asked.records)
        told = msgspec.to_builtins(asked)
        snapshots = sum(len(stems) for stems in asked.snapshots.values())
        lost = [
            f"{asked.records:,} offsets of {asked.partitions} changelog partitions are deleted for"
            " good"
        ]
        if asked.lost:
            lost.append(f"nothing can be restored from snapshots {', '.join(asked.lost)} any more")
        return Plan(
            format=PLAN_FORMAT,
            kind=self.name,
            steps=(
                PlannedStep(
                    id=HOLD,
                    summary=f"hold {snapshots} snapshots of {len(asked.tasks)} tasks",
                ),
                PlannedStep(
                    id=CUT,
                    summary=f"look at the floors again, delete {asked.records:,} offsets of"
                    f" {asked.partitions} logs, read back",
                    parameters=told,
                    cost=cost,
                ),
                PlannedStep(id=RELEASE, summary="release the holds of earlier trims"),
            ),
            cost=cost,
            no_return=CUT,
            lost=tuple(lost),
            seen={"snapshots_min": world.rules.snapshots_min, "level": world.rules.level},
        )

    def steps(self, plan: Plan) -> Sequence[Step[World]]:
        parameters = next(step.parameters for step in plan.steps if step.id == CUT)
        return made(plan.steps, read_request(parameters))


def _check(task: TaskId, asked: Asked, seen: Seen, *, rules: Rules) -> None:
    floors = floors_of(task, seen, rules)
    for place, (start, to) in asked.cuts(task).items():
        floor = floors.get(place)
        if floor is None:
            raise OperationRefusedError(f"{place} is not there any more", hint=_PLAN_AGAIN)
        if floor.log.start != start:
            raise OperationRefusedError(
                f"{place} begins at {floor.log.start}, and began at {start} when this was planned",
                hint=_PLAN_AGAIN,
            )
        if floor.position < to:
            raise _held(floor, to)
    logs = seen.logs.get(task, {})
    found = {one.stem: one for one in seen.shelves[task].snapshots}
    for stem in asked.snapshots.get(str(task), ()):
        why = unfit(found[stem], logs, rules) if stem in found else "it is not there any more"
        if why:
            raise OperationRefusedError(
                f"snapshot {stem.partition('-')[2][:12]} of {task}, on which this rests: {why}",
                hint=_PLAN_AGAIN,
            )
    if len(asked.snapshots.get(str(task), ())) < rules.snapshots_min:
        raise OperationRefusedError(
            f"{task} rests on fewer than {rules.snapshots_min} snapshots", hint=_PLAN_AGAIN
        )


def _held(floor: Floor, to: int) -> OperationRefusedError:
    holder = floor.limit
    return OperationRefusedError(
        f"{floor.place} is to begin at {to}, and {holder.owner} holds it at {holder.position}:"
        f" {holder.reason}",
        hint=f"what would end that: {holder.frees}; or {_PLAN_AGAIN}",
    )
