"""What the mode `routed` of a layout puts before a subtopology."""

from __future__ import annotations

import pytest

from streamer import App
from streamer.cluster.outline import outline_of, topology_of
from streamer.errors import TopologyError
from streamer.ids import Layout
from streamer.layout import ApplicationLayout
from streamer.topology.graph import Merge, Sink, Source
from streamer.topology.partitions import external_topics, partitions
from streamer.topology.routed import routed
from streamer.topology.serde import Bytes
from streamer.topology.shape import shape_of

COUNTS = {"clicks": 4, "users": 4, "orders": 6}
CLICKS, USERS = "app-clicks-routed-repartition", "app-users-routed-repartition"


def shop() -> App:
    """A join of two topics, and another subtopology."""
    app = App("app")
    users = app.table("users", key=str, value=int, store="users")
    clicks = app.stream("clicks", key=str, value=int)
    clicks.join(users, lambda one, two: one + two).to("out")
    app.stream("orders", key=str, value=int).group_by_key().count(store="orders")
    return app


def first() -> ApplicationLayout:
    return partitions(shop().topology(), COUNTS).layout


def moved(layout: ApplicationLayout, tasks: dict[int, int]) -> ApplicationLayout:
    return layout.moved(tasks, dict.fromkeys(tasks, "routed"), application="app")


def test_it_reads_topics_of_its_own_behind_an_ingress_for_each() -> None:
    layout = moved(first(), {0: 3})
    topology = routed(shop().topology(), layout)
    joined, orders, *ingress = topology.subtopologies
    assert sorted(joined.topics) == ["clicks-routed", "users-routed"]
    assert all(source.is_internal for source in joined.sources)
    assert orders is not shop().topology().subtopologies[1]
    assert orders.topics == ["orders"]
    assert [(one.number, one.topics) for one in ingress] == [(2, ["clicks"]), (3, ["users"])]
    for one in ingress:
        source, sink = one.nodes
        assert isinstance(source, Source)
        assert isinstance(sink, Sink)
        assert (source.key, source.value, sink.key, sink.value) == (Bytes, Bytes, Bytes, Bytes)
        assert (sink.topic, sink.is_internal) == (f"{source.topics[0]}-routed", True)
    assert external_topics(topology) == (["orders", "clicks", "users"], ["out"])


def test_the_layout_counts_its_topics_and_tasks() -> None:
    layout = moved(first(), {0: 3})
    planned = partitions(routed(shop().topology(), layout), COUNTS, layout)
    assert planned.layout == layout
    assert [planned.task_count(number) for number in range(4)] == [3, 6, 4, 4]
    assert planned.repartition == {f"{CLICKS}.layout-2": 3, f"{USERS}.layout-2": 3}
    assert planned.changelogs == {"app-users-changelog.layout-2": 3, "app-orders-changelog": 6}


def test_the_steps_stay_and_know_each_other() -> None:
    app = App("app")
    one = app.stream("clicks", key=str, value=int)
    other = app.stream("users", key=str, value=int)
    one.merge(other).group_by_key().count(store="all")
    layout = partitions(app.topology(), {"clicks": 2, "users": 2}).layout
    made = routed(app.topology(), moved(layout, {0: 5})).subtopologies[0]
    (merge,) = [node for node in made.nodes if isinstance(node, Merge)]
    assert set(merge.parents) == set(made.sources)
    assert [type(node) for node in made.nodes] == [
        type(node) for node in app.topology().subtopologies[0].nodes
    ]


def test_done_once_it_is_done() -> None:
    layout = moved(first(), {0: 3})
    once = routed(shop().topology(), layout)
    assert routed(once, layout) is once
    told = topology_of("app", outline_of(once))
    assert routed(told, layout) is told
    assert shape_of(told, layout).digest == shape_of(once, layout).digest
    assert routed(once, None) is once


@pytest.mark.parametrize("layout", [None, ApplicationLayout()])
def test_without_it_nothing_is_changed(layout: ApplicationLayout | None) -> None:
    topology = shop().topology()
    assert routed(topology, layout) is topology


def test_each_ingress_keeps_its_number_whatever_is_routed_later() -> None:
    second = moved(first(), {1: 5})
    third = moved(second, {0: 3})
    for layout, order in ((second, ["orders"]), (third, ["orders", "clicks", "users"])):
        made = routed(shop().topology(), layout)
        assert [one.topics for one in made.subtopologies[2:]] == [[each] for each in order]
        assert partitions(made, COUNTS, layout).layout == layout


def test_once_routed_any_number_is_a_fold_of_its_own_topics() -> None:
    second = moved(first(), {0: 3})
    third = moved(second, {0: 7})
    own = third.subtopologies[0]
    assert (own.mode, own.tasks, own.since) == ("routed", 7, Layout(3))
    assert {one.partitions for one in own.inputs.values()} == {7}
    assert third.subtopologies.keys() == second.subtopologies.keys()
    assert second.subtopologies[0].fits(2) == "routed"
    with pytest.raises(TopologyError, match="subtopology 0 is routed, and stays so"):
        second.moved({0: 2}, {0: "fold"})


def test_what_has_topics_of_its_own_needs_none() -> None:
    app = App("app")
    app.stream("clicks", key=str, value=int).group_by(
        lambda key, _value: key, key=str, name="again"
    ).count(store="s")
    layout = partitions(app.topology(), {"clicks": 4}).layout
    with pytest.raises(TopologyError, match="subtopology 1 reads topics of the application's own"):
        moved(layout, {1: 2})


def test_a_step_of_the_same_name_is_refused() -> None:
    app = App("app")
    clicks = app.stream("clicks", key=str, value=int)
    clicks.group_by_key().count(store="s")
    clicks.repartition("clicks-routed").to("out")
    layout = partitions(app.topology(), {"clicks": 4}).layout
    with pytest.raises(TopologyError, match="repartition 'clicks-routed' has the name"):
        routed(app.topology(), moved(layout, {0: 2}))
