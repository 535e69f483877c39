"""What is asked for, and what is refused before anything is done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from streamer import App, Store, TumblingWindows
from streamer.cluster.outline import outline_of, topology_of
from streamer.errors import OperationRefusedError, TopologyError
from streamer.ids import TaskId
from streamer.operations.repartition import kind
from streamer.operations.repartition.code import specs_of
from streamer.operations.repartition.kind import check_code_given
from streamer.operations.repartition.own_topics import internal_topics, own_places
from streamer.operations.repartition.request import ask, read_request
from streamer.operations.repartition.survey import subtopology_named
from streamer.topology.graph import Topology
from streamer.topology.partitions import partitions
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import INPUT, asked, counting, final, planned


def test_a_fold_of_both_parts() -> None:
    one = asked({0: 2, 1: 8})
    assert one.moved == [0, 1]
    assert one.changelogs == {
        "app-totals-changelog.layout-2": 2,
        "app-cities-changelog.layout-2": 8,
    }
    assert one.repartition == {"app-cities-repartition.layout-2": 8}
    assert one.inputs == {INPUT: 4}
    assert one.shadows == [TaskId(0, task) for task in range(2)] + [
        TaskId(1, task) for task in range(8)
    ]
    assert len(one.sources) == 8
    assert {place.topic for place in own_places(one.before)} == {"app-cities-repartition"}


def test_a_part_that_does_not_change_keeps_what_it_has() -> None:
    one = asked({0: 4, 1: 2})
    assert one.moved == [1]
    assert one.inputs == {}
    assert internal_topics(NAME, one.after.layout, 0) == {}


def test_it_is_read_as_it_was_written() -> None:
    one = asked({0: 2, 1: 2})
    plain = msgspec.json.decode(msgspec.json.encode(one.plain()))
    assert read_request(plain) == one


@pytest.mark.parametrize(
    "change",
    [
        {"after": {}},
        {"surprise": 1},
        {"feeds": [{}]},
    ],
)
def test_another_thing_is_no_request(change: dict[str, Any]) -> None:
    with pytest.raises(OperationRefusedError, match="no request of a repartition"):
        read_request({**asked({0: 2}).plain(), **change})


def test_layouts_that_do_not_follow_are_no_request() -> None:
    plain = asked({0: 2}).plain()
    plain["after"] = asked({1: 2}).plain()["before"]
    with pytest.raises(OperationRefusedError, match="no request of a repartition"):
        read_request(plain)


def test_a_number_that_divides_nothing_is_refused_with_those_that_do() -> None:
    with pytest.raises(TopologyError, match="3 does not divide") as refused:
        asked({0: 3})
    assert "possible: 1, 2, 4" in refused.value.hint


def test_what_changes_nothing_is_refused() -> None:
    with pytest.raises(OperationRefusedError, match="nothing would change"):
        asked({0: 4})


def test_what_passes_on_final_results_is_named() -> None:
    [store] = asked({0: 2}, final()).finals
    assert (store.subtopology, store.name, store.kind.value) == (0, "totals", "window")


def test_what_is_known_of_too_many_tasks_has_no_room_beside_a_position() -> None:
    with pytest.raises(OperationRefusedError, match="would be made of 400, and 1 of its stores"):
        asked({0: 1}, final(), width=400)
    assert asked({0: 2}, final(), width=400).finals
    assert asked({0: 1}, final(), width=200).finals


def test_final_results_that_come_to_other_windows_would_be_late() -> None:
    app = App(NAME)
    windows, longer = (TumblingWindows(timedelta(seconds=each)) for each in (1, 60))
    closed = app.stream(INPUT, key=str, value=int).group_by_key().windowed_by(windows)
    counts = closed.count(store="seconds", emit="final").stream()
    counts.group_by_key().windowed_by(longer).count(store="minutes")
    for topology in (app.topology(), topology_of(NAME, outline_of(app.topology()))):
        holds = partitions(topology, {INPUT: 4}).layout
        with pytest.raises(OperationRefusedError, match="final results of store seconds come to"):
            ask(topology, holds, {0: 2}, number="fold-1")
        assert ask(topology, holds, {0: 8}, number="grow-1", mode="grow").finals


def test_final_results_of_a_task_may_become_those_of_several() -> None:
    app = final()
    halved = planned(app).layout.folded({0: 2})
    one = ask(app.topology(), halved, {0: 4}, number="fold-2")
    assert one.changelogs == {"app-totals-changelog.layout-3": 4}


def of_customer(key: tuple[str, str]) -> str:
    return key[1]


def test_whose_a_row_is_says_a_function_of_the_code_and_is_asked_for_by_its_name() -> None:
    def keep(_record: Any, _context: Any) -> None: ...

    app = App(NAME)
    store = Store("kept", tuple[str, str], str, partition_key=of_customer)
    app.stream(INPUT, key=str, value=int).process(keep, stores=[store])
    one = asked({0: 2}, app)
    (plan,) = one.feeds
    assert plan.stores[0].partition_key == f"{__name__}:of_customer"
    (spec,) = specs_of(one, plan, code=app.topology, registry={})
    assert spec.encode_partition_key(of_customer(spec.key.decode(b'["x","ann"]'))) == b"ann"
    assert plan.bound([spec]) == {"kept": spec}
    assert one.calls_code

    with pytest.raises(OperationRefusedError, match="another topology than this was planned for"):
        specs_of(one, plan, code=counting().topology, registry={})
    assert specs_of(one, plan, code=None, registry={}) == ()
    with pytest.raises(OperationRefusedError, match="here it is not known") as refused:
        plan.bound(())
    assert "--app MODULE:APP" in refused.value.hint
    told = topology_of(NAME, outline_of(app.topology()))
    holds = planned(app).layout
    with pytest.raises(OperationRefusedError, match="of_customer, and the application's code is"):
        ask(told, holds, {0: 2}, number="fold-1")


def test_without_the_code_that_is_refused_before_anything_is_done() -> None:
    def keep(_record: Any, _context: Any) -> None: ...

    class World:
        def specs(self, _asked: Any, _plan: Any) -> tuple[()]:
            return ()

    app = App(NAME)
    store = Store("kept", tuple[str, str], str, partition_key=of_customer)
    app.stream(INPUT, key=str, value=int).process(keep, stores=[store])
    world: Any = World()
    with pytest.raises(OperationRefusedError, match="store kept of operation fold-1 is"):
        check_code_given(asked({0: 2}, app), world)
    check_code_given(asked({0: 2}), world)
    alone = planned(app).layout.folded({0: 1})
    one = ask(app.topology(), alone, {0: 4}, number="fold-2")
    assert one.unchecked == ("kept",)
    (told,) = kind._unchecked(one)
    assert f"go where {__name__}:of_customer says" in told


def test_the_code_is_not_asked_for_where_rows_belong_to_their_own_keys() -> None:
    def code() -> Topology:
        raise AssertionError("nobody needs it")

    one = asked({0: 2, 1: 2})
    assert not one.calls_code
    for plan in one.feeds:
        assert specs_of(one, plan, code=code, registry={}) == ()


def test_rows_that_one_task_had_by_keys_of_their_own_are_told() -> None:
    def keep(_record: Any, _context: Any) -> None: ...

    app = App(NAME)
    app.stream(INPUT, key=str, value=int).process(keep, stores=[Store("kept", str, str)])
    assert asked({0: 2}, app).unchecked == (), "of four tasks feeds look at each row"
    one = planned(app).layout.folded({0: 1})
    assert ask(app.topology(), one, {0: 4}, number="fold-2").unchecked == ("kept",)


def test_a_part_is_named_by_its_number_or_by_what_it_reads() -> None:
    topology = counting().topology()
    assert subtopology_named(topology, INPUT) == 0
    assert subtopology_named(topology, "cities") == 1
    assert subtopology_named(topology, "1") == 1
    with pytest.raises(OperationRefusedError, match="neither a subtopology nor a topic") as refused:
        subtopology_named(topology, "2")
    assert refused.value.hint == "possible: 0, 1, sales, cities"
