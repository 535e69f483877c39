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

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import gcd
from typing import Literal, get_args

from streamer.errors import TopologyError
from streamer.ids import FIRST_LAYOUT, Layout, TaskId, repartition_topic, routed_name

__all__ = [
    "ApplicationLayout",
    "InputLayout",
    "KnownPartitioner",
    "Mode",
    "Partitioner",
    "SubtopologyLayout",
]

KnownPartitioner = Literal["murmur2", "consistent"]
Partitioner = str
"""The name of a known one; or `module:function`, which is one that the application declares."""
Mode = Literal["fold", "grow", "routed"]
"""`fold`: L divides T, topics as they are. `grow`: topics with more partitions than before, and
records that are found where they are not at home. `routed`: a copy of the topic made for it."""

_DECLARED = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
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
        by = {one.partitioner for one in self.inputs.values()}
        # With one task for all of them it is all the same.
        return by.pop() if len(by) == 1 else "murmur2"

    @property
    def known_partitioner(self) -> KnownPartitioner | None:
        """The same where it takes the remainder of a hash; None where it is declared."""
        return _known(self.partitioner)

    @property
    def width(self) -> int:
        """Among how many partitions keys are placed: of a hash's remainder by the partitions, the
        remainder by the tasks is that of the hash, whatever each topic has. A declared function
        knows partitions alone."""
        if self.known_partitioner:
            return self.tasks
        return max((one.partitions for one in self.inputs.values()), default=self.tasks)

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
            by = one.partitioner
            if one.partitions < 1 or not (_known(by) or _DECLARED.fullmatch(by)):
                raise TopologyError(
                    f"{name}: {topic} cannot have {one.partitions} partitions by the partitioner"
                    f" {by!r}",
                    hint=f"a topic has 1 or more, by {_listed(get_args(KnownPartitioner))} or"
                    " module:function",
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
        if self.mode == "routed" and (self.external or set(widths.values()) - {self.tasks}):
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
        if not self.known_partitioner and len(set(widths.values())) > 1:
            raise TopologyError(
                f"{name} cannot run over {_counted(widths)} by {self.partitioner}",
                hint="topics whose partitions a function of yours chooses have as many of them, or"
                " a key could be in different ones",
            )

    def moved(
        self, tasks: int, since: Layout, mode: Mode, *, application: str = ""
    ) -> SubtopologyLayout:
        """The same over so many tasks: its own topics become as wide, and so do those of others
        where they are grown. Routed, it reads topics of the application's own instead of these."""
        inputs = {}
        for topic, one in self.inputs.items():
            if one.is_internal or mode == "grow":
                inputs[topic] = replace(one, partitions=tasks)
            elif mode == "routed":
                name = repartition_topic(application, routed_name(topic))
                inputs[name] = InputLayout(tasks, is_internal=True)
            else:
                inputs[topic] = one
        return replace(self, tasks=tasks, since=since, inputs=inputs, mode=mode)

    @property
    def external(self) -> dict[str, InputLayout]:
        """The topics of others that it reads."""
        return {topic: one for topic, one in self.inputs.items() if not one.is_internal}

    def parents(self, task: int, following: SubtopologyLayout) -> range:
        """The tasks of this layout that may have had keys of a task of the `following` one."""
        is_same = self.partitioner == following.partitioner
        if not is_same or (not self.known_partitioner and self.width != following.width):
            return range(self.tasks)
        # Both are remainders of one number: a hash, or the partition of a topic as it was.
        common = gcd(self.tasks, following.tasks)
        return range(task % common, self.tasks, common)

    def fits(self, tasks: int) -> Mode:
        """The mode in which it can have so many tasks, and what is least is changed: `grow` where
        they are more than its widest topic has partitions. One that is routed stays so."""
        if self.mode == "routed":
            return "routed"
        widest = max((one.partitions for one in self.external.values()), default=0)
        return "grow" if 0 < widest < tasks else "fold"


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

    def rebuilt(self) -> ApplicationLayout:
        """The next layout, of the same tasks, with state and topics of its own for all of them."""
        number = Layout(self.number + 1)
        changed = {n: replace(one, since=number) for n, one in self.subtopologies.items()}
        return replace(self, number=number, subtopologies=changed).check()

    def folded(self, tasks: Mapping[int, int]) -> ApplicationLayout:
        """`moved`, all of them by fold."""
        return self.moved(tasks, dict.fromkeys(tasks, "fold"))

    def moved(
        self, tasks: Mapping[int, int], modes: Mapping[int, Mode], *, application: str = ""
    ) -> ApplicationLayout:
        """The next layout, with so many tasks in these subtopologies, each in its mode. Those whose
        number and mode do not change keep what they have. Behind them stands one for each topic
        that is routed from then on (streamer/topology/routed.py), named for the `application`.

        Raises TopologyError for a subtopology that is not there, a number that cannot be, and a
        mode that does not fit what is read.
        """
        number = Layout(self.number + 1)
        changed = dict(self.subtopologies)
        routed: dict[str, InputLayout] = {}
        for subtopology, count in sorted(tasks.items()):
            if subtopology not in changed:
                raise TopologyError(
                    f"there is no subtopology {subtopology}",
                    hint=f"possible: {_listed(sorted(changed))}",
                )
            before, mode = changed[subtopology], modes[subtopology]
            is_new = mode == "routed" and before.mode != "routed"
            if before.tasks != count or is_new:
                _check_mode(subtopology, before, count, mode=mode)
                changed[subtopology] = before.moved(count, number, mode, application=application)
            if is_new:
                routed |= sorted(before.external.items())
        for topic, one in routed.items():
            behind = max(changed) + 1
            changed[behind] = SubtopologyLayout(
                one.partitions,
                inputs={topic: replace(one, partitioner="murmur2")},
                keeps_state=False,
            )
        return replace(self, number=number, subtopologies=changed).check()


def _known(partitioner: Partitioner) -> KnownPartitioner | None:
    return next((one for one in get_args(KnownPartitioner) if one == partitioner), None)


def _check_mode(number: int, before: SubtopologyLayout, tasks: int, *, mode: Mode) -> None:
    """Raise TopologyError where a subtopology cannot have so many tasks in this mode."""
    if tasks < 1:
        raise TopologyError(f"subtopology {number} cannot have {tasks} tasks", hint="1 or more")
    if before.mode == "routed":
        if mode != "routed":
            raise TopologyError(
                f"subtopology {number} is routed, and stays so",
                hint="routed, it can have any number of tasks",
            )
    elif mode != "fold" and not before.external:
        raise TopologyError(
            f"subtopology {number} reads topics of the application's own alone, which are as wide"
            " as it has tasks",
            hint="it is folded to any number of tasks",
        )
    widths = {name: one.partitions for name, one in before.external.items()}
    wide = {name: width for name, width in widths.items() if width >= tasks}
    if mode == "grow" and wide:
        raise TopologyError(
            f"{_counted(wide)} cannot be given {tasks} partitions: that would be no growth",
            hint="Kafka never takes partitions away; a fold changes the number of tasks alone",
        )


def _common_divisors(counts: Iterable[int]) -> list[int]:
    every = sorted(counts)
    return [one for one in range(1, every[0] + 1) if not any(count % one for count in every)]


def _counted(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{topic} ({count})" for topic, count in sorted(widths.items()))


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
