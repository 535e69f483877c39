"""A repartition from its begin to its end, and what stops it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from streamer.control.orders import FORMAT, ShadowOrder, encode_order, shadow_key
from streamer.errors import FencedError, OperationRefusedError, PauseError
from streamer.feed.proof import WHILE_FED
from streamer.ids import TaskId, TopicPartition
from streamer.operations.work import Work
from tests.unit.operations.repartition.front import NAME, ORDERS
from tests.unit.operations.repartition.rig import INPUT, OWN, Shop, started


def test_tasks_begin_where_their_copies_are_and_read_on_where_they_stood() -> None:
    shop = Shop()
    record = started(shop)
    assert record.state == "done", record.trouble
    copies = {worker: set(kept) for worker, kept in shop.kept.items()}
    for task, (active, *_standbys) in shop.told.goal.items():
        assert str(task) in copies[active]
    assert sorted(shop.told.goal) == [TaskId(0, 0), TaskId(0, 1), TaskId(1, 0), TaskId(1, 1)]
    group = shop.broker.groups[NAME]
    assert [group[TopicPartition(INPUT, one)].position for one in range(4)] == [1] * 4
    assert [group[TopicPartition(f"{OWN}.layout-2", one)].position for one in range(2)] == [0, 0]
    assert shop.is_copied()


def test_standbys_have_warm_copies_of_their_own() -> None:
    shop = Shop(standby_replicas=1)
    assert started(shop).state == "done"
    assert {len(workers) for workers in shop.told.goal.values()} == {2}
    assert all(len(kept) == 4 for kept in shop.kept.values())


def test_new_changelogs_are_kept_from_compaction_until_it_is_over() -> None:
    shop = Shop()
    seen: list[dict[str, str]] = []
    shop.at_pause = lambda: seen.append(dict(shop.settings["app-totals-changelog.layout-2"]))
    assert started(shop).state == "done"
    (within,) = seen
    after = shop.settings["app-totals-changelog.layout-2"]
    assert WHILE_FED.items() <= within.items()
    assert "min.compaction.lag.ms" not in after
    assert after["max.compaction.lag.ms"] == "86400000"


def test_it_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, list[dict[str, Any]]] = {}
    progress = Work.progress

    def listening(self: Work, **given: Any) -> None:
        told.setdefault(given.get("phase", ""), []).append(given)
        progress(self, **given)

    monkeypatch.setattr(Work, "progress", listening)
    started(Shop())
    copied = told["copy changelogs"][-1]
    assert copied["records_done"] == copied["records_total"] > 0
    assert copied["bytes_done"] > 0
    first = told["warm copies"][0]
    assert (first["records_done"], first["records_total"]) == (0, 4)
    assert re.fullmatch("worker a, whose copy of ._. is not warm yet", first["held_by"])
    assert told["pause"][0]["of"] == 4


def test_a_pause_that_is_not_held_switches_nothing_and_ends() -> None:
    shop = Shop()
    shop.refusal = PauseError("not all workers have paused within 15 s; missing: b")
    record = started(shop)
    assert record.state == "failed"
    assert "missing: b" in record.trouble.message
    assert shop.paused == 0
    assert shop.told.layout == shop.asked.before.layout
    shop.refusal = None
    assert shop.executor().resume(record.id).state == "done"
    assert shop.is_copied()


def test_nothing_is_paused_while_a_task_does_not_run() -> None:
    shop = Shop()
    shop.restores_until_ms = shop.clock.now_ms() + 60_000
    paused_ms: list[int] = []
    shop.at_pause = lambda: paused_ms.append(shop.clock.now_ms())
    assert started(shop).state == "done"
    assert paused_ms[0] >= shop.restores_until_ms


def test_who_lost_the_right_switches_nothing() -> None:
    shop = Shop()

    def take_away() -> None:
        shop.rights += 1

    shop.at_pause = take_away
    record = started(shop)
    assert record.state == "failed"
    assert FencedError.__name__ not in record.trouble.message
    assert shop.told.layout == shop.asked.before.layout


def test_what_is_lost_in_the_new_changelogs_stops_everything_before_the_switch() -> None:
    shop = Shop()

    def lose() -> None:
        log = shop.broker.log(TopicPartition("app-totals-changelog.layout-2", 0))
        at = next(at for at, one in enumerate(log.entries) if one is not None and one.is_visible)
        log.entries[at] = None

    shop.after_copy = lose
    record = started(shop)
    assert (record.state, record.trouble.step) == ("failed", "prove")
    assert "store totals, task 0: fed" in record.trouble.message
    assert shop.executor().cancel(record.id).state == "cancelled"
    assert shop.untouched()["topics"] == []


def test_a_copy_that_has_failed_is_told() -> None:
    shop = Shop()
    shop.broken = {"b"}
    record = started(shop)
    assert (record.state, record.trouble.step) == ("failed", "shadow")
    assert "on worker b has failed" in record.trouble.message
    shop.broken = set()
    assert shop.executor().resume(record.id).state == "done"


def test_copies_of_a_worker_that_dies_are_kept_by_another() -> None:
    shop = Shop()

    def die() -> None:
        shop.alive = {"a"}
        shop.kept["b"] = {}

    shop.after_copy = die
    assert started(shop).state == "done"
    assert {workers[0] for workers in shop.told.goal.values()} == {"a"}


def test_nobody_who_is_emptied_is_given_a_task() -> None:
    shop = Shop()
    shop.draining = {"b"}
    assert started(shop).state == "done"
    assert {workers for workers in shop.told.goal.values()} == {("a",)}
    assert not shop.kept["b"]


def test_where_all_are_emptied_it_goes_on_with_what_there_is() -> None:
    shop = Shop()
    shop.draining = {"a", "b"}
    assert started(shop).state == "done"
    assert {workers[0] for workers in shop.told.goal.values()} == {"a", "b"}


def test_what_an_abandoned_operation_had_ordered_is_taken_back() -> None:
    shop = Shop()
    order = ShadowOrder(
        format=FORMAT,
        operation="abandoned",
        worker="gone",
        layout=shop.asked.after,
        tasks=("0_0",),
    )
    key = shadow_key("gone")
    shop.broker.append(ORDERS, key.encode(), encode_order(order, ORDERS.topic))
    assert started(shop).state == "done"
    assert shop.left()["orders"] == []


def test_a_release_that_comes_before_the_switch_stops_it() -> None:
    shop = Shop()
    shop.after_copy = lambda: setattr(shop, "asked_shape", "newer")
    record = started(shop)
    assert (record.state, record.trouble.step) == ("failed", "switch")
    assert "runs another topology" in record.trouble.message
    assert shop.executor().cancel(record.id).state == "cancelled"
    assert shop.untouched()["topics"] == []


def test_a_release_that_comes_with_the_switch_ends_it_as_well() -> None:
    shop = Shop()
    shop.at_pause = lambda: setattr(shop, "asked_shape", "newer")
    assert started(shop).state == "done"


def test_who_wakes_after_a_cancel_and_has_the_right_last_pauses_nobody() -> None:
    shop = Shop()
    paused: list[int] = []
    shop.at_pause = lambda: paused.append(shop.rights)
    executor = shop.executor()
    operation = executor.propose("repartition", shop.asked.plain()).id

    def cancelled() -> None:
        shop.at_right = lambda: None
        assert shop.executor().cancel(operation, takes_over=True).state == "cancelled"

    shop.at_right = cancelled
    with pytest.raises(FencedError):
        executor.start(operation)
    assert not paused
    assert shop.told.layout == shop.asked.before.layout
    assert shop.untouched()["topics"] == []


def test_a_switch_that_came_a_moment_before_the_cancel_is_finished() -> None:
    shop = Shop()
    executor = shop.executor()
    operation = executor.propose("repartition", shop.asked.plain()).id
    shop.refusal = PauseError("nobody answers")
    assert executor.start(operation).state == "failed"

    def switched() -> None:
        # By a process that was given up, before its right is taken away.
        shop.told.layout, shop.told.by = shop.asked.after.layout, operation

    shop.at_right = switched
    record = shop.executor().cancel(operation)
    assert record.state == "done", record.trouble
    assert "there is no way back after step switch" in record.note
    assert {step.state for step in record.steps} == {"done"}
    assert shop.executor().books().uncompleted() == [record], "what it left is found"
    assert shop.left() == {"groups": [], "orders": [], "paused": 0}
    assert shop.is_copied()


def test_what_was_trimmed_comes_from_snapshots() -> None:
    shop = Shop({0: 2})
    shop.trim()
    record = started(shop)
    assert record.state == "done", record.trouble
    assert shop.is_copied()
    assert "by 4 feeds, 4 of which begin with a snapshot" in record.plan.steps[2].summary


def test_what_was_trimmed_since_it_was_planned_is_refused() -> None:
    shop = Shop({0: 2})
    shop.trim()
    shop.process()
    shop.broker.delete_before(shop.asked.sources[1], shop.asked.begins[shop.asked.sources[1]] + 1)
    with pytest.raises(OperationRefusedError, match="do not reach back to where they are to be"):
        shop.executor().plan("repartition", shop.asked.plain())
