"""The laws of a placement, over generated clusters with any history."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from streamer.assignment.facts import Copies, Facts, Load, Presence, Site
from streamer.assignment.place import place
from streamer.ids import TaskId
from tests.hurry import examples
from tests.unit.assignment.clusters import READY, TASKS, Shape, clusters, plain, tasks, then, zone

K = TypeVar("K")
V = TypeVar("V")

laws = settings(
    max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
ALIKE = Shape(presences=(Presence.READY,), capacities=(100,), sizes=st.just(0))


def area(site: Site) -> object:
    """The zone as far as the az."""
    return site.zone[:2]


def host(facts: Facts, name: str) -> str:
    return facts.workers[name].host or name


def living(facts: Facts) -> list[str]:
    """Those that count for how many zones and hosts there are: others are given nothing."""
    return [name for name, site in facts.workers.items() if not site.presence.is_asked_away]


def staying(facts: Facts) -> set[str]:
    """Those that may go on with what they have."""
    kinds = (Presence.READY, Presence.HELD)
    return {name for name, site in facts.workers.items() if site.presence in kinds}


def ready(facts: Facts) -> set[str]:
    return {name for name, site in facts.workers.items() if site.presence is Presence.READY}


@laws
@given(clusters())
def test_every_task_has_one_active_if_anybody_may_have_it(facts: Facts) -> None:
    placement = place(facts)
    assert placement.copies.keys() == facts.tasks.keys()
    if ready(facts):
        assert all(copies.active is not None for copies in placement.copies.values())


@laws
@given(clusters())
def test_copies_are_on_different_known_workers(facts: Facts) -> None:
    for copies in place(facts).copies.values():
        assert len(set(copies.workers)) == len(copies.workers)
        assert set(copies.workers) <= facts.workers.keys()


@laws
@given(clusters())
def test_no_zone_and_no_host_has_two_copies_while_enough_live(facts: Facts) -> None:
    wanted = 1 + facts.standby_replicas
    zones = {area(facts.workers[name]) for name in living(facts)}
    hosts = {host(facts, name) for name in living(facts)}
    for copies in place(facts).copies.values():
        areas = Counter(area(facts.workers[name]) for name in copies.workers)
        on_hosts = Counter(host(facts, name) for name in copies.workers)
        if facts.zone_policy == "strict" or len(zones) >= wanted:
            assert max(areas.values(), default=0) <= 1
        if facts.zone_policy == "strict" or len(hosts) >= wanted:
            assert max(on_hosts.values(), default=0) <= 1


@laws
@given(clusters(Shape(presences=(Presence.READY,), policies=("strict",))))
def test_there_are_as_many_copies_as_zones_allow(facts: Facts) -> None:
    zones = len({area(site) for site in facts.workers.values()})
    for task, copies in place(facts).copies.items():
        wanted = 1 + facts.standby_replicas * facts.tasks[task].has_state
        assert len(copies.workers) == min(wanted, zones)


@laws
@given(clusters(Shape(presences=(Presence.READY,), policies=("relaxed",))))
def test_relaxed_there_are_as_many_as_workers_allow(facts: Facts) -> None:
    for task, copies in place(facts).copies.items():
        wanted = 1 + facts.standby_replicas * facts.tasks[task].has_state
        assert len(copies.workers) == min(wanted, len(facts.workers))


@laws
@given(clusters(READY))
def test_copies_are_in_as_many_regions_as_there_are(facts: Facts) -> None:
    regions = {site.zone[0] for site in facts.workers.values()}
    for copies in place(facts).copies.values():
        used = {facts.workers[name].zone[0] for name in copies.workers}
        assert len(used) == min(len(regions), len(copies.workers))


@laws
@given(clusters())
def test_a_task_without_state_has_no_standbys(facts: Facts) -> None:
    for task, copies in place(facts).copies.items():
        assert facts.tasks[task].has_state or not copies.standbys


# Two tasks of one that is gone, both copies at one worker, another of the same zone is idle.
ONE_ZONE = Facts(
    workers={name: Site(zone=zone("eu/a")) for name in ("w0", "w2")},
    tasks=dict.fromkeys((TaskId(0, 0), TaskId(0, 1)), Load(bytes=0, rate=0, has_state=True)),
    standby_replicas=1,
    previous=dict.fromkeys((TaskId(0, 0), TaskId(0, 1)), Copies("w1", ("w0",))),
    warm=dict.fromkeys((TaskId(0, 0), TaskId(0, 1)), frozenset({"w0", "w1"})),
    zone_policy="strict",
)


@laws
@example(ONE_ZONE)
@given(clusters())
def test_a_cold_copy_does_not_take_over_while_a_warm_one_lives(facts: Facts) -> None:
    for task, copies in place(facts).copies.items():
        previous = facts.previous.get(task, Copies(None)).active
        warm = facts.warm.get(task, frozenset()) & ready(facts)
        if facts.tasks[task].has_state and previous not in staying(facts) and warm:
            assert copies.active in warm


@laws
@given(clusters())
def test_who_is_away_is_given_nothing_but_a_place_beside_its_successor(facts: Facts) -> None:
    for task, copies in place(facts).copies.items():
        had = set(facts.previous.get(task, Copies(None)).workers) | facts.warm.get(task, set())
        for name in copies.workers:
            if facts.workers[name].presence is Presence.AWAY:
                assert name in copies.standbys
                assert name in had


@laws
@given(clusters(Shape(zones=("eu/a", "eu/b", "us/a", "eu/a/7", ""))))
def test_whose_zone_nobody_knows_is_given_nothing(facts: Facts) -> None:
    names = Counter(tuple(tag for tag, _ in site.zone) for site in facts.workers.values())
    placement = place(facts)
    for task, copies in placement.copies.items():
        had = set(facts.previous.get(task, Copies(None)).workers) | facts.warm.get(task, set())
        for name in copies.workers:
            if not facts.workers[name].zone and len(names) > 1:
                assert name in had
    if len(names) > 1:
        assert "untagged_workers" in {mode.name for mode in placement.modes}


@laws
@given(clusters())
def test_who_drains_keeps_at_most_the_role_that_nobody_else_is_warm_for(facts: Facts) -> None:
    for task, copies in place(facts).copies.items():
        for name in copies.workers:
            if facts.workers[name].presence is Presence.DRAINING:
                had = set(facts.previous.get(task, Copies(None)).workers)
                assert name == copies.active
                assert name in had | facts.warm.get(task, set())
                assert not facts.warm.get(task, frozenset()) & ready(facts)


@laws
@given(clusters(ALIKE))
def test_actives_are_even_if_nobody_has_just_failed(facts: Facts) -> None:
    assume(all(copies.active in facts.workers for copies in facts.previous.values()))
    counts = Counter(copies.active for copies in place(facts).copies.values())
    sizes = [counts[name] for name in facts.workers]
    assert max(sizes) - min(sizes) <= 1


@laws
@given(st.lists(st.sampled_from([50, 100, 200, 1_000]), min_size=1, max_size=8), st.integers(0, 40))
def test_actives_follow_the_capacities(capacities: list[int], count: int) -> None:
    workers = {f"w{at}": Site(capacity=each) for at, each in enumerate(capacities)}
    counts = Counter(
        copies.active for copies in place(Facts(workers, tasks(count))).copies.values()
    )
    for name, site in workers.items():
        share = count * site.capacity / sum(capacities)
        assert math.floor(share) <= counts[name] <= math.ceil(share)


@laws
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 30), st.integers(1, 2))
def test_copies_are_even_where_zones_are(zones: int, per_zone: int, count: int, more: int) -> None:
    workers = {f"{z}-{n}": Site(zone(f"eu/{z}")) for z in range(zones) for n in range(per_zone)}
    placement = place(Facts(workers, tasks(count), standby_replicas=more))
    counts = Counter(name for copies in placement.copies.values() for name in copies.workers)
    sizes = [counts[name] for name in workers]
    assert max(sizes) - min(sizes) <= 1


@laws
@given(st.integers(1, 9), st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_a_first_placement_spreads_every_subtopology(workers: int, sizes: list[int]) -> None:
    every = {TaskId(sub, part): Load() for sub, size in enumerate(sizes) for part in range(size)}
    names = [f"w{number}" for number in range(workers)]
    placement = place(Facts(plain(names), every))
    for sub in range(len(sizes)):
        counts = Counter(
            copies.active for task, copies in placement.copies.items() if task.subtopology == sub
        )
        assert max(counts[name] for name in names) - min(counts[name] for name in names) <= 1


@laws
@given(st.integers(2, 6), st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), min_size=1))
def test_bytes_and_rates_are_even_but_for_two_tasks(
    count: int, sizes: list[tuple[int, int]]
) -> None:
    """Two that are each more than a share may come together: beyond the share their size is not
    counted, so that nobody else looks underfed."""
    every = {TaskId(0, at): Load(bytes=b, rate=r) for at, (b, r) in enumerate(sizes)}
    placement = place(Facts(plain(f"w{at}" for at in range(count)), every))
    for unit in ("bytes", "rate"):
        carried: Counter[str | None] = Counter()
        for task, copies in placement.copies.items():
            carried[copies.active] += getattr(every[task], unit)
        largest = max(getattr(load, unit) for load in every.values())
        assert max(carried.values()) <= 1.1 * sum(carried.values()) / count + 2 * largest


@st.composite
def owned(draw: st.DrawFn) -> Facts:
    """No standbys, no zones, nothing known of sizes; any owners before."""
    workers = [f"w{number}" for number in range(9)]
    names = draw(st.lists(st.sampled_from(workers), min_size=1, unique=True))
    chosen = draw(st.sets(st.sampled_from(TASKS)))
    owners = draw(st.dictionaries(st.sampled_from(TASKS), st.sampled_from(workers)))
    previous = {task: Copies(owner) for task, owner in owners.items()}
    return Facts(plain(names), dict.fromkeys(chosen, Load()), previous=previous)


def fewest_moves(facts: Facts) -> int:
    """By another way than the solver's: try every share of the larger quotas."""
    size, larger = divmod(len(facts.tasks), len(facts.workers))
    held = Counter(
        copies.active
        for task, copies in facts.previous.items()
        if task in facts.tasks and copies.active in facts.workers
    )
    kept = sum(min(held[worker], size) for worker in facts.workers)
    above = sum(held[worker] > size for worker in facts.workers)
    return len(facts.tasks) - kept - min(above, larger)


