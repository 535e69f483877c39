"""What a new task knows beside its rows: the rules by which it comes from its parents.

`parents` are the tasks that may have had keys of the new one, with rows or without: one whose rows
have all expired has still closed windows of those keys. docs/decisions/0030 has the reasons.

    stream_time, time/<store>   the latest of the parents: what was late or closed stays so
    as_of                       the earliest: the oldest part bounds the age of the whole
    changelog/<store>           as the move says: the new changelog begins with what comes next
    closing/<store>             the earliest place of a parent that something is left behind of
    passed/<store>/<parent>     and what of that parent's rows was passed on, while any is left
    topic/, input/              none: they are of the old topics and of the old task
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

from streamer.changelog.format import Positions
from streamer.errors import OperationRefusedError, StateDirectoryError
from streamer.layout import KnownPartitioner
from streamer.split.homes import Homes
from streamer.split.keyed import order_family
from streamer.split.move import closed_before
from streamer.store.closing import Closing, Passed
from streamer.store.reading import StoredDatabase
from streamer.store.schema import CHANGELOG_POSITION, family_name
from streamer.topology.declared import named
from streamer.topology.stores import StoreKind

__all__ = [
    "NONE_LEFT",
    "PASSED_PREFIX",
    "Carried",
    "Parent",
    "carry",
    "check_known",
    "first_left",
    "passed_known",
    "passed_metadata",
    "passed_of",
    "passed_rows",
]

PASSED_PREFIX = "passed/"
# The homes of the parents: tasks, partitions, partitioner.
PARENT_HOMES = "passed_homes"
# Above every key of a row.
NONE_LEFT = b"\xff" * 9
_TIME_BYTES = 8
_KNOWN = (CHANGELOG_POSITION, "topic/", "input/", "time/", "closing/", "closing_rows/")
_KNOWN_NAMES = frozenset({"stream_time", "as_of", PARENT_HOMES})


@dataclass(frozen=True, slots=True)
class Parent:
    """One task of the layout that was split: what it knew, and which of its stores have rows.

    `passed` has, by store with final results, the first row that was not passed on, by the key that
    orders them: a window's start and key, a session's entry in the index.
    """

    task: int
    positions: Positions
    filled: Collection[str]
    passed: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Carried:
    """`positions` are those of the new task. `passed` is by store and parent, for the stores of
    which something closed in some parent's time and not in another's own."""

    positions: Positions
    passed: Mapping[str, Mapping[int, bytes]] = field(default_factory=dict)

    def encode(self, source: Homes) -> dict[str, bytes]:
        """As metadata of a database; `source` are the homes of the parents."""
        encoded = self.positions.encode()
        if self.passed:
            text = f"{source.tasks} {source.partitions} {source.name}"
            encoded[PARENT_HOMES] = b"\1" + text.encode()
        for store, parents in self.passed.items():
            for parent, place in parents.items():
                encoded[f"{PASSED_PREFIX}{store}/{parent}"] = b"\1" + place
        return encoded


def check_known(metadata: Mapping[str, bytes], source: Path) -> None:
    """Raise for metadata without a rule: it would be lost, or mean another thing in a new task."""
    closings = Positions.decode(metadata).closings
    for name in sorted(metadata):
        if name.startswith(PASSED_PREFIX):
            if not _is_left(name, metadata[name], closings):
                continue
            raise OperationRefusedError(
                f"the state in {source} has final results to pass on since it was split itself",
                hint="try again when they are: with the next commits of its task, once it runs",
            )
        if not name.startswith(_KNOWN) and name not in _KNOWN_NAMES:
            raise StateDirectoryError(
                f"the state in {source} has metadata {name}, which no rule says how to carry over",
                hint="split it with the version of Streamer that wrote it",
            )


def passed_metadata(passed: Mapping[str, Passed], lags: Mapping[str, int]) -> dict[str, bytes]:
    """What parents had passed on, by store, as metadata of a database: of one layout, so all are
    among as many tasks. `lags` as in `carry`."""
    encoded = {}
    for store, one in passed.items():
        encoded[PARENT_HOMES] = b"\1" + f"{one.tasks} {one.tasks} {one.partitioner}".encode()
        for parent, before_ms in one.before_ms(lags[store]).items():
            place = before_ms.to_bytes(_TIME_BYTES, "big")
            encoded[f"{PASSED_PREFIX}{store}/{parent}"] = b"\1" + place
    return encoded


def passed_known(
    metadata: Mapping[str, bytes],
    lags: Mapping[str, int],
    closings: Mapping[str, Closing | None],
) -> dict[str, Passed]:
    """The opposite, of stores that have some left, as `closings` tells. A database that was merged
    of others knows it row by row, which is no time."""
    tasks, _, rest = metadata.get(PARENT_HOMES, b"\1")[1:].decode().partition(" ")
    partitions, _, partitioner = rest.partition(" ")
    if tasks != partitions or partitioner not in get_args(KnownPartitioner):
        return {}
    times: dict[str, dict[int, int]] = {}
    for name, place in metadata.items():
        store, _, parent = name.removeprefix(PASSED_PREFIX).rpartition("/")
        if name.startswith(PASSED_PREFIX) and store in lags and _is_left(name, place, closings):
            before_ms = int.from_bytes(place[1 : 1 + _TIME_BYTES], "big")
            times.setdefault(store, {})[int(parent)] = before_ms + lags[store]
    known = cast(KnownPartitioner, partitioner)
    return {store: Passed(int(tasks), known, by_parent) for store, by_parent in times.items()}


def passed_rows(
    metadata: Mapping[str, bytes],
    kinds: Mapping[str, StoreKind],
    closings: Mapping[str, Closing | None],
) -> dict[str, Callable[[bytes], bool]]:
    """By store, whether a row that has closed was passed on by the parent that it came from, by the
    key that orders it. Only of stores that have some left, as `closings` tells. Raises
    TopologyError where the parents' partitioner cannot be found."""
    places: dict[str, dict[int, bytes]] = {}
    for name, place in metadata.items():
        if name.startswith(PASSED_PREFIX) and _is_left(name, place, closings):
            store, _, parent = name.removeprefix(PASSED_PREFIX).rpartition("/")
            # One that the topology does not have any more passes nothing on.
            if store in kinds:
                places.setdefault(store, {})[int(parent)] = place[1:]
    if not places:
        return {}
    tasks, partitions, partitioner = metadata[PARENT_HOMES][1:].decode().split(" ", 2)
    home = Homes(int(tasks), int(partitions), named(partitioner)).home
    return {
        store: _was_passed(home, by_parent, kinds[store]) for store, by_parent in places.items()
    }


