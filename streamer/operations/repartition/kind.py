"""The kind `repartition`: what must hold before it is begun, and its plan.

asked = survey(config, topology, {0: 12}, number=operation)
executor.propose("repartition", asked.plain(), operation=operation)    shown, approved
executor.start(operation)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from streamer.config import Config
from streamer.control.plans import PLAN_FORMAT, Cost, Plan, PlannedStep
from streamer.errors import OperationRefusedError
from streamer.layout import ApplicationLayout
from streamer.operations.kinds import Step
from streamer.operations.repartition.modes import routed_back
from streamer.operations.repartition.ports import World
from streamer.operations.repartition.positions import check_positions, expecting, read_by
from streamer.operations.repartition.request import Asked, read_request
from streamer.operations.repartition.steps import STEPS, SWITCH, made
from streamer.operations.repartition.switching import STRAYS_HINT
from streamer.operations.repartition.way_back import trimmed
from streamer.operations.repartition.world import KafkaWorld

__all__ = [
    "Repartition",
    "check_code_given",
    "check_layout",
    "check_new_topics",
    "check_widths",
    "check_workers",
    "steps_told",
]

# Measured with rows of 100 bytes: a second of a core copies 88,000, and reads 152,000 back. Python
# uses one core for all feeds of a process.
_COPIED_PER_S, _READ_PER_S = 80_000, 150_000
# Bytes of a snapshot, whose rows go the same way; they are compressed there.
_SEEDED_PER_S = 4 << 20
# To begin, to warm the copies, and to begin with the next layout.
_ALWAYS_S = 10
# Measured with four tasks in two parts, on two cores with a load of 20: 1.9 to 3.1 s.
_PAUSE_MS = 2_000
_PLAN_AGAIN = "make a new plan: streamer repartition plan"


class Repartition:
    """A `Kind`. `opened` gives the world, for tests that have one of their own."""

    name = "repartition"

    def __init__(
        self, opened: Callable[[Config], AbstractContextManager[World]] = KafkaWorld
    ) -> None:
        self._opened = opened

    def open(self, config: Config, request: Mapping[str, Any]) -> AbstractContextManager[World]:
        read_request(request)
        return self._opened(config)

    def plan(self, world: World, request: Mapping[str, Any]) -> Plan:
        """Raises OperationRefusedError where the world is not as the request was made for."""
        asked = read_request(request)
        check_layout(asked, world)
        check_widths(asked, world)
        _check_topics(asked, world)
        check_new_topics(asked, world)
        check_workers(asked, world)
        check_code_given(asked, world)
        committed = world.ports.known(asked.origin, read_by(asked))
        check_positions(asked, committed)
        if crossed := expecting(asked, committed):
            raise OperationRefusedError(
                f"{len(crossed)} tasks expect strays, or have some before them that they forwarded,"
                f" such as task {crossed[0]}",
                hint=STRAYS_HINT,
            )
        if asked.grown:
            world.topics.grow(asked.grown, tries_only=True)
        expected = asked.expected
        cost = Cost(
            bytes=expected.bytes,
            records=expected.records,
            seconds=_seconds(asked),
            pause_ms=_PAUSE_MS,
        )
        summaries = steps_told(asked)
        return Plan(
            format=PLAN_FORMAT,
            kind=self.name,
            steps=tuple(
                PlannedStep(
                    id=each,
                    summary=summaries[each],
                    parameters=asked.plain() if each == SWITCH else {},
                )
                for each in STEPS
            ),
            cost=cost,
            no_return=SWITCH,
            no_return_when="done",
            lost=(*_grown(asked), *_taken_over(asked), _after_it(asked), *_unchecked(asked)),
            seen={"layout": asked.before.number, "shape": asked.shape, "inputs": asked.inputs},
        )

    def steps(self, plan: Plan) -> Sequence[Step[World]]:
        parameters = next(step.parameters for step in plan.steps if step.id == SWITCH)
        return made(read_request(parameters))


def _after_it(asked: Asked) -> str:
    """What becomes of the layout that holds, and how its number of tasks comes back."""
    kept = f"layout {asked.before.number} is not kept up to date any more"
    if asked.one_way:
        return f"{kept}, and there is no revert: {asked.one_way}"
    newly = routed_back(asked.before.layout, asked.after.layout, asked.moved)
    routed = ", ".join(topic for topics in newly.values() for topic in topics)
    by = f", which reads {routed} by way of topics of the application's own" if routed else ""
    return f"{kept}: a revert is another repartition, to layout {asked.after.number + 1}{by}"


def _grown(asked: Asked) -> list[str]:
    return [
        f"{topic} has {width} partitions for good, for whoever reads and writes it: until producers"
        " know them, and stray_quiet_ms after that, results of keys that move come later"
        for topic, width in sorted(asked.grown.items())
    ]


def _taken_over(asked: Asked) -> list[str]:
    return [
        f"{topic} is read by way of a topic of the application's own for good, which takes room for"
        " what is not processed yet, and a commit more until a result comes"
        for topic in sorted(asked.taken_over)
    ]


def _unchecked(asked: Asked) -> list[str]:
    by = {store.name: store.partition_key for plan in asked.feeds for store in plan.stores}
    named = {name: by[name] for name in asked.unchecked if by.get(name)}
    own = [name for name in asked.unchecked if name not in named]
    told = [
        f"rows of {name} go where {function} says, which one task alone does not prove: go on with"
        " it by the same code"
        for name, function in named.items()
    ]
    if own:
        told += [
            f"rows of {', '.join(own)} go where their own keys belong: make sure that these are the"
            " keys of the records that they came from, which one task alone does not tell"
        ]
    return told


def _seconds(asked: Asked) -> int:
    records = asked.expected.records
    rows_s = sum(one.bytes for one in asked.seeds.values()) // _SEEDED_PER_S
    return rows_s + records // _COPIED_PER_S + records // _READ_PER_S + _ALWAYS_S


def steps_told(asked: Asked) -> dict[str, str]:
    """What each step does, for people."""
    after, number = asked.after.layout, asked.after.number
    tasks = ", ".join(
        f"subtopology {each} from {asked.before.layout.task_count(each)} to"
        f" {after.task_count(each)} tasks"
        for each in asked.moved
    )
    feeds = sum(plan.source.tasks for plan in asked.feeds)
    first = f", {len(asked.seeds)} of which begin with a snapshot" if asked.seeds else ""
    grown = "".join(
        f"; then give {topic} {width} partitions, where it has {asked.inputs[topic]}"
        for topic, width in sorted(asked.grown.items())
    )
    return {
        "record": "record layout 1, where no layout is recorded yet",
        "topics": f"make {len(asked.changelogs)} changelogs and {len(asked.repartition)}"
        f" other topics of layout {number}",
        "copy": f"copy {len(asked.sources)} changelog partitions by {feeds} feeds{first}",
        "shadow": f"have workers keep warm copies of {len(asked.shadows)} tasks of layout {number}",
        "prove": "read all that was copied back, and compare",
        "switch": f"pause, drain, prove the rest, and record layout {number}: {tasks}{grown}",
        "settle": f"wait until all tasks of layout {number} run; end the feeds",
    }


def check_layout(asked: Asked, world: World) -> None:
    """Raise OperationRefusedError where another layout holds than when it was planned."""
    layout, _by = world.layouts.recorded()
    recorded = layout or ApplicationLayout()
    before = asked.before.layout
    same = all(
        (recorded.task_count(number), recorded.since(number)) == (one.tasks, one.since)
        for number, one in before.subtopologies.items()
        # Those of layout 1 are as topics and code have them: nothing was built for them.
        if layout is not None and not (one.is_first and recorded.since(number) == one.since)
    )
    if recorded.number != before.number or not same:
        raise OperationRefusedError(
            f"layout {recorded.number} holds by now, and this was planned for layout"
            f" {before.number}",
            hint=_PLAN_AGAIN,
        )


def check_code_given(asked: Asked, world: World) -> None:
    """Raise OperationRefusedError where rows belong by a function that is not at hand, or where the
    code is another one."""
    for plan in (*asked.feeds, *asked.bases):
        plan.bound(world.specs(asked, plan))


def check_widths(asked: Asked, world: World) -> None:
    """Raise OperationRefusedError where a topic of others has another width by now."""
    if why := asked.other_widths(world.topics.topics()):
        raise OperationRefusedError(why, hint=_PLAN_AGAIN)


def _check_topics(asked: Asked, world: World) -> None:
    there = world.topics.topics()
    for plan in asked.feeds:
        for store in plan.stores:
            if there.get(store.source, 0) != plan.source.tasks:
                raise OperationRefusedError(
                    f"changelog {store.source} has {there.get(store.source, 0)} partitions, and"
                    f" subtopology {plan.subtopology} has {plan.source.tasks} tasks",
                    hint="start its workers once, which make what is missing",
                )
    if why := trimmed(world.ports.starts(asked.sources), asked.begins):
        raise OperationRefusedError(why, hint=_PLAN_AGAIN)


def check_new_topics(asked: Asked, world: World) -> None:
    """Raise OperationRefusedError where topics of the next layout are there already."""
    there = world.topics.topics()
    names = asked.changelogs.keys() | asked.repartition.keys()
    if left := sorted(names & there.keys()):
        raise OperationRefusedError(
            f"{', '.join(left)} of layout {asked.after.number} exist already",
            hint="an operation that was abandoned left them, or somebody else made them: look at"
            " what is in them, delete them, and plan again",
        )


def check_workers(asked: Asked, world: World) -> None:
    """Raise OperationRefusedError where no worker runs, or one runs another topology."""
    statuses = world.workers.statuses()
    if not statuses:
        raise OperationRefusedError(
            f"no worker of {asked.application} runs",
            hint="start them: they keep the copies of the next layout, and pause for the switch",
        )
    others = [name for name, one in sorted(statuses.items()) if one.shape not in ("", asked.shape)]
    if others:
        raise OperationRefusedError(
            f"worker {others[0]} runs another topology than the one that was given",
            hint="give the application as its workers have it, and wait until all of them run it",
        )
