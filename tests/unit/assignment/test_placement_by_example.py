"""What a placement does in the cases that operators meet, one after the other."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import pytest

from streamer.assignment.facts import Copies, Facts, Load, Mode, Placement, Presence, Site
from streamer.assignment.place import place
from streamer.ids import TaskId
from tests.unit.assignment.clusters import plain, sites, tasks, then, with_presence, without, zone

TASK = TaskId(0, 0)
ZONES = sites(a="eu/1", b="eu/2", c="eu/3")
MIB = Load(bytes=1 << 20)


def actives(placement: Placement) -> Counter[str | None]:
    return Counter(copies.active for copies in placement.copies.values())


def mode(placement: Placement, name: str) -> Mode:
    return next(mode for mode in placement.modes if mode.name == name)


def names(placement: Placement) -> set[str]:
    return {mode.name for mode in placement.modes}


def kinds(placement: Placement) -> Counter[str]:
    return Counter(move.kind for move in placement.moves)


def warm(placement: Placement) -> dict[TaskId, frozenset[str]]:
    return {task: frozenset(copies.workers) for task, copies in placement.copies.items()}


# Workers come and go


def test_without_workers_nothing_has_a_place() -> None:
    placement = place(Facts({}, tasks(3)))
    assert placement.copies == dict.fromkeys(tasks(3), Copies(None))
    assert mode(placement, "no_workers").count == 3


def test_without_tasks_everybody_is_idle() -> None:
    placement = place(Facts(plain("ab"), {}))
    assert placement.idle == {"a": "there are no tasks", "b": "there are no tasks"}


def test_a_joining_worker_takes_only_its_share() -> None:
    facts = Facts(plain("ab"), tasks(12, MIB))
    after = place(then(facts, place(facts), workers=plain("abc")))
    assert actives(after) == {"a": 4, "b": 4, "c": 4}
    assert after.moved_bytes == 4 << 20
    assert {move.target for move in after.moves} == {"c"}
    assert {move.reason for move in after.moves} == {"c joined; balance: number of actives"}


def test_a_leaving_worker_moves_only_its_own_tasks() -> None:
    facts = Facts(plain("abc"), tasks(9))
    after = place(then(facts, place(facts), workers=plain("ab")))
    assert {move.source for move in after.moves} == {"c"}
    assert {move.reason for move in after.moves} == {"c is gone"}
    assert sorted(actives(after).values()) == [4, 5]


def test_a_worker_that_comes_back_gets_what_lies_on_its_disk() -> None:
    facts = Facts(plain("abc"), tasks(9, MIB))
    home = place(facts)
    away = then(facts, home, workers=plain("ab"))
    former = {task: frozenset({"c"}) for task, each in home.copies.items() if each.active == "c"}
    back = place(then(away, place(away), workers=plain("abc"), former=former))
    assert back.copies == home.copies
    assert back.moved_bytes <= 3 * ((1 << 20) // 10 + 1)


def test_the_surplus_leaves_from_the_subtopology_that_is_crowded() -> None:
    every = {**tasks(4), **tasks(2, subtopology=1)}
    previous = dict.fromkeys(every, Copies("a"))
    after = place(Facts(plain("ab"), every, previous=previous))
    moved = [task.subtopology for task, copies in after.copies.items() if copies.active == "b"]
    assert sorted(moved) == [0, 0, 1]


def test_twice_the_capacity_gets_twice_as_much() -> None:
    workers = {"small": Site(capacity=50), "large": Site(capacity=100)}
    assert actives(place(Facts(workers, tasks(9)))) == {"small": 3, "large": 6}


def test_the_heaviest_tasks_do_not_meet() -> None:
    every = {TaskId(0, at): Load(bytes=1_000 if at < 2 else 10) for at in range(8)}
    placement = place(Facts(plain("ab"), every))
    assert placement.copies[TaskId(0, 0)].active != placement.copies[TaskId(0, 1)].active
    assert actives(placement) == {"a": 4, "b": 4}


def test_small_differences_of_size_move_nothing() -> None:
    facts = Facts(plain("abc"), tasks(30, Load(bytes=1_000, rate=1_000)))
    grown = {
        task: Load(bytes=1_000 + 3 * at, rate=1_000 - 3 * at)
        for at, task in enumerate(sorted(facts.tasks))
    }
    assert not place(then(facts, place(facts), tasks=grown)).moves


# Standbys


def test_a_warm_standby_takes_over_and_another_is_built() -> None:
    facts = Facts(ZONES, {TASK: MIB}, standby_replicas=1)
    before = Copies("a", ("b",))
    after = place(
        replace(facts, workers=without(ZONES, "a"), previous={TASK: before}, warm={TASK: {"b"}})
    )
    assert after.copies[TASK] == Copies("b", ("c",))
    assert [(move.kind, move.target, move.bytes) for move in after.moves] == [
        ("active", "b", 0),
        ("standby", "c", 1 << 20),
    ]


def test_of_two_standbys_the_warm_one_takes_over() -> None:
    facts = Facts(without(ZONES, "a"), tasks(1), 2, previous={TASK: Copies("a", ("b", "c"))})
    assert place(replace(facts, warm={TASK: frozenset({"c"})})).copies[TASK].active == "c"
    assert place(replace(facts, warm={TASK: frozenset({"b"})})).copies[TASK].active == "b"


def test_a_cold_standby_goes_on_rather_than_somebody_who_has_nothing() -> None:
    facts = Facts(without(ZONES, "a"), tasks(1), 1, previous={TASK: Copies("a", ("c",))})
    assert place(facts).copies[TASK].active == "c"


def test_actives_become_even_by_exchanging_roles() -> None:
    workers = sites(a="eu/1", b="eu/2")
    previous = dict.fromkeys(tasks(6), Copies("a", ("b",)))
    both = dict.fromkeys(tasks(6), frozenset({"a", "b"}))
    after = place(Facts(workers, tasks(6, MIB), 1, previous, both))
    assert actives(after) == {"a": 3, "b": 3}
    assert kinds(after) == {"swap": 3}
    assert after.moved_bytes == 0


def test_fewer_standbys_are_dropped_when_fewer_are_wanted() -> None:
    facts = Facts(ZONES, tasks(6), standby_replicas=2)
    after = place(then(facts, place(facts), standby_replicas=1))
    assert kinds(after) == {"drop": 6}
    assert {move.reason for move in after.moves} == {"2 copies are wanted"}


def test_a_task_without_state_needs_no_standby_and_moves_for_nothing() -> None:
    facts = Facts(ZONES, {**tasks(3, Load(bytes=9, has_state=False))}, standby_replicas=2)
    first = place(facts)
    assert all(not copies.standbys for copies in first.copies.values())
    assert place(then(facts, first, workers=without(ZONES, "a"))).moved_bytes == 0


# Zones


def test_copies_are_in_different_zones() -> None:
    workers = sites(a="eu/1", b="eu/1", c="eu/2")
    for copies in place(Facts(workers, tasks(8), 1)).copies.values():
        assert "c" in copies.workers
        assert len(copies.workers) == 2


def test_two_zones_of_two_regions_are_better_than_two_of_one() -> None:
    workers = sites(a="eu/1", b="eu/2", c="eu/3", d="us/1")
    for copies in place(Facts(workers, tasks(8), 1)).copies.values():
        assert "d" in copies.workers


def test_zones_of_one_name_in_two_regions_are_two() -> None:
    workers = sites(a="eu/1", b="us/1")
    assert all(len(c.workers) == 2 for c in place(Facts(workers, tasks(4), 1)).copies.values())


def test_a_zone_with_most_of_the_capacity_gets_one_copy_of_each_task_at_the_most() -> None:
    workers = sites(a="eu/1", b="eu/1", c="eu/1", d="eu/2")
    placement = place(Facts(workers, tasks(12), 1))
    counts = Counter(name for copies in placement.copies.values() for name in copies.workers)
    assert counts == {"a": 4, "b": 4, "c": 4, "d": 12}
    assert set(actives(placement).values()) == {3}


def test_a_lost_zone_promotes_what_is_warm_and_builds_what_is_missing() -> None:
    workers = sites(a="eu/1", b="eu/1", c="eu/2", d="eu/2", e="eu/3", f="eu/3")
    facts = Facts(workers, tasks(24, MIB), 1)
    first = place(facts)
    after = place(then(facts, first, workers=without(workers, "a", "b")))
    lost = sum(1 for copies in first.copies.values() if {"a", "b"} & set(copies.workers))
    assert after.moved_bytes == lost << 20
    assert sorted(actives(after).values()) == [6, 6, 6, 6]
    for task, copies in first.copies.items():
        if copies.active in {"a", "b"}:
            assert after.copies[task].active == copies.standbys[0]


def test_one_zone_left_keeps_the_actives_and_names_what_it_waits_for() -> None:
    facts = Facts(ZONES, tasks(6), 1)
    alone = then(facts, place(facts), workers=without(ZONES, "b", "c"))
    placement = place(alone)
    assert actives(placement) == {"a": 6}
    assert names(placement) == {"one_zone_left", "one_worker_left", "unplaced_standbys"}
    assert mode(placement, "unplaced_standbys").count == 6
    assert mode(placement, "one_zone_left").until == "workers in 2 zones at least"


def test_when_the_zone_is_back_standbys_are_built_there_again() -> None:
    workers = sites(a="eu/1", b="eu/1", c="eu/2", d="eu/2")
    facts = Facts(workers, tasks(8, MIB), 1)
    alone = then(facts, place(facts), workers=without(workers, "c", "d"))
    lonely = place(alone)
    back = place(then(alone, lonely, workers=workers))
    assert all(len(copies.workers) == 2 for copies in back.copies.values())
    assert back.moved_bytes == 8 << 20
    assert not back.modes
    assert sorted(actives(back).values()) == [2, 2, 2, 2]


def test_relaxed_the_second_copy_stays_in_the_zone_and_is_called_a_violation() -> None:
    workers = sites(a="eu/1", b="eu/1")
    placement = place(Facts(workers, tasks(4), 1, zone_policy="relaxed"))
    assert all(len(copies.workers) == 2 for copies in placement.copies.values())
    assert names(placement) == {"one_zone_left", "zone_violations"}
    assert mode(placement, "zone_violations").examples == ("0_0", "0_1", "0_2", "0_3")


def test_relaxed_racks_of_a_shared_zone_are_kept_apart() -> None:
    workers = sites(a="eu/1/7", b="eu/1/7", c="eu/1/8")
    placement = place(Facts(workers, tasks(6), 1, zone_policy="relaxed"))
    assert all("c" in copies.workers for copies in placement.copies.values())


def test_relaxed_a_violation_ends_when_a_zone_is_there() -> None:
    workers = sites(a="eu/1", b="eu/1")
    facts = Facts(workers, tasks(4, MIB), 1, zone_policy="relaxed")
    more = {**workers, **sites(c="eu/2")}
    after = place(then(facts, place(facts), workers=more))
    assert not after.modes
    assert all("c" in copies.workers for copies in after.copies.values())
    assert after.moved_bytes == 4 << 20
    assert "zone violation: a and b fail together" in {move.reason for move in after.moves}


def test_three_copies_in_two_zones_leave_one_out() -> None:
    placement = place(Facts(sites(a="eu/1", b="eu/2", c="eu/2"), tasks(4), 2))
    assert all(len(copies.workers) == 2 for copies in placement.copies.values())
    assert names(placement) == {"too_few_zones", "unplaced_standbys"}


# Hosts


def test_workers_of_one_host_share_no_task() -> None:
    workers = {name: Site(host=name[0]) for name in ("x1", "x2", "y1", "y2")}
    for copies in place(Facts(workers, tasks(8), 1)).copies.values():
        assert {name[0] for name in copies.workers} == {"x", "y"}


def test_one_host_alone_has_no_standbys_unless_that_is_allowed() -> None:
    workers = {"x1": Site(host="x"), "x2": Site(host="x")}
    strict = place(Facts(workers, tasks(4), 1))
    assert all(not copies.standbys for copies in strict.copies.values())
    assert names(strict) == {"too_few_hosts", "unplaced_standbys"}
    relaxed = place(Facts(workers, tasks(4), 1, zone_policy="relaxed"))
    assert all(copies.standbys for copies in relaxed.copies.values())
    assert names(relaxed) == {"too_few_hosts", "zone_violations"}


# Workers whose zone nobody knows


def test_a_worker_without_tags_gets_nothing_where_others_have_them() -> None:
    placement = place(Facts({**ZONES, "d": Site()}, tasks(9), 1))
    assert placement.idle == {"d": "has no zone, others have region,az"}
    assert mode(placement, "untagged_workers").examples == ("d",)
    assert set(actives(placement)) == {"a", "b", "c"}


def test_a_worker_with_other_tags_gets_nothing() -> None:
    other = Site(zone=(("datacenter", "7"),))
    placement = place(Facts({**ZONES, "d": other}, tasks(9), 1))
    assert placement.idle == {"d": "its zone has the tags datacenter, others have region,az"}


def test_a_worker_that_lost_its_tags_is_drained() -> None:
    facts = Facts(ZONES, tasks(9), 1)
    after = place(then(facts, place(facts), workers={**ZONES, "c": Site()}))
    assert set(actives(after)) == {"a", "b"}
    assert "c has no zone, others have region,az" in {move.reason for move in after.moves}


def test_while_tags_are_introduced_nothing_moves_because_of_that() -> None:
    facts = Facts(plain("abc"), tasks(9), 1)
    some = {**plain("abc"), "a": Site(zone("eu/1"))}
    after = place(then(facts, place(facts), workers=some))
    assert not after.moves
    assert set(after.idle) == {"b", "c"}
    assert mode(after, "untagged_workers").count == 2


# Away


@pytest.mark.parametrize("count", [6, 7, 8])
def test_away_and_back_moves_no_bytes(count: int) -> None:
    facts = Facts(ZONES, tasks(count, MIB), 1)
    first = place(facts)
    gone = then(facts, first, workers=with_presence(ZONES, "a", Presence.AWAY))
    meanwhile = place(gone)
    assert meanwhile.moved_bytes == 0
    assert set(kinds(meanwhile)) == {"swap"}
    assert actives(meanwhile)["a"] == 0
    again = place(then(gone, meanwhile))
    assert not again.moves
    back = place(then(facts, meanwhile))
    assert back.moved_bytes == 0
    assert sorted(actives(back).values()) == sorted(actives(first).values())


def test_without_standbys_who_comes_back_finds_its_tasks_cheap() -> None:
    facts = Facts(plain("abc"), tasks(9, MIB))
    first = place(facts)
    gone = then(facts, first, workers=with_presence(plain("abc"), "a", Presence.AWAY))
    meanwhile = place(gone)
    assert meanwhile.moved_bytes == 3 << 20
    assert {move.reason for move in meanwhile.moves} == {"a is away"}


def test_a_joining_worker_gets_its_share_while_another_is_away() -> None:
    workers = sites(a="eu/1", b="eu/2", c="eu/3")
    facts = Facts(workers, tasks(24, MIB), 1)
    more = {**with_presence(workers, "a", Presence.AWAY), **sites(d="eu/2")}
    after = place(then(facts, place(facts), workers=more))
    assert actives(after)["d"] >= 5


# Scale


@pytest.mark.slow
def test_the_size_of_a_large_fleet_is_planned_in_seconds() -> None:
    workers = {
        f"host{number:03}-{each}": Site(zone(f"eu/{number % 3}"), host=f"host{number:03}")
        for number in range(400)
        for each in range(3)
    }
    every = {TaskId(sub, part): MIB for sub in range(3) for part in range(4_000)}
    facts = Facts(workers, every, 1)
    started = time.process_time()
    before = place(facts)
    after = place(
        then(facts, before, workers=without(workers, *(f"host007-{each}" for each in range(3))))
    )
    assert time.process_time() - started < 10
    assert after.moved_bytes == 60 << 20
    assert set(actives(after).values()) == {10, 11}