def _was_passed(
    home: Callable[[bytes], int], places: Mapping[int, bytes], kind: StoreKind
) -> Callable[[bytes], bool]:
    key = slice(_TIME_BYTES, -16 if kind is StoreKind.SESSION else None)
    last = max(places.values())
    return lambda order: order < last and order < places.get(home(order[key]), b"")


def _is_left(name: str, place: bytes, closings: Mapping[str, Closing | None]) -> bool:
    """Whether a place still says something: not once all rows below it have been gone through."""
    at = closings.get(name.removeprefix(PASSED_PREFIX).rpartition("/")[0])
    return at is not None and at.time_ms.to_bytes(_TIME_BYTES, "big") < place[1:]


def passed_of(
    database: StoredDatabase,
    positions: Positions,
    *,
    lags: Mapping[str, int],
    filled: Collection[str],
) -> dict[str, bytes]:
    """By store with final results, the first of its rows that was not passed on, in their order.

    `filled` are the families that have rows. Raises OperationRefusedError for a store that has
    some left to pass on, and by the topology passes on none.
    """
    for store, left in positions.closings.items():
        if left is not None and store not in lags:
            raise OperationRefusedError(
                f"store {store} in {database.directory} has final results to pass on, and by the"
                " topology it passes on none",
                hint="split it by the topology that runs, after a commit with nothing left",
            )
    kinds = database.kinds
    found = {}
    for store, lag_ms in lags.items():
        if store in kinds and family_name(store) in filled:
            time_ms = _time_of(store, positions, is_filled=True)
            place = positions.closings.get(store) or Closing(closed_before(time_ms, lag_ms), 0)
            start = place.time_ms.to_bytes(_TIME_BYTES, "big")
            blocks = database.blocks(order_family(store, kinds[store][0]), start)
            found[store] = first_left((key for block in blocks for key in block.keys), place)
    return found


def first_left(keys: Iterable[bytes], at: Closing) -> bytes:
    """The key of the first row that was not passed on; `NONE_LEFT` where all were. `keys` are those
    that order the rows (`order_family`), from the time of the place on."""
    start = at.time_ms.to_bytes(_TIME_BYTES, "big")
    over = at.rows
    for key in keys:
        if not over or key[:_TIME_BYTES] != start:
            return key
        over -= 1
    return NONE_LEFT


def carry(
    parents: Sequence[Parent],
    kinds: Mapping[str, StoreKind],
    lags: Mapping[str, int],
    *,
    position: int = 0,
) -> Carried:
    """The metadata of a new task. `kinds` are those of its stores, `position` is where it stands in
    its changelogs."""
    times = {
        store: max(_time_of(store, one.positions, is_filled=store in one.filled) for one in parents)
        for store, kind in kinds.items()
        if kind is not StoreKind.KEY_VALUE
    }
    passed = {}
    closings: dict[str, Closing | None] = {}
    for store, lag_ms in lags.items():
        if store not in times:
            continue
        bound = closed_before(times[store], lag_ms).to_bytes(_TIME_BYTES, "big")
        left = {one.task: one.passed[store] for one in parents if store in one.passed}
        first = min(left.values(), default=bound)
        if first >= bound:
            closings[store] = None
            continue
        closings[store] = Closing(int.from_bytes(first[:_TIME_BYTES], "big"), 0)
        # Beyond the bound nothing was passed on by anybody: what is there will be, as ever.
        passed[store] = {task: min(place, bound) for task, place in left.items()}
    return Carried(
        Positions(
            changelogs=dict.fromkeys(kinds, position),
            stream_time_ms=max(one.positions.stream_time_ms for one in parents),
            as_of_ms=_as_of(parents),
            times=times,
            closings=closings,
        ),
        passed,
    )


def _time_of(store: str, positions: Positions, *, is_filled: bool) -> int:
    """As a restart would find it: an earlier version kept only the task's."""
    return positions.times.get(store, positions.stream_time_ms if is_filled else -1)


def _as_of(parents: Sequence[Parent]) -> int:
    told = [one.positions.as_of_ms for one in parents if one.filled]
    if not told:
        told = [one.positions.as_of_ms for one in parents if one.positions.as_of_ms >= 0]
    # One with rows that does not tell its age makes that of the whole unknown.
    return min(told, default=-1)
