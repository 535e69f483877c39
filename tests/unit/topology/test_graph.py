"""How nodes are divided into subtopologies, and how many partitions everything gets."""

from __future__ import annotations

from typing import Any

import pytest

from streamer import App, Store, TopologyError
from streamer.ids import TaskId
from streamer.topology.partitions import external_topics, partitions


def topics(app: App) -> list[list[str]]:
    return [subtopology.topics for subtopology in app.topology().subtopologies]


def test_what_is_not_tied_together_is_apart() -> None:
    app = App("a")
    app.stream("one").to("out")
    app.stream("two").filter(lambda _k, _v: True)
    app.stream("three").merge(app.stream("four")).to("out")
    assert topics(app) == [["one"], ["two"], ["three", "four"]]


def test_a_shared_store_ties_subtopologies_together() -> None:
    app = App("a")
    shared = Store("s", key=str, value=int)
    app.stream("one", key=str).process(print, stores=[shared])
    app.stream("between", key=str).to("out")
    app.stream("two", key=str).process(print, stores=[shared])
    assert topics(app) == [["one", "two"], ["between"]]
    assert app.topology().subtopology_of_store("s").number == 0


def test_a_repartition_topic_is_where_one_ends_and_the_next_begins() -> None:
    app = App("a")
    stream = app.stream("in", key=str, value=int)
    stream.group_by(lambda _k, v: v, key=int, name="by-value").count(store="counts").to("out")
    topology = app.topology()
    assert topics(app) == [["in"], ["by-value"]]
    assert topology.internal_sources == {"by-value"}
    assert [sink.topic for sink in topology.subtopologies[0].sinks] == ["by-value"]
    assert [spec.name for spec in topology.subtopologies[1].stores] == ["counts"]
    assert external_topics(topology) == (["in"], ["out"])


def test_an_unchanged_key_needs_no_repartition() -> None:
    app = App("a")
    app.stream("in", key=str, value=int).map_values(lambda v: v).group_by_key().count(store="s")
    assert topics(app) == [["in"]]


def joined(app: App) -> None:
    table = app.table("table", key=str, value=int, store="t")
    app.stream("in", key=str, value=int).join(table, max).to("out")


def test_every_topic_gets_the_partitions_that_its_tasks_need() -> None:
    app = App("a")
    app.stream("in", key=str, value=int).group_by(lambda _k, v: v, key=int, name="by-value").count(
        store="counts"
    )
    planned = partitions(app.topology(), {"in": 3})
    assert planned.sources == {"in": 3, "a-by-value-repartition": 3}
    assert planned.repartition == {"a-by-value-repartition": 3}
    assert planned.changelogs == {"a-counts-changelog": 3}
    assert planned.internal == {"a-by-value-repartition": 3, "a-counts-changelog": 3}
    assert planned.tasks == tuple(TaskId(s, p) for s in (0, 1) for p in range(3))
    assert planned.task_count(1) == 3


def test_a_repartition_topic_may_have_partitions_of_its_own() -> None:
    app = App("a")
    app.stream("in", key=str, value=int).repartition("wide", partitions=7).group_by_key().count(
        store="s"
    )
    planned = partitions(app.topology(), {"in": 2})
    assert planned.repartition == {"a-wide-repartition": 7}
    assert planned.changelogs == {"a-s-changelog": 7}
    assert (planned.task_count(0), planned.task_count(1)) == (2, 7)


def test_a_repartition_topic_that_is_joined_takes_the_size_of_the_table() -> None:
    app = App("a")
    table = app.table("table", key=str, value=int, store="t")
    moved = app.stream("in", key=str, value=int).select_key(lambda k, _v: k, key=str)
    moved.repartition("moved").join(table, max).to("out")
    assert partitions(app.topology(), {"in": 2, "table": 5}).repartition == {
        "a-moved-repartition": 5
    }


def test_topics_that_share_state_must_have_equal_partitions() -> None:
    app = App("a")
    joined(app)
    with pytest.raises(TopologyError, match="in has 2, table has 3") as caught:
        partitions(app.topology(), {"in": 2, "table": 3})
    assert "repartition" in caught.value.hint
    assert partitions(app.topology(), {"in": 3, "table": 3}).task_count(0) == 3


def test_topics_without_state_may_differ() -> None:
    app = App("a")
    app.stream("one").merge(app.stream("two")).to("out")
    assert partitions(app.topology(), {"one": 2, "two": 5}).task_count(0) == 5


def test_sizes_go_through_several_repartitions() -> None:
    app = App("a")
    stream: Any = app.stream("in", key=str, value=int)
    for name in ("one", "two", "three"):
        stream = stream.select_key(lambda k, _v: k, key=str).repartition(name)
    stream.group_by_key().count(store="s")
    planned = partitions(app.topology(), {"in": 4})
    assert set(planned.repartition.values()) == {4}
    assert planned.changelogs == {"a-s-changelog": 4}


def test_an_unknown_store_is_refused_with_those_there_are() -> None:
    app = App("a")
    joined(app)
    with pytest.raises(TopologyError, match="no store 'x'") as caught:
        app.topology().subtopology_of_store("x")
    assert caught.value.hint == "its stores: t"
