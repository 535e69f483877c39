"""A layout as a value: which task of an application reads which partition. Pure.

A subtopology has `tasks` tasks (L), and partition p of each topic that it reads is read by task
p mod L. Where L divides the topic's partitions (T), all records of a key meet in one task: by the
hash h of its key, (h mod T) mod L is h mod L. So topics that share state may even differ in T,
as long as L divides each, and their producers place keys by one partitioner.

`since` is the layout that a subtopology's state was last built for: its changelogs, repartition
topics, directories and snapshots carry that number (streamer/ids.py). A subtopology that a change
does not touch keeps its own. Layout 1 is what no record says: as many tasks as partitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from streamer.errors import TopologyError
from streamer.ids import FIRST_LAYOUT, Layout, TaskId

__all__ = [
    "ApplicationLayout",
    "InputLayout",
    "Mode",
    "Partitioner",
    "SubtopologyLayout",
]

Partitioner = Literal["murmur2", "consistent"]
Mode = Literal["fold", "grow", "routed"]
"""`fold`: L divides T, topics as they are. `grow`: topics with more partitions than before, and
records that are found where they are not at home. `routed`: a copy of the topic made for it."""

# More tasks than any application can want, and few enough to list.
_TASKS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class InputLayout:
    """A topic that is read: how many partitions it has, and how its producers choose one. A
    repartition topic (`is_internal`) is the application's own and as wide as its reader."""

    partitions: int
    partitioner: Partitioner = "murmur2"
    is_internal: bool = False


@dataclass(frozen=True, slots=True)
class SubtopologyLayout:
    """One subtopology. `inputs` are by topic; repartition topics by their names of layout 1."""

    tasks: int
    since: Layout = FIRST_LAYOUT
    inputs: Mapping[str, InputLayout] = field(default_factory=dict)
    mode: Mode = "fold"
    keeps_state: bool = True

    @property
    def partitioner(self) -> Partitioner:
        """How a key's bytes choose its partition, and so its task."""
        return next((one.partitioner for one in self.inputs.values()), "murmur2")

    @property
    def is_first(self) -> bool:
        """Whether it is as it was when the application began: as many tasks as partitions."""
        return self.since == FIRST_LAYOUT

    def task_of(self, partition: int) -> int:
        """The number of the task that reads this partition of any of its topics."""
        return partition % self.tasks

    def partitions_of(self, task: int, topic_partitions: int) -> range:
        """The partitions that a task reads of a topic with so many."""
        return range(task, topic_partitions, self.tasks)

    def check(self, number: int) -> None:
        """Raise TopologyError where records of one key would not meet in one task."""
        name = f"subtopology {number}"
        if not 1 <= self.tasks <= _TASKS_MAX:
            raise TopologyError(
                f"{name} cannot have {self.tasks} tasks", hint=f"it has 1 to {_TASKS_MAX}"
            )
        if self.mode not in get_args(Mode):
            raise TopologyError(
                f"{name} has the mode {self.mode!r}", hint=f"possible: {_listed(get_args(Mode))}"
            )
        for topic, one in self.inputs.items():
            if one.partitions < 1 or one.partitioner not in get_args(Partitioner):
                raise TopologyError(
                    f"{name}: {topic} cannot have {one.partitions} partitions by the partitioner"
                    f" {one.partitioner!r}",
                    hint=f"a topic has 1 or more, by {_listed(get_args(Partitioner))}",
                )
        widest = max((one.partitions for one in self.inputs.values()), default=self.tasks)
        if self.tasks > widest:
            raise TopologyError(
                f"{name} cannot have {self.tasks} tasks: its widest topic has {widest} partitions",
                hint="a task without a partition would do nothing: give it fewer tasks",
            )
        if self.is_first and self.tasks != widest:
            raise TopologyError(
                f"{name} of layout 1 cannot have {self.tasks} tasks: its widest topic has"
                f" {widest} partitions, and layout 1 has a task for each",
                hint="another number of tasks needs state built for it: a layout of its own",
            )
        widths = {topic: one.partitions for topic, one in self.inputs.items()}
        if self.mode == "grow" and set(widths.values()) - {self.tasks}:
            raise TopologyError(
                f"{name} cannot run with {self.tasks} tasks over {_counted(widths)}",
                hint="topics that were grown have a task for each of their partitions",
            )
        if self.keeps_state:
            self._check_keys_meet(name, widths)

    def _check_keys_meet(self, name: str, widths: Mapping[str, int]) -> None:
        if self.mode == "fold":
            odd = {topic: count for topic, count in widths.items() if count % self.tasks}
            if odd:
                raise TopologyError(
                    f"{name} cannot run with {self.tasks} tasks: {self.tasks} does not divide the"
                    f" partitions of {_counted(odd)}, so records of one key would be in two tasks",
                    hint=f"possible: {_listed(_common_divisors(widths.values()))}",
                )
        if self.mode == "routed" and set(widths.values()) - {self.tasks}:
            raise TopologyError(
                f"{name} cannot run with {self.tasks} tasks over {_counted(widths)}",
                hint="the routed mode has topics of its own, with a partition for each task",
            )
        by = {one.partitioner for one in self.inputs.values()}
        if len(by) > 1 and self.tasks > 1:
            listed = ", ".join(f"{topic} {one.partitioner}" for topic, one in self.inputs.items())
            raise TopologyError(
                f"{name} cannot join topics whose producers place keys differently: {listed}",
                hint="records of one key would be in two tasks: bring one of them to the other's"
                ' partitions: .repartition("name")',
            )

    def folded(self, tasks: int, since: Layout) -> SubtopologyLayout:
        """The same over so many tasks: its own topics become as wide, those of others stay."""
        inputs = {
            topic: replace(one, partitions=tasks) if one.is_internal else one
            for topic, one in self.inputs.items()
        }
        return replace(self, tasks=tasks, since=since, inputs=inputs)


