"""Workers that are drained, and those whose drain was stopped."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from streamer.assignment.facts import Copies, Facts, Load, Placement, Presence
from streamer.assignment.place import place
from streamer.ids import TaskId
from tests.unit.assignment.clusters import plain, sites, tasks, then, with_presence

TASK = TaskId(0, 0)
ZONES = sites(a="eu/1", b="eu/2", c="eu/3")
MIB = Load(bytes=1 << 20)


def actives(placement: Placement) -> Counter[str | None]:
    return Counter(copies.active for copies in placement.copies.values())


def test_a_drained_worker_gives_all_to_others() -> None:
    facts = Facts(ZONES, tasks(9, MIB), 1)
    after = place(then(facts, place(facts), workers=with_presence(ZONES, "a", Presence.DRAINING)))
    assert all("a" not in copies.workers for copies in after.copies.values())
    assert {move.reason for move in after.moves if move.source == "a"} == {"a is drained"}
    assert after.idle == {"a": "is drained"}


def test_a_drained_worker_serves_until_a_standby_is_warm() -> None:
    workers = with_presence(ZONES, "a", Presence.DRAINING)
    facts = Facts(workers, tasks(1), 1, {TASK: Copies("a", ("b",))}, {TASK: frozenset({"a"})})
    assert place(facts).copies[TASK] == Copies("a", ("b",))
    assert place(replace(facts, warm={TASK: frozenset({"a", "b"})})).copies[TASK] == Copies(
        "b", ("c",)
    )


def test_the_last_worker_cannot_be_drained() -> None:
    workers = with_presence(plain("a"), "a", Presence.DRAINING)
    facts = Facts(workers, tasks(2), previous=dict.fromkeys(tasks(2), Copies("a")))
    assert actives(place(facts)) == {"a": 2}


@pytest.mark.parametrize("standbys", [0, 1])
def test_a_worker_whose_drain_was_stopped_keeps_what_it_has_and_is_given_nothing(
    standbys: int,
) -> None:
    facts = Facts(plain("abc"), tasks(12, MIB), standby_replicas=standbys)
    before = place(facts)
    held = with_presence(plain("abcd"), "a", Presence.HELD)
    after = place(then(facts, before, workers=held))
    # Others even out among themselves, the one that joined too; it is the same at `a`.
    assert any("d" in copies.workers for copies in after.copies.values())
    for task, copies in before.copies.items():
        assert (after.copies[task].active == "a") == (copies.active == "a")
        assert ("a" in after.copies[task].workers) == ("a" in copies.workers)
    # Also where somebody dies whose tasks it has no copy of.
    gone = {name: site for name, site in held.items() if name != "b"}
    later = place(then(facts, after, workers=gone))
    assert all(copies.active in gone for copies in later.copies.values())
    kept = {task for task, copies in later.copies.items() if "a" in copies.workers}
    assert kept == {task for task, copies in before.copies.items() if "a" in copies.workers}
