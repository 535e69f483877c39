"""What a repartition was asked to do: two layouts, the feeds between them, and what was estimated.

All that the topology says is in it, so that whoever goes on with the operation needs no code of the
application. What grows all the time (records, bytes) is looked up once and stands in the request:
a plan that is made anew of it is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from streamer.control.layouts import LayoutRecord, layout_record
from streamer.control.numbers import Whole
from streamer.errors import OperationRefusedError, StreamerError
from streamer.feed.plan import FeedPlan
from streamer.ids import TaskId, TopicPartition
from streamer.layout import ApplicationLayout
from streamer.operations.repartition.finals import FinalStore, finals_of
from streamer.operations.repartition.modes import Wish, modes, one_way
from streamer.operations.repartition.own_topics import internal_topics
from streamer.operations.repartition.refusals import by_own_keys, check_carried
from streamer.operations.repartition.seeds import SeedRecord
from streamer.topology.graph import Topology
from streamer.topology.interval import Interval
from streamer.topology.replayed import Outputs
from streamer.topology.shape import shape_of

__all__ = ["Asked", "Expected", "ask", "read_request"]


class Expected(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What was estimated when it was planned: of the changelogs that are copied."""

    records: Whole = 0
    bytes: Whole = 0


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`number` is the operation's id, part of the names of all that it makes. `shape` is
    the digest that tells the workers of the layout that holds."""

    number: str
    before: LayoutRecord
    after: LayoutRecord
    shape: str
    feeds: tuple[FeedPlan, ...] = ()
    expected: Expected = Expected()
    unchecked: tuple[str, ...] = ()
    """Stores of `process` that one task had alone: that each row lies where the key of its record
    is, which feeds look at, says nothing there."""
    one_way: str = ""
    """Why a repartition back would be refused, as the topology says; "" where it would not."""
    sampled: dict[str, Whole] = {}
    """How many records of each topic that is grown or routed were found where their partitioner
    puts their keys; none were elsewhere."""
    reverts: str = ""
    """The operation that this one takes back; "" where it was asked for by itself."""

    seeds: dict[str, SeedRecord] = {}
    """The snapshots with which feeds begin, by task of the layout that holds; those of other tasks
    begin with the changelogs."""

    source: LayoutRecord | None = None
    """Of the application that the state comes from, where that is another one, which reads the same
    topics once more."""

    base: dict[str, SeedRecord] = {}
    """The snapshots with which that one begins, by task of the layout that holds; without any it
    begins with the begin of the topics."""

    bases: tuple[FeedPlan, ...] = ()
    """Where the rows of these go."""

    begin: dict[str, Whole] = {}
    """Where it begins to read, by partition; with their begin where none is named."""

    windows: tuple[Whole, Whole] | None = None
    """The interval of an application that computes no more than the windows that begin in it, in ms
    since 1970: from the first, and before the second. It has all other rows of the snapshots of
    `base`, and of `replaced` stores those of `former`, where these are named: they stand where it
    begins to read."""

    replaced: tuple[str, ...] = ()
    former: dict[str, SeedRecord] = {}

    until: dict[str, Whole] = {}
    """Where those of `base` stand, by partition: from there on it computes all."""

    outputs: Outputs = "off"
    """Where what it forwards to topics of others goes: nowhere, to topics of its own, or there."""

    finals: tuple[FinalStore, ...] = ()
    """Of which a task of the next layout may have something left that only some of its parents have
    passed on."""

    @property
    def application(self) -> str:
        return self.before.application

    @property
    def interval(self) -> Interval | None:
        return None if self.windows is None else Interval(*self.windows, self.replaced)

    @property
    def parent(self) -> LayoutRecord:
        """The layout that the state comes from."""
        return self.source or self.before

    @property
    def origin(self) -> str:
        """The application that it comes from."""
        return self.parent.application

    @property
    def moved(self) -> list[int]:
        """The subtopologies whose number of tasks changes."""
        layout = self.after.layout
        return [n for n, one in sorted(layout.subtopologies.items()) if one.since == layout.number]

    @property
    def calls_code(self) -> bool:
        """Whether a function of the application's code says whose its rows are."""
        return any(store.partition_key for plan in self.feeds for store in plan.stores)

    @property
    def shadows(self) -> list[TaskId]:
        """The tasks of the next layout whose state is copied."""
        return [
            TaskId(plan.subtopology, task)
            for plan in self.feeds
            for task in range(plan.target.tasks)
        ]

    @property
    def changelogs(self) -> dict[str, int]:
        """Those to be made, with their partitions."""
        return {one.target: plan.target.tasks for plan in self.feeds for one in plan.stores}

    @property
    def repartition(self) -> dict[str, int]:
        """The repartition topics to be made, with their partitions."""
        layout = self.after.layout
        return {
            topic: width
            for number in self.moved
            for topic, width in internal_topics(self.application, layout, number).items()
        }

    @property
    def sources(self) -> list[TopicPartition]:
        """The changelog partitions that are copied."""
        return [
            TopicPartition(one.source, task)
            for plan in self.feeds
            for one in plan.stores
            for task in range(plan.source.tasks)
        ]

    @property
    def begins(self) -> dict[TopicPartition, int]:
        """Where their feeds begin in these: at 0, or where a snapshot stands."""
        return {
            TopicPartition(one.source, task.partition): (
                self.seeds[str(task)].positions.get(one.name, 0) if str(task) in self.seeds else 0
            )
            for plan in self.feeds
            for one in plan.stores
            for task in plan.tasks
        }

    @property
    def inputs(self) -> dict[str, int]:
        """The topics of others that moved subtopologies read, with their partitions."""
        layout = self.before.layout
        return {
            topic: one.partitions
            for number in self.moved
            for topic, one in layout.subtopologies[number].inputs.items()
            if not one.is_internal
        }

    @property
    def input_places(self) -> list[TopicPartition]:
        """All partitions of these."""
        return [
            TopicPartition(topic, partition)
            for topic, width in sorted(self.inputs.items())
            for partition in range(width)
        ]

    @property
    def grown(self) -> dict[str, int]:
        """The topics of others that are given more partitions, with all that they will have."""
        layout = self.after.layout
        return {
            topic: one.partitions
            for number in self.moved
            if layout.subtopologies[number].mode == "grow"
            for topic, one in layout.subtopologies[number].inputs.items()
            if not one.is_internal
        }

    @property
    def taken_over(self) -> dict[str, int]:
        """The topics of others that are routed from then on, with their partitions."""
        before, after = self.before.layout.subtopologies, self.after.layout.subtopologies
        return {
            topic: one.partitions
            for number in self.moved
            if after[number].mode == "routed"
            for topic, one in before[number].external.items()
        }

    @property
    def crossed(self) -> list[int]:
        """The moved subtopologies in whose topics there may be strays under the layout that
        holds."""
        layout = self.parent.layout
        return [n for n in self.moved if layout.subtopologies[n].mode == "grow"]

    def other_widths(self, there: Mapping[str, int]) -> str:
        """Which topic of others is not as wide as when this was planned; "" where all are."""
        for topic, width in self.inputs.items():
            if there.get(topic, 0) != width:
                return (
                    f"{topic} has {there.get(topic, 0)} partitions, and had {width} when this was"
                    " planned"
                )
        return ""

    @property
    def sending(self) -> list[LayoutRecord]:
        """The layouts under which applications send records to themselves that are to be worked off
        before the switch: that of the live one, and that which the state comes from."""
        return [self.before] if self.source is None else [self.before, self.source]

    @property
    def former_tasks(self) -> dict[int, int]:
        """How many tasks those subtopologies have that are moved, under the layout that holds."""
        return {number: self.before.layout.task_count(number) for number in self.moved}

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def ask(
    topology: Topology,
    layout: ApplicationLayout,
    tasks: Mapping[int, int],
    *,
    number: str,
    mode: Wish = None,
) -> Asked:
    """So many tasks for these subtopologies, in the mode that changes least where none is given.
    `layout` is the one that holds, with every subtopology.

    Raises TopologyError for numbers that cannot be, and OperationRefusedError for what cannot be
    carried over.
    """
    name = topology.application_id
    after = layout.moved(tasks, modes(layout, tasks, mode), application=name)
    moved = [n for n, one in sorted(after.subtopologies.items()) if one.since == after.number]
    if not moved:
        has = ", ".join(f"subtopology {n} has {layout.task_count(n)} tasks" for n in sorted(tasks))
        raise OperationRefusedError(
            f"nothing would change: {has}", hint="streamer show layout tells what holds"
        )
    feeds = []
    unchecked: list[str] = []
    finals: list[FinalStore] = []
    for each in moved:
        old, new = layout.subtopologies[each], after.subtopologies[each]
        check_carried(topology.subtopologies[each], old, new)
        if old.tasks == 1:
            unchecked += by_own_keys(topology.subtopologies[each])
        finals += finals_of(topology.subtopologies[each])
        if topology.subtopologies[each].stores:
            feeds.append(FeedPlan.of(topology, each, operation=number, source=old, target=new))
    return Asked(
        number=number,
        before=layout_record(name, layout),
        after=layout_record(name, after),
        shape=shape_of(topology, layout).digest,
        feeds=tuple(feeds),
        unchecked=tuple(unchecked),
        finals=tuple(finals),
        one_way=one_way(topology, layout, after, moved=moved),
    )


def read_request(request: Mapping[str, Any]) -> Asked:
    """Raises OperationRefusedError for what is no request of a repartition."""
    try:
        asked = msgspec.convert(dict(request), Asked)
        before, after = asked.before.layout, asked.after.layout
        for plan in (*asked.feeds, *asked.bases):
            plan.checked()
        moved, tasks = asked.moved, after.task_count
        by = {each: after.subtopologies[each].mode for each in moved}
        wanted = {each: tasks(each) for each in moved}
        follows = before.moved(wanted, by, application=asked.application)
        if asked.source is not None:
            follows = before.rebuilt()
        if follows != after or not moved:
            raise OperationRefusedError("the second layout does not follow from the first")
    except (msgspec.ValidationError, StreamerError) as error:
        raise OperationRefusedError(
            f"this is no request of a repartition: {error}",
            hint="make one with `streamer repartition plan`",
        ) from error
    return asked
