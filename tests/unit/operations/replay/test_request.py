"""What is computed once more, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from streamer import App, Store
from streamer.cluster.outline import outline_of, topology_of
from streamer.errors import OperationRefusedError, TopologyError
from streamer.ids import TopicPartition
from streamer.operations.repartition.own_topics import own_places
from streamer.operations.repartition.request import Asked, read_request
from streamer.operations.replay.request import ask_again, unreachable
from streamer.topology.graph import Sink
from streamer.topology.partitions import external_topics, partitions
from streamer.topology.replayed import replayed
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import INPUT, counting, final, planned

ORIGIN = f"{NAME}.replay-1"


def asked(app: App | None = None, tasks: int = 4) -> Asked:
    made = app or counting()
    layout = planned(made).layout
    if tasks != 4:
        layout = layout.folded(dict.fromkeys(layout.subtopologies, tasks))
    return ask_again(made.topology(), layout, number="replay-1")


def test_all_of_the_state_is_built_anew_for_the_same_tasks() -> None:
    one = asked(tasks=2)
    assert (one.before.number, one.after.number) == (2, 3)
    assert one.moved == [0, 1]
    assert [one.after.layout.task_count(number) for number in (0, 1)] == [2, 2]
    assert one.changelogs == {
        f"{NAME}-totals-changelog.layout-3": 2,
        f"{NAME}-cities-changelog.layout-3": 2,
    }
    assert one.repartition == {f"{NAME}-cities-repartition.layout-3": 2}
    assert read_request(one.plain()) == one


def test_it_comes_from_an_application_of_its_own_with_a_task_for_each_partition() -> None:
    one = asked(tasks=2)
    assert one.origin == ORIGIN
    assert {place.topic for place in one.sources} == {
        f"{ORIGIN}-totals-changelog",
        f"{ORIGIN}-cities-changelog",
    }
    assert [len([p for p in one.sources if "totals" in p.topic])] == [4]
    assert [{place.topic for place in own_places(each)} for each in one.sending] == [
        {f"{NAME}-cities-repartition.layout-2"},
        {f"{ORIGIN}-cities-repartition"},
    ]
    assert one.input_places == [TopicPartition(INPUT, number) for number in range(4)]


def test_final_results_were_passed_on_once() -> None:
    with pytest.raises(OperationRefusedError, match="store totals passes on final results"):
        asked(final(), tasks=2)


def test_what_was_grown_or_routed_cannot_be_read_in_its_order() -> None:
    app = counting()
    layout = planned(app).layout
    for mode, tasks in (("grow", 6), ("routed", 3)):
        moved = layout.moved({0: tasks}, {0: mode}, application=NAME)  # type: ignore[dict-item]
        with pytest.raises(OperationRefusedError, match=f"subtopology 0 is in mode {mode}"):
            ask_again(app.topology(), moved, number="replay-1")


def test_whose_a_row_is_says_the_code_alone() -> None:
    def keep(_record: Any, _context: Any) -> None: ...

    app = App(NAME)
    store = Store("kept", str, str, partition_key=lambda key: key)
    app.stream(INPUT, key=str, value=int).process(keep, stores=[store])
    assert asked(app).feeds[0].stores[0].partition_key
    told = topology_of(NAME, outline_of(app.topology()))
    with pytest.raises(OperationRefusedError, match="the application's code is not here"):
        ask_again(told, planned(app).layout, number="replay-1")


def test_partitions_that_have_lost_their_begin_are_named() -> None:
    one, two = (TopicPartition(INPUT, number) for number in range(2))
    assert unreachable({one: 0, two: 7}, {}) == [two]
    assert unreachable({one: 3, two: 7}, {str(one): 3, str(two): 6}) == [two]


def test_what_leaves_the_application_is_left_out() -> None:
    topology = replayed(final().topology(), ORIGIN)
    sinks = [
        node for part in topology.subtopologies for node in part.nodes if isinstance(node, Sink)
    ]
    assert sinks == []
    beside = replayed(final().topology(), ORIGIN, outputs="side", operation="replay-1")
    assert external_topics(beside)[1] == ["out.replay-1"]
    there = replayed(final().topology(), ORIGIN, outputs="on", operation="replay-1")
    assert external_topics(there)[1] == ["out"]
    again = replayed(counting().topology(), ORIGIN)
    assert [sink.topic for part in again.subtopologies for sink in part.sinks] == ["cities"]


def compacted(app: App) -> None:
    layout = planned(app).layout
    ask_again(app.topology(), layout, number="replay-1", compacted=[INPUT])


def test_of_a_compacted_topic_only_a_table_is_computed_again() -> None:
    app = App(NAME)
    app.table(INPUT, key=str, value=int, store="prices")
    compacted(app)
    with pytest.raises(OperationRefusedError, match="sales is compacted, and subtopology 0 makes"):
        compacted(counting())
    joined = App(NAME)
    joined.table(INPUT, key=str, value=int, store="prices")
    prices = joined.table("prices", key=str, value=int, store="kept")
    orders = joined.stream("orders", key=str, value=int)
    orders.join(prices, lambda order, price: order * price).group_by_key().count(store="counts")
    layout = partitions(joined.topology(), {INPUT: 2, "orders": 2, "prices": 2}).layout
    with pytest.raises(OperationRefusedError, match="prices is compacted"):
        ask_again(joined.topology(), layout, number="replay-1", compacted=["prices"])


def test_an_id_that_is_too_long_for_another_one_is_refused() -> None:
    app = App("a" * 115)
    app.stream(INPUT, key=str, value=int).group_by_key().count(store="totals")
    with pytest.raises(TopologyError, match="application id"):
        asked(app)


def test_results_that_are_read_again_are_not_written_once_more() -> None:
    app = App(NAME)
    app.stream(INPUT, key=str, value=int).to("middle")
    app.stream("middle", key=str, value=int).group_by_key().count(store="totals")
    layout = partitions(app.topology(), {INPUT: 2, "middle": 2}).layout
    ask_again(app.topology(), layout, number="replay-1", outputs="side")
    with pytest.raises(OperationRefusedError, match="reads middle, which it writes as well"):
        ask_again(app.topology(), layout, number="replay-1", outputs="on")
