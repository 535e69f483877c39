"""The proof that the next changelogs hold what was fed, and up to where it was made.

The first cut is the begin of the topics, which this operation made: nothing fed, nothing there. So
the first proof reads all of the state back. What it has come to is committed as the positions of a
group of its own, `<application>.feed.<operation>.cut`, and the next one goes on from there:

    target changelog, each partition     where it ended     `2 <plan> <records> <bytes> <sum>`

Inside the pause only what came after the last cut is left to be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from streamer.errors import OperationRefusedError, TaskCorruptedError
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import Ports
from streamer.feed.proof import FeedCut, prove
from streamer.feed.sums import Cell
from streamer.ids import TopicPartition
from streamer.kafka.api import Committed
from streamer.split.totals import NOTHING, Totals
from streamer.topology.stores import StoreSpec

__all__ = ["check_same", "cut_group", "is_noted", "note", "noted", "unproven"]

# 1 had sums of another hash.
_NOTE = re.compile(r"2 ([0-9a-f]{16}) ([0-9]{1,19}) ([0-9]{1,19}) ([0-9a-f]{32})")
_SHOWN = 5


def cut_group(plan: FeedPlan) -> str:
    """Also the transactional id under which the cut is noted."""
    return f"{plan.application}.feed.{plan.operation}.cut.{plan.subtopology}"


def is_noted(plan: FeedPlan, ports: Ports) -> bool:
    """Whether anything was proven."""
    return bool(ports.known(cut_group(plan), _places(plan)))


def unproven(plan: FeedPlan, ports: Ports, since: FeedCut) -> int:
    """How many offsets lie behind a cut."""
    begins = since.positions(plan)
    ends = ports.ends(begins)
    return sum(max(ends[place] - at, 0) for place, at in begins.items())


def check_same(
    plan: FeedPlan,
    ports: Ports,
    since: FeedCut,
    *,
    to: FeedCut | None = None,
    specs: Iterable[StoreSpec] = (),
    timeout_s: float,
) -> None:
    """Raise TaskCorruptedError where the next changelogs do not hold what was fed since a cut; else
    as `prove` does."""
    if found := prove(plan, ports, since, to=to, specs=specs, timeout_s=timeout_s):
        raise TaskCorruptedError(
            f"the next changelogs of subtopology {plan.subtopology} do not hold what was fed: "
            + "; ".join(map(str, found[:_SHOWN])),
            hint="somebody else has written there, or a broker has lost what it had acknowledged."
            " Nothing was switched, and both sides are as they were: look at them, then cancel the"
            " operation, which removes what it made",
        )


def _places(plan: FeedPlan) -> list[TopicPartition]:
    return [
        TopicPartition(store.target, task)
        for store in plan.stores
        for task in range(plan.target.tasks)
    ]


def noted(plan: FeedPlan, ports: Ports) -> FeedCut:
    """The last cut up to which all was proven; the begin where there is none."""
    places = _places(plan)
    committed = ports.known(cut_group(plan), places)
    sums: dict[Cell, Totals] = {}
    for place, one in committed.items():
        said = _NOTE.fullmatch(one.metadata)
        if said is None or said[1] != plan.id:
            raise OperationRefusedError(
                f"group {cut_group(plan)} has position {one.position} for {place} with the note"
                f" {one.metadata[:60]!r}, which operation {plan.operation} did not write",
                hint="another version of Streamer has written it, or somebody has reset the group:"
                " cancel the operation and plan it anew",
            )
        cell = Cell(plan.store(place.topic).name, place.partition)
        sums[cell] = Totals(int(said[2]), int(said[3]), said[4])
    ends = {place: committed[place].position if place in committed else 0 for place in places}
    return FeedCut.of(plan, {cell: one for cell, one in sums.items() if one != NOTHING}, ends)


def note(plan: FeedPlan, ports: Ports, cut: FeedCut, *, guard: Callable[[], None]) -> None:
    """All up to this cut is proven. `guard` as for a feed."""
    sums = cut.sums
    entries = {}
    for place, at in cut.positions(plan).items():
        one = sums.get(Cell(plan.store(place.topic).name, place.partition), NOTHING)
        entries[place] = Committed(at, f"2 {plan.id} {one.rows} {one.size} {one.sum}")
    group = cut_group(plan)
    topics = [one.target for one in plan.stores]
    producer = ports.producer(group, topics, is_over=ports.stopping.is_set)
    try:
        producer.init()
        guard()
        reader = ports.reader(group)
        try:
            producer.begin()
            producer.commit(entries, reader.group())
        finally:
            reader.close()
    finally:
        producer.close()