@dataclass(frozen=True, slots=True)
class ApplicationLayout:
    """All subtopologies, by their numbers. One that is not listed is as it was in layout 1."""

    number: Layout = FIRST_LAYOUT
    subtopologies: Mapping[int, SubtopologyLayout] = field(default_factory=dict)

    def since(self, subtopology: int) -> Layout:
        """The layout whose number the subtopology's topics, directories and snapshots carry."""
        found = self.subtopologies.get(subtopology)
        return FIRST_LAYOUT if found is None else found.since

    def task_count(self, subtopology: int) -> int:
        """0 where the subtopology is not known."""
        found = self.subtopologies.get(subtopology)
        return 0 if found is None else found.tasks

    @property
    def tasks(self) -> tuple[TaskId, ...]:
        return tuple(
            TaskId(number, task)
            for number, one in sorted(self.subtopologies.items())
            for task in range(one.tasks)
        )

    @property
    def is_first(self) -> bool:
        """Whether nothing in it differs from what no record says."""
        return all(one.is_first for one in self.subtopologies.values())

    def check(self) -> ApplicationLayout:
        """Itself. Raises TopologyError for a layout that cannot be right."""
        if self.number < FIRST_LAYOUT:
            raise TopologyError(f"there is no layout {self.number}", hint="the first is 1")
        for number, one in self.subtopologies.items():
            if not FIRST_LAYOUT <= one.since <= self.number:
                raise TopologyError(
                    f"subtopology {number} of layout {self.number} says that its state is of layout"
                    f" {one.since}",
                    hint="state is of this layout or of an earlier one",
                )
            one.check(number)
        return self

    def folded(self, tasks: Mapping[int, int]) -> ApplicationLayout:
        """The next layout, with so many tasks in these subtopologies. Those whose number does not
        change keep what they have.

        Raises TopologyError for a subtopology that is not there and a number that cannot be.
        """
        number = Layout(self.number + 1)
        changed = dict(self.subtopologies)
        for subtopology, count in tasks.items():
            if subtopology not in changed:
                raise TopologyError(
                    f"there is no subtopology {subtopology}",
                    hint=f"possible: {_listed(sorted(changed))}",
                )
            before = changed[subtopology]
            if before.tasks != count:
                if count < 1:
                    raise TopologyError(
                        f"subtopology {subtopology} cannot have {count} tasks", hint="1 or more"
                    )
                changed[subtopology] = before.folded(count, number)
        return replace(self, number=number, subtopologies=changed).check()


def _common_divisors(counts: Iterable[int]) -> list[int]:
    every = sorted(counts)
    return [one for one in range(1, every[0] + 1) if not any(count % one for count in every)]


def _counted(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{topic} ({count})" for topic, count in sorted(widths.items()))


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
