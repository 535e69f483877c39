"""What differs between the live state and the one that was computed once more, while both go on.

Both are read back from their changelogs into a temporary file (`TMPDIR`), which takes about what
both states do. The live one is read twice, and the other one in between, once it has come to where
the live one was at the end of its first reading; it never is ahead of it. So what the live one has
not written between its two readings is compared as of the same position of the input. What it has
is the same where the other one has a row that it had in between; else it may be on its way, and is
counted apart.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from streamer.control.layouts import LayoutRecord
from streamer.errors import UnfinishedError
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import Ports
from streamer.ids import TopicPartition, changelog_topic
from streamer.operations.repartition.own_topics import own_places
from streamer.operations.repartition.request import Asked
from streamer.record import RawBatch

__all__ = ["Differences", "Sample", "Value", "compare"]

Value = Callable[[str, bytes], Any]

_FETCH_RECORDS, _FETCH_MS = 10_000, 50
_SHOWN = 5
_LOOK_S = 0.5
_SCHEMA = (
    "CREATE TABLE rows (key BLOB, task INT, live BLOB, again BLOB, moves INT DEFAULT 0,"
    " PRIMARY KEY (key, task)) WITHOUT ROWID",
    "CREATE TABLE meanwhile (key BLOB, task INT, live BLOB, PRIMARY KEY (key, task, live))"
    " WITHOUT ROWID",
)
# What a key had before it was written once more; an empty one where it had no row.
_KEEP = (
    "INSERT OR IGNORE INTO meanwhile SELECT key, task, ifnull(live, x'') FROM rows"
    " WHERE key = ? AND task = ?"
)
_WAS_LIVE = (
    "EXISTS (SELECT 1 FROM meanwhile AS one WHERE one.key = rows.key AND one.task = rows.task"
    " AND one.live = ifnull(again, x''))"
)
_PUT = (
    "INSERT INTO rows (key, task, {side}, moves) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (key, task) DO UPDATE SET {side} = excluded.{side},"
    " moves = max(moves, excluded.moves)"
)


class Sample(NamedTuple):
    """A key and its rows, as they are stored; None for no row."""

    key: bytes
    live: bytes | None
    again: bytes | None


@dataclass(frozen=True, slots=True)
class Differences:
    """Of one store, in rows; `unknown` says why it was not compared. `samples` are a few of each
    kind; `sums` are those of numbers in all values, live and again, by the fields that have some
    ("" for a value that is one)."""

    store: str
    same: int
    added: int
    changed: int
    gone: int
    moving: int
    samples: Mapping[str, Sequence[Sample]]
    sums: Mapping[str, tuple[float, float]]
    unknown: str = ""

    @property
    def is_equal(self) -> bool:
        return not (self.added or self.changed or self.gone or self.unknown)


def compare(
    ports: Ports,
    asked: Asked,
    *,
    wait: Callable[[float], object] = time.sleep,
    timeout_s: float,
    value: Value | None = None,
) -> Iterator[Differences]:
    """Store after store. `value` gives what a row of a store holds: without it nothing is summed
    up. Raises UnfinishedError where it takes longer, and what reading and `value` raise."""
    pace = _Pace(ports, wait, time.monotonic() + timeout_s)
    for plan in asked.feeds:
        # Where a row is by its task's number, too: user code may have a key in each of them.
        tells = asked.before.layout.task_count(plan.subtopology) == plan.source.tasks
        for store in plan.stores:
            again = [TopicPartition(store.source, task) for task in range(plan.source.tasks)]
            places = _live(asked, plan, store.name)
            if trimmed := [place for place, start in ports.starts(places).items() if start > 0]:
                yield _not_compared(
                    store.name, f"{min(trimmed)} was trimmed: older rows are in snapshots alone"
                )
                continue
            with _scratch() as table:
                live = _Side(ports, places, "live", tells=tells)
                live.read(table, pace)
                pace.follows(asked)
                _Side(ports, again, "again", tells=tells).read(table, pace)
                pace.works_off(asked.before)
                live.read(table, pace, moves=True)
                yield _counted(store.name, table, value)


def _not_compared(store: str, why: str) -> Differences:
    return Differences(store, 0, 0, 0, 0, 0, samples={}, sums={}, unknown=why)


def _live(asked: Asked, plan: FeedPlan, store: str) -> list[TopicPartition]:
    layout = asked.before.layout
    topic = changelog_topic(asked.application, store, layout.since(plan.subtopology))
    return [TopicPartition(topic, task) for task in range(layout.task_count(plan.subtopology))]


class _Pace:
    """Waits until the two applications are where they are to be, up to a deadline."""

    def __init__(self, ports: Ports, wait: Callable[[float], object], deadline: float) -> None:
        self._ports = ports
        self._wait = wait
        self._deadline = deadline

    def follows(self, asked: Asked) -> None:
        """Until who reads again is where the live one is by now."""
        self.works_off(asked.before)
        known = self._ports.known(asked.application, asked.input_places)
        self._reaches(asked.origin, {place: one.position for place, one in known.items()})
        assert asked.source is not None
        self.works_off(asked.source)

    def works_off(self, record: LayoutRecord) -> None:
        """Until an application has read all that it has sent to itself by now."""
        ends = self._ports.ends(own_places(record))
        starts = self._ports.starts(ends)
        self._reaches(record.application, {k: at for k, at in ends.items() if at > starts[k]})

    def check(self, what: str = "") -> None:
        if time.monotonic() > self._deadline:
            raise UnfinishedError(
                "the two states were not compared in time" + (what and f": {what}"),
                hint="give it more: --timeout",
            )

    def _reaches(self, application: str, wanted: Mapping[TopicPartition, int]) -> None:
        while left := self._left(application, wanted):
            self.check(f"{application} is {left:,} offsets behind")
            self._wait(_LOOK_S)

    def _left(self, application: str, wanted: Mapping[TopicPartition, int]) -> int:
        known = self._ports.known(application, list(wanted))
        at = {place: one.position for place, one in known.items()}
        return sum(max(end - at.get(place, 0), 0) for place, end in wanted.items())


class _Side:
    """The changelog of one side, and how far it was read."""

    def __init__(
        self, ports: Ports, places: Sequence[TopicPartition], side: str, *, tells: bool
    ) -> None:
        self._ports = ports
        self._at = dict(ports.starts(places))
        self._put = _PUT.format(side=side)
        self._tells = tells

    def read(self, table: sqlite3.Connection, pace: _Pace, *, moves: bool = False) -> None:
        """All that is committed by now; `moves` notes of what is read that it was written late."""
        ends = self._ports.stable_ends(self._at)
        left = {place: at for place, at in self._at.items() if at < ends[place]}
        reader = self._ports.reader("replay.compare")
        try:
            reader.add(left)
            while left:
                pace.check()
                fetched = reader.fetch(_FETCH_RECORDS, _FETCH_MS)
                for error in fetched.failures.values():
                    raise error
                for batch in fetched.batches:
                    self._write(table, batch, moves=moves)
                    self._at[batch.place] = batch.position
                for place, end in fetched.ends.items():
                    self._at[place] = max(end, self._at[place])
                left = {place: at for place, at in self._at.items() if at < ends[place]}
        finally:
            reader.close()

    def _write(self, table: sqlite3.Connection, batch: RawBatch, *, moves: bool) -> None:
        task = batch.place.partition if self._tells else 0
        for key, value in zip(batch.keys, batch.values, strict=True):
            if moves:
                table.execute(_KEEP, (key, task))
            table.execute(self._put, (key, task, value, moves))


@contextmanager
def _scratch() -> Iterator[sqlite3.Connection]:
    with (
        tempfile.TemporaryDirectory(prefix="streamer-compare-") as directory,
        closing(sqlite3.connect(Path(directory) / "rows")) as table,
    ):
        # Nothing of it is needed once this is over.
        table.execute("PRAGMA journal_mode = OFF")
        table.execute("PRAGMA synchronous = OFF")
        for each in _SCHEMA:
            table.execute(each)
        yield table


_KINDS = {
    "added": "live IS NULL AND again IS NOT NULL",
    "changed": "live IS NOT NULL AND again IS NOT NULL AND live <> again",
    "gone": "live IS NOT NULL AND again IS NULL",
}


def _counted(store: str, table: sqlite3.Connection, value: Value | None) -> Differences:
    def count(where: str) -> int:
        found: int = table.execute(f"SELECT count(*) FROM rows WHERE {where}").fetchone()[0]
        return found

    of = {kind: count(f"{where} AND NOT moves") for kind, where in _KINDS.items()}
    return Differences(
        store=store,
        added=of["added"],
        changed=of["changed"],
        gone=of["gone"],
        same=count(f"again IS NOT NULL AND (live = again OR {_WAS_LIVE})"),
        moving=count(f"live IS NOT again AND moves AND NOT {_WAS_LIVE}"),
        samples={
            kind: [
                Sample(*row)
                for row in table.execute(
                    f"SELECT key, live, again FROM rows WHERE {where} AND NOT moves"
                    f" ORDER BY key LIMIT {_SHOWN}"
                )
            ]
            for kind, where in _KINDS.items()
        },
        sums={} if value is None else _sums(store, table, value),
    )


def _sums(store: str, table: sqlite3.Connection, value: Value) -> dict[str, tuple[float, float]]:
    live, again = defaultdict[str, float](float), defaultdict[str, float](float)
    for row, other in table.execute("SELECT live, again FROM rows"):
        for sums, stored in ((live, row), (again, other)):
            if stored is not None:
                for field, number in _numbers(value(store, stored)):
                    sums[field] += number
    return {field: (live[field], again[field]) for field in sorted(live.keys() | again.keys())}


def _numbers(value: object) -> Iterator[tuple[str, float]]:
    fields = value.items() if isinstance(value, Mapping) else [("", value)]
    for field, each in fields:
        if isinstance(each, int | float) and not isinstance(each, bool):
            yield str(field), each
