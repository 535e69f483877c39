"""Partitioners that an application declares: what is one, and what goes by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streamer import App
from streamer.errors import ProcessingError, TopologyChangedError, TopologyError
from streamer.ids import Layout
from streamer.layout import ApplicationLayout, InputLayout
from streamer.topology.declared import Declared, name_of, named
from streamer.topology.describe import as_dict, text
from streamer.topology.partitioner import partition_of, partitions_of
from streamer.topology.partitions import partitions

HERE = __name__


def by_range(key: bytes, count: int) -> int:
    """The first letter, in ranges: no remainder of anything."""
    return (key[0] - ord("a")) * count // 26


formerly_by_range = by_range


class Regions:
    @staticmethod
    def by_last(key: bytes, count: int) -> int:
        return key[-1] % count


def counting(**given: Any) -> App:
    app = App("app")
    app.stream("in", key=str, value=int, **given).group_by_key().count(store="counts")
    return app


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("consistent", "consistent"),
        ("murmur2", "murmur2"),
        (by_range, f"{HERE}:by_range"),
        (Regions.by_last, f"{HERE}:Regions.by_last"),
    ],
)
def test_it_is_known_by_a_name_that_leads_back_to_it(given: str | Declared, name: str) -> None:
    assert name_of(given) == name
    assert named(name) == given


def test_it_gives_the_partition_of_each_key() -> None:
    name = name_of(by_range)
    assert partitions_of([b"ann", b"mia", b"zoe"], 4, name) == [0, 1, 3]
    assert partition_of(b"zoe", 13, name) == 12


@pytest.mark.parametrize("given", [lambda _key, _count: 0, "fnv1a", 3, print, "builtins:print"])
def test_what_other_processes_would_not_find_is_refused(given: Any) -> None:
    if given is print:
        assert name_of(given) == "builtins:print", "it is found; what it gives is another matter"
        return
    with pytest.raises(TopologyError, match="partitioner") as refused:
        counting(partitioner=given)
    assert "function" in refused.value.hint


def test_an_inner_function_and_one_that_hides_another_have_no_name_for_others() -> None:
    def inner(_key: bytes, _count: int) -> int:
        return 0

    with pytest.raises(TopologyError, match="locals"):
        name_of(inner)
    inner.__qualname__ = "by_range"
    with pytest.raises(TopologyError, match="by_range is not found again by that name"):
        name_of(inner)


def test_one_that_is_gone_is_named() -> None:
    with pytest.raises(TopologyError, match="gone:nothing cannot be found"):
        partition_of(b"a", 2, "gone:nothing")
    with pytest.raises(TopologyError, match="HERE is no function"):
        partition_of(b"a", 2, f"{HERE}:HERE")


@pytest.mark.parametrize(("key", "why"), [(b"", "IndexError"), (b"{}", "gives 4 for key b'{}'")])
def test_one_that_fails_for_a_key_names_the_key(key: bytes, why: str) -> None:
    with pytest.raises(ProcessingError, match=why):
        partition_of(key, 4, name_of(by_range))


# -- topologies and layouts ------------------------------------------------------------------------


def test_a_topology_tells_what_was_declared() -> None:
    topology = counting(partitioner=by_range).topology()
    (source,) = as_dict(topology)["subtopologies"][0]["sources"]
    assert source["partitioner"] == f"{HERE}:by_range"
    assert f"placed by {HERE}:by_range" in text(topology)
    assert "placed by" not in text(counting().topology())


def test_layout_1_goes_by_what_is_declared_and_by_javas_where_nothing_is() -> None:
    for given, by in (
        (None, "murmur2"),
        ("consistent", "consistent"),
        (by_range, name_of(by_range)),
    ):
        planned = partitions(counting(partitioner=given).topology(), {"in": 4})
        own = planned.layout.subtopologies[0]
        assert (own.partitioner, own.tasks, own.width) == (by, 4, 4)


def test_a_later_layout_has_its_keys_where_it_was_built_for_them() -> None:
    first = partitions(counting(partitioner=by_range).topology(), {"in": 4})
    second = first.layout.folded({0: 2})
    for given in (by_range, None):
        own = partitions(counting(partitioner=given).topology(), {"in": 4}, second).layout
        assert own.subtopologies[0].partitioner == name_of(by_range)
        assert own.subtopologies[0].width == 4
    with pytest.raises(TopologyChangedError, match="the code declares consistent"):
        partitions(counting(partitioner="consistent").topology(), {"in": 4}, second)


def test_a_function_that_has_moved_is_the_same_where_its_former_module_has_it() -> None:
    first = partitions(counting(partitioner=by_range).topology(), {"in": 4})
    own = first.layout.folded({0: 2}).subtopologies[0]
    former = InputLayout(4, f"{HERE}:formerly_by_range")
    second = ApplicationLayout(Layout(2), {0: replace(own, inputs={"in": former})})
    planned = partitions(counting(partitioner=by_range).topology(), {"in": 4}, second)
    assert planned.layout == second


def test_a_layout_of_a_function_that_is_not_here_is_refused_at_the_start() -> None:
    first = partitions(counting().topology(), {"in": 4}).layout.folded({0: 2})
    inputs = {"in": InputLayout(4, "gone:nothing")}
    second = replace(first, subtopologies={0: replace(first.subtopologies[0], inputs=inputs)})
    with pytest.raises(TopologyError, match="gone:nothing cannot be found"):
        partitions(counting().topology(), {"in": 4}, second)


@pytest.mark.parametrize("declared", [by_range, None])
def test_a_topic_of_its_own_that_comes_later_is_not_placed_by_the_function(declared: Any) -> None:
    def prices(given: Any, *, is_joined: bool) -> App:
        app = App("app")
        table = app.table("in", key=str, value=int, store="prices", partitioner=given)
        if is_joined:
            moved = app.stream("other", key=str, value=int).repartition("own")
            moved.join(table, max, value=int).to("out")
        return app

    first = partitions(prices(by_range, is_joined=False).topology(), {"in": 4}).layout
    grown = first.moved({0: 6}, {0: "grow"})
    later = prices(declared, is_joined=True).topology()
    with pytest.raises(TopologyError, match="app-own-repartition murmur2"):
        partitions(later, {"in": 6, "other": 6}, grown)


def test_what_is_read_by_a_function_is_not_written_by_another_rule() -> None:
    app = counting(partitioner=by_range)
    orders = app.stream("orders", key=str, value=int)
    orders.to("elsewhere")
    # Another topic, whatever it is called for short.
    orders.repartition("in").group_by_key().count(store="orders")
    assert app.topology()
    orders.to("in")
    with pytest.raises(TopologyError, match=r"'in' is read as one whose keys .*by_range places"):
        app.topology()


def joined(one: Any, other: Any) -> App:
    app = App("app")
    prices = app.table("prices", key=str, value=int, store="prices", partitioner=other)
    sales = app.stream("sales", key=str, value=int, partitioner=one)
    sales.join(prices, lambda amount, price: amount * price).to("out")
    return app


def test_topics_that_share_state_have_one_partitioner_or_one_task() -> None:
    widths = {"prices": 4, "sales": 4}
    assert partitions(joined(by_range, by_range).topology(), widths).layout.task_count(0) == 4
    with pytest.raises(TopologyError, match="place keys differently"):
        partitions(joined(by_range, None).topology(), widths)
    alone = partitions(joined(by_range, None).topology(), {"prices": 1, "sales": 1})
    assert alone.layout.subtopologies[0].partitioner == "murmur2"


def test_parents_are_told_by_partitions_that_stay_as_many() -> None:
    layout = partitions(counting(partitioner=by_range).topology(), {"in": 12}).layout
    by_four, by_two = layout.folded({0: 4}), layout.folded({0: 2})
    four, two = by_four.subtopologies[0], by_two.subtopologies[0]
    assert list(four.parents(1, two)) == [1, 3]
    assert list(two.parents(3, four)) == [1]
    grown = layout.moved({0: 14}, {0: "grow"}).subtopologies[0]
    assert list(layout.subtopologies[0].parents(3, grown)) == list(range(12))
    assert (grown.width, grown.since) == (14, Layout(2))
