"""The proof of the tail: what was fed since a cut is what the new changelogs hold behind it.

A cut is a moment at which every feed stands still: what it had fed by then, and where the new
changelogs ended. It is taken before or after any comparison of whole states, and kept by whoever
compares. The first cut is the begin: nothing fed, and the new changelogs as they were made.

What is read is counted record by record, so the new changelogs must not be compacted behind a cut:
`WHILE_FED` are the settings that see to it.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import msgspec
from msgspec import Meta

from streamer.errors import (
    ChangelogTrimmedError,
    InternalTopicError,
    OperationRefusedError,
    StoppedError,
    UnfinishedError,
)
from streamer.feed.opening import check_topics
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import Ports
from streamer.feed.routes import Route, routes
from streamer.feed.sums import (
    Cell,
    Difference,
    FeedState,
    Sums,
    added,
    differing,
    places,
    subtracted,
    sums_of,
)
from streamer.ids import TopicPartition
from streamer.kafka.api import InputReader
from streamer.record import RawBatch
from streamer.split.move import Text
from streamer.split.totals import Totals
from streamer.topology.stores import StoreSpec

__all__ = ["WHILE_FED", "FeedCut", "prove", "read_back", "states", "take_cut"]

_WEEK_MS = str(7 * 86_400_000)
WHILE_FED: Mapping[str, str] = {
    # Kafka refuses a greatest lag below the least.
    "min.compaction.lag.ms": _WEEK_MS,
    "max.compaction.lag.ms": _WEEK_MS,
}
"""Settings of the new changelogs, under those of any other, until the operation is complete. After
a week a cut is too old to be proven from, and a newer one is needed."""

_FETCH_RECORDS, _FETCH_MS = 10_000, 50
_LOOK_S = 0.1
_ASKED_AT_ONCE = 8
# 2: sums are of XXH3.
_CUT_VERSION = 2
Offset = Annotated[int, Meta(ge=0)]


class _Fed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    store: Text
    target: Annotated[int, Meta(ge=0, le=10**6)]
    totals: Totals


class FeedCut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`fed` is the sum of all feeds, `ends` are by store, one for each new task."""

    version: int
    plan: Text
    fed: tuple[_Fed, ...]
    ends: dict[Text, tuple[Offset, ...]]

    @classmethod
    def of(cls, plan: FeedPlan, sums: Sums, ends: Mapping[TopicPartition, int]) -> FeedCut:
        return cls(
            version=_CUT_VERSION,
            plan=plan.id,
            fed=tuple(_Fed(*cell, one) for cell, one in sorted(sums.items())),
            ends={
                store.name: tuple(
                    ends[TopicPartition(store.target, target)]
                    for target in range(plan.target.tasks)
                )
                for store in plan.stores
            },
        )

    @property
    def sums(self) -> dict[Cell, Totals]:
        return {Cell(one.store, one.target): one.totals for one in self.fed}

    def positions(self, plan: FeedPlan) -> dict[TopicPartition, int]:
        """Raises OperationRefusedError for a cut of another plan."""
        if self.plan != plan.id:
            raise OperationRefusedError(
                f"the cut is of the plan {self.plan}, not of {plan.id} of operation"
                f" {plan.operation}",
                hint="compare the two layouts as a whole, and take a cut of this operation",
            )
        return {
            TopicPartition(store.target, target): at
            for store in plan.stores
            for target, at in enumerate(self.ends[store.name])
        }

    def encode(self) -> bytes:
        return msgspec.json.encode(self, order="deterministic")

    @classmethod
    def decode(cls, raw: bytes, where: str) -> FeedCut:
        """Raises InternalTopicError for what cannot be read, naming `where` it was found."""
        try:
            found = _decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InternalTopicError(f"{where}: a cut cannot be read: {error}") from error
        if found.version != _CUT_VERSION:
            raise InternalTopicError(
                f"{where}: a cut has version {found.version}, this version of Streamer reads"
                f" {_CUT_VERSION}",
                hint="go on with the version that took it",
            )
        return found


# Made here, once: msgspec crashes where several threads meet a type for the first time.
_decoder = msgspec.json.Decoder(FeedCut)


def states(plan: FeedPlan, ports: Ports, *, is_stable: bool = True) -> dict[int, FeedState]:
    """Of every feed, as committed; one that has not begun has no positions. Each is a question to
    the brokers, of which some are asked at once: it may be inside a pause. Where it need not be
    `is_stable`, a transaction that a dead feed left open is not waited for."""
    ask = ports.committed if is_stable else ports.known

    def state(task: int) -> FeedState:
        committed = ask(plan.name(task), places(plan, task))
        return FeedState.decode(plan, task, committed)

    tasks = range(plan.source.tasks)
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        return dict(zip(tasks, pool.map(state, tasks), strict=True))


