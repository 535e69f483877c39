"""What a feed has come to: positions, and totals of what it has written since it began. They are
committed together with the records, as positions of the feed's own group:

    source changelog, the task's partition     the next offset to feed     `2 <plan> <as of, ms>`
    target changelog, each partition fed       the records fed             `4 <bytes> <fingerprint>`

While rows of a snapshot are fed first, the note is `3 <plan> <as of, ms> <rows fed>`. So what was
fed since any moment is a difference of two totals, and a feed that is killed loses none of it. A
removed row counts as an empty one: no store writes an empty row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from streamer.errors import OperationRefusedError
from streamer.feed.plan import FeedPlan
from streamer.ids import TopicPartition
from streamer.kafka.api import Committed
from streamer.record import RawBatch
from streamer.split.totals import NOTHING, Totals

if TYPE_CHECKING:
    from streamer.split.vectors import Numbers

__all__ = [
    "Cell",
    "Difference",
    "FeedState",
    "Sums",
    "added",
    "differing",
    "places",
    "subtracted",
    "sums_of",
]


class Cell(NamedTuple):
    """A store and the number of a task of the target layout."""

    store: str
    target: int


Sums = Mapping[Cell, Totals]

# 1 had sums of another hash, which cannot be added to.
_FORMAT = "4"
_SOURCE = re.compile(r"2 ([0-9a-f]{16}) ([0-9]{1,19})|3 ([0-9a-f]{16}) ([0-9]{1,19}) ([0-9]{1,19})")
_NOTE = re.compile(r"4 ([0-9]{1,19}) ([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class FeedState:
    """Of the feed of one old task: positions by store, totals since its begin, and as of when it
    knows of all removals. `seeding` are the stores of which a snapshot's rows are not all fed yet,
    with how many are."""

    positions: Mapping[str, int] = field(default_factory=dict)
    sums: Sums = field(default_factory=dict)
    as_of_ms: int = 0
    seeding: Mapping[str, int] = field(default_factory=dict)

    @property
    def totals(self) -> Totals:
        return sum(self.sums.values(), NOTHING)

    def advanced(self, positions: Mapping[str, int], fed: Sums) -> FeedState:
        return replace(self, positions={**self.positions, **positions}, sums=added(self.sums, fed))

    def seeded(self, store: str, rows: int, fed: Sums) -> FeedState:
        """So many more rows of a snapshot's store are fed."""
        seeding = {**self.seeding, store: self.seeding[store] + rows}
        return replace(self, seeding=seeding, sums=added(self.sums, fed))

    def sown(self, store: str) -> FeedState:
        """All of them are."""
        seeding = {name: rows for name, rows in self.seeding.items() if name != store}
        return replace(self, seeding=seeding)

    def _note(self, plan: FeedPlan, store: str) -> str:
        if store in self.seeding:
            return f"3 {plan.id} {self.as_of_ms} {self.seeding[store]}"
        return f"2 {plan.id} {self.as_of_ms}"

    def entries(
        self, plan: FeedPlan, task: int, cells: Iterable[Cell] | None = None
    ) -> dict[TopicPartition, Committed]:
        """What is committed: the positions, and these totals, or all of them."""
        stores = {store.name: store for store in plan.stores}
        found = {
            TopicPartition(stores[name].source, task): Committed(at, self._note(plan, name))
            for name, at in self.positions.items()
        }
        for cell in self.sums if cells is None else cells:
            one = self.sums[cell]
            place = TopicPartition(stores[cell.store].target, cell.target)
            found[place] = Committed(one.rows, f"{_FORMAT} {one.size} {one.sum}")
        return found

    @classmethod
    def decode(
        cls, plan: FeedPlan, task: int, committed: Mapping[TopicPartition, Committed]
    ) -> FeedState:
        """Raises OperationRefusedError for what another plan or version, or somebody else wrote."""
        positions: dict[str, int] = {}
        times: list[int] = []
        sums: dict[Cell, Totals] = {}
        seeding: dict[str, int] = {}
        for place, one in committed.items():
            store = plan.store(place.topic)
            if place.topic == store.source:
                said = _SOURCE.fullmatch(one.metadata)
                if said is None or (said[1] or said[3]) != plan.id:
                    raise _foreign(plan, task, place, one)
                positions[store.name] = one.position
                times.append(int(said[2] or said[4]))
                if said[5]:
                    seeding[store.name] = int(said[5])
            else:
                note = _NOTE.fullmatch(one.metadata)
                if note is None:
                    raise _foreign(plan, task, place, one)
                cell = Cell(store.name, place.partition)
                sums[cell] = Totals(one.position, int(note[1]), note[2])
        return cls(positions, sums, min(times, default=0), seeding)


