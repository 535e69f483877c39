"""The plan of a repartition, and what is in the way of one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamer.control.plans import check_plan
from streamer.errors import OperationRefusedError
from streamer.ids import TopicPartition
from streamer.operations.repartition.steps import STEPS
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import INPUT, Shop, asked, started


def test_a_plan_is_the_same_however_often_it_is_made() -> None:
    shop = Shop()
    executor = shop.executor()
    plan = executor.plan("repartition", shop.asked.plain())
    check_plan(plan)
    assert [step.id for step in plan.steps] == list(STEPS)
    assert (plan.no_return, plan.no_return_when) == ("switch", "done")
    assert "subtopology 0 from 4 to 2 tasks" in plan.steps[5].summary
    shop.process()
    assert executor.plan("repartition", shop.asked.plain()).id == plan.id


def trimmed(shop: Shop) -> None:
    shop.broker.delete_before(shop.asked.sources[0], 1)


def grown(shop: Shop) -> None:
    shop.broker.create(INPUT, 8)


def made_before(shop: Shop) -> None:
    shop.broker.create("app-totals-changelog.layout-2", 2)


def without_changelog(shop: Shop) -> None:
    shop.broker.delete("app-cities-changelog")


def another_layout(shop: Shop) -> None:
    shop.told.layout = shop.asked.after.layout


def never_committed(shop: Shop) -> None:
    del shop.broker.groups[NAME][TopicPartition(INPUT, 3)]


def nobody(shop: Shop) -> None:
    shop.alive.clear()


def another_topology(shop: Shop) -> None:
    shop.asked_shape = "0" * 16


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            trimmed,
            "do not reach back to where they are to be copied from: app-totals-changelog/0 begins",
        ),
        (grown, "sales has 8 partitions, and had 4"),
        (made_before, "app-totals-changelog.layout-2 of layout 2 exist already"),
        (without_changelog, "changelog app-cities-changelog has 0 partitions"),
        (another_layout, "layout 2 holds by now"),
        (never_committed, "has committed no position for sales/3"),
        (nobody, "no worker of app runs"),
        (another_topology, "worker a runs another topology"),
    ],
)
def test_what_is_in_the_way_is_named(change: Callable[[Shop], None], told: str) -> None:
    shop = Shop()
    change(shop)
    with pytest.raises(OperationRefusedError, match=told):
        shop.executor().plan("repartition", shop.asked.plain())


def test_there_and_back() -> None:
    shop = Shop()
    assert started(shop).state == "done"
    assert shop.is_copied()
    shop.next(asked({0: 4, 1: 4}, layout=shop.asked.after.layout, number="fold-2"))
    record = started(shop)
    assert (record.state, record.trouble) == ("done", None)
    assert shop.told.layout == shop.asked.after.layout
    assert shop.is_copied()
    assert shop.left() == {"groups": [], "orders": [], "paused": 0}