def take_cut(plan: FeedPlan, ports: Ports, *, timeout_s: float) -> FeedCut:
    """Note where all feeds stand, which are to be stopped or idle meanwhile. Raises UnfinishedError
    where they go on writing, and as `check_topics` does."""
    check_topics(plan, ports)
    targets = _targets(plan)
    deadline = time.monotonic() + timeout_s
    before = states(plan, ports)
    while True:
        ends = dict(ports.ends(targets))
        stable = dict(ports.stable_ends(targets))
        after = states(plan, ports)
        # What was committed by now is in both, and nothing is on its way into a new changelog.
        if before == after and stable == ends:
            return FeedCut.of(plan, added(*(one.sums for one in after.values())), ends)
        if time.monotonic() >= deadline:
            raise UnfinishedError(
                f"the feeds of operation {plan.operation} did not stand still in {timeout_s:g} s",
                hint="stop them, take the cut, and let them go on",
            )
        before = after
        if ports.stopping.wait(_LOOK_S):
            raise StoppedError("asked to stop while waiting for feeds to stand still")


def prove(
    plan: FeedPlan,
    ports: Ports,
    cut: FeedCut,
    *,
    to: FeedCut | None = None,
    specs: Iterable[StoreSpec] = (),
    timeout_s: float,
) -> list[Difference]:
    """Compare what was fed since the cut with what the new changelogs hold; no difference where it
    is the same. Feeds are to stand still, unless a later cut is given, up `to` which it is done.
    Raises as `take_cut` and `read_back` do."""
    begun = time.monotonic()
    begins = cut.positions(plan)
    now = take_cut(plan, ports, timeout_s=timeout_s) if to is None else to
    left_s = max(timeout_s - (time.monotonic() - begun), 1.0)
    fed = subtracted(now.sums, cut.sums)
    ends = now.positions(plan)
    read = read_back(plan, ports, begins=begins, ends=ends, specs=specs, timeout_s=left_s)
    return differing(fed, read)


def read_back(
    plan: FeedPlan,
    ports: Ports,
    *,
    begins: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    specs: Iterable[StoreSpec] = (),
    timeout_s: float,
) -> dict[Cell, Totals]:
    """Totals of the committed records of the new changelogs between these positions, in the way in
    which feeds count them.

    Raises ProcessingError for one that is not at home there, ChangelogTrimmedError where the begin
    is gone, and UnfinishedError where the end is not reached in time.
    """
    starts = ports.starts(begins)
    for place, at in begins.items():
        if starts[place] > at:
            raise ChangelogTrimmedError(
                f"changelog {place} is to be read from {at}, and begins at {starts[place]}",
                hint="somebody has trimmed it: compare the two layouts as a whole, and take a cut"
                " behind that",
            )
    found: dict[Cell, Totals] = {}
    known = routes(plan, specs, is_back=True)
    reading = _Reading(dict(begins), ends)
    reader = ports.reader(f"{plan.application}.feed.{plan.operation}.proof")
    deadline = time.monotonic() + timeout_s
    try:
        reader.add(reading.left)
        while reading.left:
            if ports.stopping.is_set():
                raise StoppedError("asked to stop while reading new changelogs")
            if time.monotonic() > deadline:
                raise UnfinishedError(
                    f"the new changelogs were not read to their ends in {timeout_s:g} s: "
                    + reading.shown,
                    hint="a transaction that is still open there holds readers back; a feed that"
                    " begins ends that of its predecessor",
                )
            for batch in reading.fetch(reader):
                found = added(found, _counted(plan, known[batch.topic], batch))
    finally:
        reader.close()
    return found


def _counted(plan: FeedPlan, route: Route, batch: RawBatch) -> dict[Cell, Totals]:
    here, _there = route.homes(batch)
    return sums_of(plan, batch, here)


class _Reading:
    """How far each partition has been read, up to its end."""

    def __init__(
        self, positions: dict[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> None:
        self._at = positions
        self._ends = ends

    @property
    def left(self) -> dict[TopicPartition, int]:
        return {place: at for place, at in self._at.items() if at < self._ends[place]}

    @property
    def shown(self) -> str:
        return ", ".join(f"{one} at {at} of {self._ends[one]}" for one, at in self.left.items())

    def fetch(self, reader: InputReader) -> list[RawBatch]:
        """What lies before the ends."""
        fetched = reader.fetch(_FETCH_RECORDS, _FETCH_MS)
        for error in fetched.failures.values():
            raise error
        batches = []
        for batch in fetched.batches:
            before = bisect_left(batch.offsets, self._ends[batch.place])
            if before:
                batches.append(batch.part(0, before))
            self._at[batch.place] = batch.position
        for place, end in fetched.ends.items():
            self._at[place] = max(end, self._at[place])
        return batches


def _targets(plan: FeedPlan) -> list[TopicPartition]:
    return [
        TopicPartition(store.target, target)
        for store in plan.stores
        for target in range(plan.target.tasks)
    ]
