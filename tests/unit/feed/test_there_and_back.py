"""M -> N -> M: the state of an application that has moved is that of one that never has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.kafka.fake import FakeBroker
from streamer.split.fingerprint import Ledger
from streamer.split.totals import Totals
from streamer.topology.stores import Store
from tests.hurry import examples
from tests.unit.feed.rig import SPECS, World, plan

# A store of `process`, whose rows have a letter before the record's key.
NAMED = Store("named", bytes, bytes, partition_key=lambda key: key[1:]).spec(key=SPECS[0].key)
ALL = (*SPECS, NAMED)
SALT = b"there and back.."
# One key has most of the rows, and some tasks have none.
KEYS = [b"hot"] * 4 + [b"key-%d" % number for number in range(6)]


class Change(NamedTuple):
    """A row of a key, or its removal."""

    store: str
    key: bytes
    value: bytes | None
    at_ms: int


def written(world: World, changes: Sequence[Change]) -> None:
    for one in changes:
        if one.store == NAMED.name:
            world.write(one.store, one.key, one.value, stored=b"%c" % (97 + one.at_ms) + one.key)
        else:
            world.write(one.store, one.key, one.value, at_ms=one.at_ms)


def fingerprints(world: World, *, is_new: bool) -> dict[str, dict[int, Totals]]:
    """By store and task, what a restore would find there."""
    side = world.plan.target if is_new else world.plan.source
    found = {}
    for store in world.plan.stores:
        ledger = Ledger(side.tasks, SALT)
        newest: dict[tuple[int, bytes], bytes | None] = {}
        for record in world.broker.records(store.target if is_new else store.source):
            newest[record.partition, record.key or b""] = record.value
        rows = [(task, key, row) for (task, key), row in newest.items() if row is not None]
        if rows:
            tasks, keys, values = zip(*rows, strict=True)
            ledger.add(np.asarray(tasks, np.int64), keys, values)
        found[store.name] = ledger.totals()
    return found


change = st.builds(
    Change,
    store=st.sampled_from([spec.name for spec in ALL]),
    key=st.sampled_from(KEYS),
    value=st.none() | st.binary(max_size=3),
    at_ms=st.integers(0, 3),
)
changes = st.lists(change, max_size=25)


class Path(NamedTuple):
    """Where a state goes, and what is written under each layout: before its feeds begin, and
    while they are at work."""

    tasks: list[int]
    before: list[list[Change]]
    meanwhile: list[list[Change]]


paths = st.integers(2, 4).flatmap(
    lambda layouts: st.builds(
        Path,
        st.lists(st.sampled_from((1, 2, 3, 4, 6, 12)), min_size=layouts, max_size=layouts),
        st.lists(changes, min_size=layouts, max_size=layouts),
        st.lists(changes, min_size=layouts, max_size=layouts),
    )
)


def moved(path: Path, tasks: Sequence[int]) -> World:
    """The last of the layouts, with all that was written in its changelogs."""
    broker: FakeBroker | None = None
    steps = zip(tasks, tasks[1:], path.before, path.meanwhile, strict=False)
    for number, (here, there, before, meanwhile) in enumerate(steps, 1):
        world = World(
            plan(here, there, specs=ALL, operation=f"op-{number}", layout=number), ALL, broker
        )
        broker = world.broker
        written(world, before)
        world.feed_all()
        written(world, meanwhile)
        world.feed_all()
    return world


@pytest.mark.slow
@settings(max_examples=examples(60), deadline=None)
@given(paths)
def test_what_has_moved_is_as_what_has_not(path: Path) -> None:
    tasks = [*path.tasks, path.tasks[0]]
    world = moved(path, tasks)
    stays = World(plan(tasks[0], 1, specs=ALL), ALL)
    for before, meanwhile in zip(path.before, path.meanwhile, strict=True):
        written(stays, before)
        written(stays, meanwhile)
    assert fingerprints(world, is_new=True) == fingerprints(stays, is_new=False)


def test_a_row_that_is_not_moved_is_noticed() -> None:
    """The property proves something: one change that stays behind is another fingerprint."""
    path = Path([2, 3], [[Change("plain", b"hot", b"x", 0)], []], [[], []])
    world = moved(path, [2, 3, 2])
    kept = fingerprints(world, is_new=True)
    written(world, [Change("plain", b"key-1", b"more", 0)])
    world.feed_all()
    assert fingerprints(world, is_new=True) != kept