def _foreign(
    plan: FeedPlan, task: int, place: TopicPartition, one: Committed
) -> OperationRefusedError:
    return OperationRefusedError(
        f"group {plan.name(task)} has position {one.position} for {place} with the note"
        f" {one.metadata[:60]!r}, which the plan {plan.id} of operation {plan.operation} did not"
        " write",
        hint="another plan or version of Streamer has fed under the same operation, or somebody has"
        " reset the group: its sums prove nothing any more. Cancel the operation and plan it anew",
    )


def places(plan: FeedPlan, task: int) -> list[TopicPartition]:
    """All that a feed may have committed."""
    sources = [TopicPartition(one.source, task) for one in plan.stores]
    targets = range(plan.target.tasks)
    return sources + [
        TopicPartition(store.target, target) for store in plan.stores for target in targets
    ]


def sums_of(plan: FeedPlan, batch: RawBatch, targets: Numbers) -> dict[Cell, Totals]:
    """Of the records of a batch, by the task that they go to or are in."""
    # numpy: DAGs know this module, and Airflow reads their files again and again.
    from streamer.split.fingerprint import Ledger

    store = plan.store(batch.topic).name
    ledger = Ledger(plan.target.tasks, plan.salt)
    rows = [value or b"" for value in batch.values]
    ledger.add(targets, [key or b"" for key in batch.keys], rows)
    return {Cell(store, target): one for target, one in ledger.totals().items()}


def added(*several: Sums) -> dict[Cell, Totals]:
    found: dict[Cell, Totals] = {}
    for sums in several:
        for cell, one in sums.items():
            found[cell] = found.get(cell, NOTHING) + one
    return found


def subtracted(whole: Sums, part: Sums) -> dict[Cell, Totals]:
    """What was added to `part` since. Raises OperationRefusedError where that was less than
    nothing: sums that were lost prove nothing."""
    found = {}
    for cell in {**whole, **part}:
        now, then = whole.get(cell, NOTHING), part.get(cell, NOTHING)
        if now.rows < then.rows or now.size < then.size:
            raise OperationRefusedError(
                f"store {cell.store}, task {cell.target} of the new layout: {now.rows:,} records"
                f" are noted as fed, and {then.rows:,} were before",
                hint="the positions of the feed's group were lost or reset: compare the two layouts"
                " as a whole again",
            )
        if now != then:
            found[cell] = now - then
    return found


class Difference(NamedTuple):
    """A cell of which not the same was read as was fed."""

    cell: Cell
    fed: Totals
    read: Totals

    def __str__(self) -> str:
        return (
            f"store {self.cell.store}, task {self.cell.target}: fed {self.fed.rows:,} records of"
            f" {self.fed.size:,} bytes, sum {self.fed.sum}; read {self.read.rows:,} of"
            f" {self.read.size:,}, sum {self.read.sum}"
        )


def differing(fed: Sums, read: Sums) -> list[Difference]:
    """Where two sums are not alike; nothing for a proof that holds."""
    return [
        Difference(cell, one, other)
        for cell in sorted({**fed, **read})
        if (one := fed.get(cell, NOTHING)) != (other := read.get(cell, NOTHING))
    ]
