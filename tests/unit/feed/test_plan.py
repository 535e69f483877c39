"""The plan of a feed is a value that comes back from its record as it was, or not at all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamer.errors import InternalTopicError, OperationRefusedError, TopologyError
from streamer.feed.plan import FeedPlan
from streamer.ids import Layout
from streamer.layout import SubtopologyLayout
from streamer.split.homes import Homes
from streamer.topology.app import App
from streamer.topology.stores import Store
from tests.unit.feed.rig import SPECS, plan


def first_letter(key: bytes) -> bytes:
    return key[:1]


def other(key: bytes) -> bytes:
    return key


NAMED = Store("named", bytes, bytes, partition_key=first_letter).spec(key=SPECS[0].key)


def changed(**fields: Any) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(plan().encode()), **fields})


def test_a_plan_comes_back_from_its_record() -> None:
    made = plan(Homes(2, 6), Homes(3, 6, "consistent"), specs=(*SPECS, NAMED))
    found = FeedPlan.decode(made.encode(), "here")
    assert found == made
    assert found.id == made.id != plan().id
    kinds = [one.kind.value for one in found.stores]
    assert kinds == ["key-value", "window", "session", "key-value"]
    assert found.stores[-1].partition_key == f"{__name__}:first_letter"
    assert found.homes() == (Homes(2, 6), Homes(3, 6, "consistent"))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        changed(more=1),
        changed(subtopology="0"),
        changed(subtopology=-1),
        changed(stores=[{"name": "a"}]),
        changed(source={"layout": 1, "tasks": 0, "partitions": 1, "partitioner": "murmur2"}),
        b"[" * 100_000,
    ],
)
def test_what_is_no_plan_is_refused_by_its_place(raw: bytes) -> None:
    with pytest.raises(InternalTopicError, match=r"spend\.operations/0 offset 7"):
        FeedPlan.decode(raw, "spend.operations/0 offset 7")


def test_a_plan_of_another_version_is_refused() -> None:
    with pytest.raises(InternalTopicError, match="has version 2, this version of Streamer reads 1"):
        FeedPlan.decode(changed(version=2, more="of a later one"), "here")


def test_a_plan_is_made_from_layouts_of_a_topology() -> None:
    app = App("spend")
    app.stream("in", key=str, value=int).group_by_key().count(store="totals").to("out")
    source = SubtopologyLayout(4)
    made = FeedPlan.of(
        app.topology(),
        0,
        operation="op-1",
        source=source,
        target=source.moved(2, Layout(3), "fold"),
    )
    assert [(one.source, one.target) for one in made.stores] == [
        ("spend-totals-changelog", "spend-totals-changelog.layout-3")
    ]
    assert made.homes() == (Homes(4, 4), Homes(2, 2))
    assert [str(task) for task in made.tasks] == ["0_0", "0_1", "0_2", "0_3"]


def test_the_way_back_has_names_of_its_own() -> None:
    made = plan()
    back = made.reversed
    assert (made.name(1), back.name(1)) == ("spend.feed.op-1.0_1", "spend.feed.op-1.back.0_1")
    assert (back.source, back.target) == (made.target, made.source)
    assert back.stores[0].source == "spend-plain-changelog.layout-2"
    assert back.reversed == made
    assert back.salt != made.salt


def test_two_layouts_never_share_a_changelog() -> None:
    same = SubtopologyLayout(4)
    app = App("spend")
    app.stream("in", key=str, value=int).group_by_key().count(store="totals").to("out")
    with pytest.raises(OperationRefusedError, match="spend-totals-changelog twice"):
        FeedPlan.of(app.topology(), 0, operation="op-1", source=same, target=same)
    with pytest.raises(OperationRefusedError, match="cannot be part of a group's name"):
        plan(operation="op 1")


def test_a_topology_that_is_another_than_the_plans_is_refused() -> None:
    made = plan(specs=(NAMED,))
    assert made.bound([NAMED]) == {"named": NAMED}
    foreign = Store("named", bytes, bytes, partition_key=other).spec(key=SPECS[0].key)
    for specs in ([], [foreign], [Store("named", bytes, bytes).spec()]):
        with pytest.raises(OperationRefusedError, match="store named of operation op-1 is a key-v"):
            made.bound(specs)
    # Without functions nothing is asked of the topology.
    assert plan().bound([]) == {}


def test_a_partitioner_that_is_not_there_is_named() -> None:
    side = {"layout": 1, "tasks": 2, "partitions": 2, "partitioner": "nowhere:f"}
    found = FeedPlan.decode(changed(source=side), "here")
    with pytest.raises(TopologyError, match="the partitioner nowhere:f cannot be found"):
        found.homes()