@laws
@given(owned())
def test_no_even_placement_moves_fewer(facts: Facts) -> None:
    assert len(place(facts).moves) == fewest_moves(facts)


@laws
@given(clusters(), st.integers())
def test_the_order_of_the_facts_does_not_matter(facts: Facts, seed: int) -> None:
    chance = random.Random(seed)

    def shuffled(items: Mapping[K, V]) -> dict[K, V]:
        listed = list(items.items())
        chance.shuffle(listed)
        return dict(listed)

    def sets(items: Mapping[TaskId, frozenset[str]]) -> dict[TaskId, frozenset[str]]:
        return {task: frozenset(shuffled(dict.fromkeys(each))) for task, each in items.items()}

    other = replace(
        facts,
        workers=shuffled(facts.workers),
        tasks=shuffled(facts.tasks),
        previous=shuffled(facts.previous),
        warm=shuffled(sets(facts.warm)),
        former=shuffled(sets(facts.former)),
    )
    assert place(other) == place(facts)


@pytest.mark.slow
@laws
@given(clusters(READY))
def test_a_second_look_moves_nothing(facts: Facts) -> None:
    # What a failure forced on somebody may be moved for balance once it is carried out.
    placement = place(facts)
    placement = place(then(facts, placement))
    assert place(then(facts, placement)).moves == ()


