"""The kind `completion`: what must hold before anything is deleted, and its plan.

asked = survey(config, executor.books(), []).asked
executor.propose("completion", asked.plain())       shown, approved
executor.start(operation)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from streamer.config import Config
from streamer.control.plans import PLAN_FORMAT, Cost, Plan, PlannedStep
from streamer.errors import OperationRefusedError
from streamer.operations.books import COMPLETION
from streamer.operations.completion.ports import Present, World
from streamer.operations.completion.request import Asked, parts_of, read_request
from streamer.operations.completion.steps import (
    DISKS,
    STEPS,
    TOPICS,
    check_readers,
    check_unused,
    made,
)
from streamer.operations.completion.world import KafkaWorld
from streamer.operations.kinds import Step

__all__ = ["Completion"]

_PLAN_AGAIN = "make a new plan: streamer repartition complete"


class Completion:
    """A `Kind`. `opened` gives the world, for tests that have one of their own."""

    name = COMPLETION

    def __init__(
        self, opened: Callable[[Config], AbstractContextManager[World]] = KafkaWorld
    ) -> None:
        self._opened = opened

    def open(self, config: Config, request: Mapping[str, Any]) -> AbstractContextManager[World]:
        asked = read_request(request)
        if asked.application != config.application_id:
            raise OperationRefusedError(
                f"this is a request of {asked.application}, not of {config.application_id}",
                hint=_PLAN_AGAIN,
            )
        return self._opened(config)

    def plan(self, world: World, request: Mapping[str, Any]) -> Plan:
        """Raises OperationRefusedError where the world is not as the request was made for."""
        asked = read_request(request)
        _check_records(asked, world)
        present = world.present()
        check_unused(asked, present)
        _check_running(world, present)
        there = world.topics()
        mine = {topic: there[topic] for topic in asked.topics if topic in there}
        check_readers(asked, world, mine)
        cost = Cost(bytes=asked.bytes + asked.disk_bytes)
        summaries = {
            TOPICS: f"delete {len(mine)} topics of layouts that were left",
            DISKS: "have workers remove their state of those layouts",
        }
        return Plan(
            format=PLAN_FORMAT,
            kind=self.name,
            steps=tuple(
                PlannedStep(
                    id=each,
                    summary=summaries[each],
                    parameters=asked.plain() if each == TOPICS else {},
                )
                for each in STEPS
            ),
            cost=cost,
            no_return=TOPICS,
            no_return_when="begun",
            lost=tuple(_lost(asked)),
            seen={"layout": asked.layout, "topics": mine},
        )

    def steps(self, plan: Plan) -> Sequence[Step[World]]:
        parameters = next(step.parameters for step in plan.steps if step.id == TOPICS)
        return made(read_request(parameters))


def _lost(asked: Asked) -> list[str]:
    lost = [
        f"the state of subtopology {number} in layout {', '.join(map(str, layouts))} is deleted for"
        " good; snapshots of it stay, and can be restored by nothing"
        for number, layouts in asked.left.items()
    ]
    if asked.despite:
        lost.append(f"{', '.join(asked.despite)} read these topics, and lose them")
    return lost


def _check_records(asked: Asked, world: World) -> None:
    """The names must be those of the records, and of nobody else."""
    layout, books = world.recorded(), world.books()
    if layout.number != asked.layout:
        raise OperationRefusedError(
            f"layout {layout.number} holds by now, and this was planned for layout {asked.layout}",
            hint=_PLAN_AGAIN,
        )
    open_ones = {one.id: one for one in books.uncompleted()}
    if gone := sorted(set(asked.operations) - open_ones.keys()):
        raise OperationRefusedError(
            f"operation {gone[0]} is no repartition that is done and not completed",
            hint=_PLAN_AGAIN,
        )
    parts = [
        part
        for one in asked.operations
        for part in parts_of(open_ones[one], layout, of=asked.application)
    ]
    if parts != list(asked.parts):
        raise OperationRefusedError(
            "the records of these repartitions name other topics than this", hint=_PLAN_AGAIN
        )


def _check_running(world: World, present: Present) -> None:
    """What is deleted is the only other state there is: the present one must be at work."""
    running = {
        name
        for one in world.statuses().values()
        # The names of tasks of the former layout are the same.
        if one.shape == present.shape
        for name, report in one.tasks.items()
        if report.state == "running"
    }
    if idle := [task for task in map(str, present.planned.tasks) if task not in running]:
        raise OperationRefusedError(
            f"task {idle[0]} of layout {present.planned.layout.number} does not run",
            hint="make sure first that the application works as it is: streamer show tasks",
        )
