"""Topics and tasks of an application whose layout is recorded."""

from __future__ import annotations

import pytest

from streamer import App
from streamer.errors import PartitionsChangedError, TopologyChangedError, TopologyError
from streamer.ids import Layout, TaskId, TopicPartition
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.task.build import changelogs, input_partitions
from streamer.topology.partitions import partitions

COUNTS = {"in": 12}


def rekeyed() -> App:
    """Two subtopologies with state, one behind the other's repartition topic."""
    app = App("app")
    counted = app.stream("in", key=str, value=int).group_by_key().count(store="by-key")
    counted.stream().group_by(lambda key, value: str(value), name="again").count(store="by-value")
    return app


def test_without_a_record_there_is_a_task_for_each_partition() -> None:
    planned = partitions(rekeyed().topology(), COUNTS)
    assert planned.layout.is_first
    assert planned.layout.number == 1
    assert planned.task_count(0) == planned.task_count(1) == 12
    again = partitions(rekeyed().topology(), COUNTS, planned.layout)
    assert again == planned


def test_a_folded_part_has_topics_of_its_own_layout_and_the_others_keep_theirs() -> None:
    topology = rekeyed().topology()
    first = partitions(topology, COUNTS)
    second = partitions(topology, COUNTS, first.layout.folded({0: 3}))
    assert second.changelogs == {
        "app-by-key-changelog.layout-2": 3,
        "app-by-value-changelog": 12,
    }
    assert second.repartition == {"app-again-repartition": 12}
    third = partitions(topology, COUNTS, second.layout.folded({1: 5}))
    assert third.changelogs == {
        "app-by-key-changelog.layout-2": 3,
        "app-by-value-changelog.layout-3": 5,
    }
    assert third.repartition == {"app-again-repartition.layout-3": 5}
    assert third.sources == {"in": 12, "app-again-repartition.layout-3": 5}
    task = TaskId(0, 1)
    assert input_partitions(topology, task, third.sources, layout=third.layout) == tuple(
        TopicPartition("in", number) for number in (1, 4, 7, 10)
    )
    assert changelogs(topology, TaskId(1, 4), third.layout) == {
        "by-value": TopicPartition("app-by-value-changelog.layout-3", 4)
    }


def test_a_repartition_topic_is_told_from_a_topic_of_the_same_name() -> None:
    app = App("app")
    stream = app.stream("clicks", key=str, value=int)
    table = app.table("users", key=str, value=int, store="users")
    stream.select_key(lambda key, value: key, key=str).repartition("users").join(
        table, lambda click, user: click + user
    ).to("out")
    topology = app.topology()
    counts = {"clicks": 12, "users": 12}
    first = partitions(topology, counts)
    assert first.sources == {"clicks": 12, "users": 12, "app-users-repartition": 12}
    number = topology.subtopology_of_store("users").number
    second = partitions(topology, counts, first.layout.folded({number: 4}))
    assert second.repartition == {"app-users-repartition.layout-2": 4}
    assert second.sources["users"] == 12


def test_topics_of_different_widths_may_be_joined_where_both_are_folded() -> None:
    app = App("app")
    table = app.table("table", key=str, value=int, store="table")
    app.stream("in", key=str, value=int).join(table, lambda one, two: one + two).to("out")
    topology, counts = app.topology(), {"in": 12, "table": 6}
    with pytest.raises(TopologyError, match="equal numbers of partitions"):
        partitions(topology, counts)
    inputs = {"in": InputLayout(12), "table": InputLayout(6)}
    layout = ApplicationLayout(Layout(2), {0: SubtopologyLayout(3, Layout(2), inputs)})
    planned = partitions(topology, counts, layout)
    assert planned.task_count(0) == 3
    assert [
        str(one) for one in input_partitions(topology, TaskId(0, 2), planned.sources, layout=layout)
    ]
    with pytest.raises(TopologyError, match="4 does not divide the partitions of table"):
        partitions(
            topology,
            counts,
            ApplicationLayout(Layout(2), {0: SubtopologyLayout(4, Layout(2), inputs)}),
        )


def test_a_record_of_other_topics_is_refused() -> None:
    topology = rekeyed().topology()
    folded = partitions(topology, COUNTS).layout.folded({0: 3})
    with pytest.raises(PartitionsChangedError, match="in with 12 partitions; it now has 24"):
        partitions(topology, {"in": 24}, folded)
    strange = ApplicationLayout(
        Layout(2), {0: SubtopologyLayout(3, Layout(2), {"other": InputLayout(12)})}
    )
    with pytest.raises(TopologyChangedError, match="reads other, but this topology's reads in"):
        partitions(topology, COUNTS, strange)


def test_an_input_that_was_added_must_go_with_the_tasks() -> None:
    first = App("app")
    first.stream("in", key=str, value=int).group_by_key().count(store="counts")
    folded = partitions(first.topology(), COUNTS).layout.folded({0: 3})
    second = App("app")
    second.stream(["in", "more"], key=str, value=int).group_by_key().count(store="counts")
    planned = partitions(second.topology(), {"in": 12, "more": 6}, folded)
    assert planned.sources == {"in": 12, "more": 6}
    with pytest.raises(TopologyError, match="3 does not divide the partitions of more"):
        partitions(second.topology(), {"in": 12, "more": 8}, folded)
