"""Where a changelog does not reach back to its begin: rows of a snapshot first, then the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamer.errors import ChangelogTrimmedError, OperationRefusedError, StateOutdatedError
from streamer.feed.feed import Feed
from streamer.feed.proof import prove, states
from streamer.feed.sums import FeedState
from streamer.ids import TopicPartition
from streamer.operations.repartition.feeding import unfed
from streamer.operations.repartition.proofs import noted
from streamer.store.reading import Block
from tests.unit.feed.rig import KEYS, World, filled

BLOCK = 3


class Rows:
    """A `Seed`: what the changelogs of a task come to, up to now."""

    def __init__(self, world: World, task: int, *, as_of_ms: int = 0) -> None:
        self.as_of_ms = as_of_ms
        self.positions: dict[str, int] = {}
        self.rows: dict[str, dict[bytes, bytes]] = {}
        self.closed = 0
        for store in world.plan.stores:
            place = TopicPartition(store.source, task)
            self.positions[store.name] = world.broker.bounds(place)[1]
            rows = self.rows[store.name] = {}
            for record in world.broker.partition_records(place):
                assert record.key is not None
                rows.pop(record.key, None)
                if record.value is not None:
                    rows[record.key] = record.value

    def blocks(self, store: str) -> Iterator[Block]:
        keys = sorted(self.rows[store])
        for at in range(0, len(keys), BLOCK):
            some = keys[at : at + BLOCK]
            yield Block(some, [self.rows[store][key] for key in some])

    def close(self) -> None:
        self.closed += 1


def trimmed(world: World) -> dict[int, Rows]:
    """Each old task's snapshot; the changelogs before it are gone, and others go on."""
    seeds = {task: Rows(world, task) for task in range(world.plan.source.tasks)}
    for task, seed in seeds.items():
        for store in world.plan.stores:
            place = TopicPartition(store.source, task)
            world.broker.delete_before(place, seed.positions[store.name])
    return seeds


def later(world: World) -> None:
    for number, key in enumerate(KEYS):
        for store in world.plan.stores:
            world.write(store.name, key, b"later" if number % 2 else None, at_ms=number)


def state(world: World) -> dict[str, dict[bytes, bytes]]:
    """What the new changelogs come to."""
    found: dict[str, dict[bytes, bytes]] = {}
    for store in world.plan.stores:
        rows = found[store.name] = {}
        for record in world.broker.records(store.target):
            assert record.key is not None
            rows.pop(record.key, None)
            if record.value is not None:
                rows[record.key] = record.value
    return found


def expected(world: World) -> dict[str, dict[bytes, bytes]]:
    """The same of whole changelogs."""
    rows = [Rows(world, task).rows for task in range(world.plan.source.tasks)]
    return {
        store.name: {key: row for each in rows for key, row in each[store.name].items()}
        for store in world.plan.stores
    }


@pytest.fixture
def whole() -> World:
    world = filled(World())
    later(world)
    return world


def begun(world: World, seeds: dict[int, Rows], task: int) -> Feed:
    return world.feed(task, starts=None, seed=seeds[task])


def test_all_of_the_state_is_there_and_proven(whole: World) -> None:
    world = filled(World())
    seeds = trimmed(world)
    later(world)
    for task in seeds:
        with begun(world, seeds, task) as feed:
            while not feed.caught_up():
                feed.step()
    assert state(world) == expected(whole)
    cut = noted(world.plan, world.ports)
    assert prove(world.plan, world.ports, cut, timeout_s=60) == []
    assert all(seed.closed for seed in seeds.values())


def test_wherever_it_is_killed_no_row_is_missing_or_there_twice() -> None:
    world = filled(World())
    seeds = trimmed(world)
    count = sum(len(rows) for seed in seeds.values() for rows in seed.rows.values())
    for task in seeds:
        for _ in range(100):
            feed = begun(world, seeds, task)
            feed.step()
            if feed.caught_up():
                break
            # As a kill: nothing is said to anybody, the next one takes its id over.
        feed.close()
    records = [one for store in world.plan.stores for one in world.broker.records(store.target)]
    assert len(records) == count
    assert state(world) == expected_of(seeds)


def expected_of(seeds: dict[int, Rows]) -> dict[str, dict[bytes, bytes]]:
    found: dict[str, dict[bytes, bytes]] = {}
    for seed in seeds.values():
        for store, rows in seed.rows.items():
            found.setdefault(store, {}).update(rows)
    return found


def test_while_rows_come_nobody_takes_it_for_being_near_the_end() -> None:
    world = filled(World())
    seeds = trimmed(world)
    with begun(world, seeds, 0) as feed:
        feed.step()
        assert feed.progress.lag == -1
        assert not feed.caught_up()
        assert feed.progress.records == BLOCK
        found = states(world.plan, world.ports)[0]
        assert found.seeding
        assert FeedState.decode(world.plan, 0, found.entries(world.plan, 0)) == found
        assert unfed(world.plan, world.ports) is None


def test_one_that_has_begun_so_does_not_go_on_without_it() -> None:
    world = filled(World())
    seeds = trimmed(world)
    with begun(world, seeds, 0) as feed:
        feed.step()
    with pytest.raises(OperationRefusedError, match="has begun with a snapshot"):
        world.feed(0).step()


def test_without_a_snapshot_a_trimmed_changelog_is_refused() -> None:
    world = filled(World())
    trimmed(world)
    with pytest.raises(ChangelogTrimmedError, match="is to go on at 0"):
        world.feed(0).step()


def test_one_that_is_too_old_is_refused_before_a_row_is_written() -> None:
    world = filled(World())
    world.clock.advance(world.ports.delete_retention_ms + 1)
    seeds = {0: Rows(world, 0, as_of_ms=0)}
    with pytest.raises(StateOutdatedError, match="too old to go on"):
        begun(world, seeds, 0).step()
    assert world.broker.records(world.plan.stores[0].target) == []