@laws
@given(clusters())
def test_moves_are_the_whole_difference(facts: Facts) -> None:
    placement = place(facts)
    after = {task: set(facts.previous.get(task, Copies(None)).workers) for task in placement.copies}
    for move in placement.moves:
        had = after[move.task]
        if move.kind == "drop":
            had.discard(str(move.source))
        elif move.target not in had:
            had.add(str(move.target))
            if move.source is not None and move.source not in placement.copies[move.task].workers:
                had.discard(move.source)
    for task, copies in placement.copies.items():
        assert set(copies.workers) <= after[task]
        left = after[task] - set(copies.workers)
        # An active that moves in beside its predecessor takes the place of a standby.
        assert len(left) <= 1, (left, [move for move in placement.moves if move.task == task])


@laws
@given(clusters())
def test_every_move_has_a_reason_and_exchanges_cost_nothing(facts: Facts) -> None:
    for move in place(facts).moves:
        assert move.reason
        had = facts.previous.get(move.task, Copies(None)).workers
        if move.kind in ("swap", "drop") or move.target in had:
            assert move.bytes == 0


@laws
@given(clusters())
def test_what_is_missing_is_told(facts: Facts) -> None:
    placement = place(facts)
    told = {mode.name: mode.count for mode in placement.modes}
    short = sum(
        len(copies.workers) < 1 + facts.standby_replicas * facts.tasks[task].has_state
        for task, copies in placement.copies.items()
    )
    assert told.get("unplaced_standbys", 0) == short
    shared = sum(
        len({area(facts.workers[name]) for name in copies.workers}) < len(copies.workers)
        for copies in placement.copies.values()
    )
    assert told.get("zone_violations", 0) >= shared
    busy = {name for copies in placement.copies.values() for name in copies.workers}
    assert placement.idle.keys() >= facts.workers.keys() - busy


@laws
@given(clusters(), st.integers(0, 2**32))
def test_one_step_after_the_other_comes_to_an_end(facts: Facts, seed: int) -> None:
    """As the controller does it: warm a copy, then exchange roles, then drop the old one."""
    chance = random.Random(seed)
    actual = {task: facts.previous.get(task, Copies(None)) for task in facts.tasks}
    for _ in range(400):
        live = {name for name, site in facts.workers.items() if site.presence is not Presence.AWAY}
        warm = {task: facts.warm.get(task, frozenset()) & live for task in actual}
        facts = replace(facts, previous=actual, warm=warm)
        placement = place(facts)
        moved = {move.task for move in placement.moves}
        cold = sorted(
            (task, name)
            for task, copies in placement.copies.items()
            for name in copies.workers
            if name not in warm[task] and name in live
        )
        if not moved and not cold:
            return
        warmed = {task: set(warm[task]) for task in actual}
        for task, name in cold[:3] if chance.random() < 0.5 else chance.sample(cold, len(cold)):
            warmed[task].add(name)
        facts = replace(facts, warm={task: frozenset(each) for task, each in warmed.items()})
        actual = dict(placement.copies)
    pytest.fail("it never ends")
