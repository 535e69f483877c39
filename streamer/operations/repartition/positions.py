"""Where the tasks of the next layout read on, and what they know beside it. Pure.

A partition of a topic of others is read on where it stood, whoever reads it now. A repartition
topic of the next layout is new, and read from its begin; so is a partition that a topic will have,
of which brokers take no position yet: what its task knows stands beside its strays, without the
topic. Up to where strays were forwarded is not taken over: a layout that has them is left once it
expects none, and is behind those. Beside each stands what a task of the next
layout takes over from its parents, the tasks that may have had keys of it: the latest of their
times (docs/decisions/0033), and the marks of all that they had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from streamer.control.layouts import LayoutRecord
from streamer.errors import OperationRefusedError, UnfinishedError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import Committed
from streamer.layout import SubtopologyLayout
from streamer.operations.repartition.finals import FinalStore
from streamer.operations.repartition.own_topics import internal_topics
from streamer.operations.repartition.request import Asked
from streamer.store.closing import Closing, Passed
from streamer.task.metadata import Metadata, input_mark, store_mark

__all__ = [
    "check_positions",
    "expecting",
    "merged",
    "next_positions",
    "read_by",
    "read_by_all",
    "still_closing",
]

Positions = Mapping[TopicPartition, Committed]
_ALL_LEFT = Closing(0, 0)


def read_by(asked: Asked) -> list[TopicPartition]:
    """All partitions that the moved subtopologies read, under the layout that holds."""
    return [
        place
        for number in asked.moved
        for task in range(asked.parent.layout.task_count(number))
        for place in _old(asked, TaskId(number, task))
    ]


def read_by_all(record: LayoutRecord) -> list[TopicPartition]:
    """All partitions that an application reads under a layout."""
    return [place for task in record.layout.tasks for place in _read(record, task)]


def still_closing(record: LayoutRecord, committed: Positions) -> list[TaskId]:
    """The tasks that have results of closed windows left to pass on: a commit has the positions,
    and the next ones have the rest of the results."""
    found = []
    for task in record.layout.tasks:
        known = [
            Metadata.decode(committed[place].metadata)
            for place in _read(record, task)
            if place in committed
        ]
        marks = {mark for one in known for mark in (*one.closings, *one.passed)}
        if any(_left(mark, known) is not None for mark in marks):
            found.append(task)
    return found


def expecting(asked: Asked, committed: Positions) -> list[TaskId]:
    """The moved tasks that expect strays yet, or are not behind all that they forwarded. What lies
    before them may belong to others, or is on its way to them: another layout would lose the one,
    and take the other twice."""
    found = []
    for number in asked.crossed:
        for partition in range(asked.parent.layout.task_count(number)):
            task = TaskId(number, partition)
            known = {
                place: Metadata.decode(committed[place].metadata)
                for place in _old(asked, task)
                if place in committed
            }
            forwarded = {mark: at for one in known.values() for mark, at in one.forwarded.items()}
            is_ahead = any(
                forwarded.get(input_mark(place.topic), 0) > committed[place].position
                for place in known
            )
            if is_ahead or not any(one.is_quiet for one in known.values()):
                found.append(task)
    return found


def check_positions(asked: Asked, committed: Positions) -> None:
    """Raise OperationRefusedError where a task that keeps state has not committed where it reads:
    the next one could not tell where to go on."""
    layout = asked.parent.layout
    missing = [
        TopicPartition(topic, partition)
        for number in asked.moved
        if layout.subtopologies[number].keeps_state
        for topic, one in layout.subtopologies[number].inputs.items()
        if not one.is_internal
        for partition in range(one.partitions)
        if TopicPartition(topic, partition) not in committed
    ]
    if missing:
        raise OperationRefusedError(
            f"the application has committed no position for {', '.join(map(str, missing[:5]))}",
            hint="each task commits one when it has begun: wait until all of them run (streamer"
            " show tasks)",
        )


def next_positions(asked: Asked, committed: Positions) -> dict[TopicPartition, Committed]:
    """What the switch commits. Raises UnfinishedError where a task has results of closed windows
    left to pass on, and as `check_positions` does."""
    check_positions(asked, committed)
    found: dict[TopicPartition, Committed] = {}
    for number in asked.moved:
        old, new = (record.layout.subtopologies[number] for record in (asked.parent, asked.after))
        own = internal_topics(asked.application, asked.after.layout, number)
        for task in range(new.tasks):
            by_parent = {
                parent: [
                    Metadata.decode(committed[place].metadata)
                    for place in _old(asked, TaskId(number, parent))
                    if place in committed
                ]
                for parent in old.parents(task, new)
            }
            known = [one for each in by_parent.values() for one in each]
            former = set(internal_topics(asked.origin, asked.parent.layout, number))
            former |= old.external.keys() - new.external.keys()
            former |= {
                place.topic
                for place in _external(new, task)
                if place.partition >= old.inputs[place.topic].partitions
            }
            note = _with_finals(
                merged(known, own, former=former),
                by_parent,
                [one for one in asked.finals if one.subtopology == number],
                old=old,
            ).encode()
            for place in _external(new, task):
                if place in committed:
                    found[place] = Committed(committed[place].position, note)
            found |= {TopicPartition(topic, task): Committed(0, note) for topic in own}
    return found | _taken_over(asked, committed)


def _taken_over(asked: Asked, committed: Positions) -> dict[TopicPartition, Committed]:
    """Those of topics that are routed from then on, whose readers know nothing else."""
    places = [
        TopicPartition(topic, partition)
        for topic, width in asked.taken_over.items()
        for partition in range(width)
    ]
    return {
        place: Committed(
            committed[place].position,
            Metadata(
                Metadata.decode(committed[place].metadata).stream_time_ms,
                frozenset({input_mark(place.topic)}),
            ).encode(),
        )
        for place in places
        if place in committed
    }


def merged(
    known: Sequence[Metadata], topics: Iterable[str], *, former: Iterable[str] = ()
) -> Metadata:
    """What a task knows whose parents knew this. `topics` are those that it reads instead of the
    `former` ones. Raises UnfinishedError where something is left to pass on."""
    marks = frozenset[str]().union(*(one.marks for one in known))
    marks -= {input_mark(topic) for topic in former}
    times = {mark: _latest(mark, known) for one in known for mark in one.times}
    for mark in {mark for one in known for mark in (*one.closings, *one.passed)}:
        if _left(mark, known) is not None:
            raise _unfinished()
    return Metadata(
        max((one.stream_time_ms for one in known), default=-1),
        marks | {input_mark(topic) for topic in topics},
        {mark: time for mark, time in times.items() if mark in marks},
    )


def _with_finals(
    note: Metadata,
    by_parent: Mapping[int, Sequence[Metadata]],
    stores: Iterable[FinalStore],
    *,
    old: SubtopologyLayout,
) -> Metadata:
    """With how far each parent had come, where they had not come as far as each other: what the
    latest of their times closes is left to pass on (docs/decisions/0055). Raises UnfinishedError
    where one has something left itself, or does not tell."""
    passed = {}
    for store in stores:
        mark = store_mark(store.name, store.kind)
        times = {parent: _time_in(each, mark) for parent, each in by_parent.items()}
        if len(set(times.values())) > 1:
            by = old.known_partitioner
            assert by is not None, "a plan with another one is refused where a store has finals"
            passed[mark] = Passed(old.tasks, by, times)
    return replace(note, passed=passed)


def _time_in(known: Sequence[Metadata], mark: str) -> int:
    """The time of a store with final results in one parent; -1 where it has none."""
    if known and not any(one.marks for one in known):
        raise UnfinishedError(
            "a position of the application was set by hand, and tells nothing of its task",
            hint="the task tells it with the next record that it commits: go on with the operation"
            " then",
        )
    if any(mark in one.closings or mark in one.passed for one in known) and _left(mark, known):
        raise _unfinished()
    return max((time for one in known if (time := one.time_of(mark)) is not None), default=-1)


def _latest(mark: str, known: Iterable[Metadata]) -> int:
    return max(time for one in known if (time := one.time_of(mark)) is not None)


def _left(mark: str, known: Sequence[Metadata]) -> Closing | None:
    """As a restart tells it: what was known at the store's latest time counts."""
    latest = _latest(mark, known)
    at = [one for one in known if one.time_of(mark) == latest]
    # One that has only begun to know what its parents had left has all of that left.
    places = [one.closings.get(mark) or (_ALL_LEFT if mark in one.passed else None) for one in at]
    return None if None in places else places[0]


def _unfinished() -> UnfinishedError:
    return UnfinishedError(
        "a task has results of closed windows left to pass on",
        hint="its next commits do that: go on with the operation in a moment",
    )


def _old(asked: Asked, task: TaskId) -> Iterator[TopicPartition]:
    """The partitions that a task reads of the layout that the state comes from."""
    return _read(asked.parent, task)


def _read(record: LayoutRecord, task: TaskId) -> Iterator[TopicPartition]:
    layout = record.layout
    yield from _external(layout.subtopologies[task.subtopology], task.partition)
    for topic in internal_topics(record.application, layout, task.subtopology):
        yield TopicPartition(topic, task.partition)


def _external(one: SubtopologyLayout, task: int) -> Iterator[TopicPartition]:
    for topic, read in one.inputs.items():
        if not read.is_internal:
            for partition in one.partitions_of(task, read.partitions):
                yield TopicPartition(topic, partition)
