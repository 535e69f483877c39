"""A subtopology is put behind topics of the application's own, over any number of tasks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streamer.errors import OperationRefusedError
from streamer.ids import Layout, TaskId, TopicPartition
from streamer.kafka.api import Committed
from streamer.operations.repartition.own_topics import own_places
from streamer.operations.repartition.partitioners import with_partitioner
from streamer.operations.repartition.positions import next_positions
from streamer.operations.repartition.request import Asked, ask, read_request
from streamer.operations.repartition.survey import subtopology_named
from streamer.operations.repartition.way_back import way_back
from streamer.store.closing import Passed
from streamer.task.metadata import Metadata, input_mark, store_mark
from streamer.topology.routed import routed
from streamer.topology.stores import StoreKind
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import (
    INPUT,
    OWN,
    Shop,
    asked,
    counting,
    final,
    planned,
    started,
)

FIRST = f"{NAME}-{INPUT}-routed-repartition"
ROUTED = f"{FIRST}.layout-2"
TOTALS = store_mark("totals", StoreKind.WINDOW)


def test_it_has_a_topic_of_its_own_and_an_ingress_has_the_topic() -> None:
    one = asked({0: 3}, mode="routed")
    own, ingress = (one.after.layout.subtopologies[number] for number in (0, 2))
    assert (own.mode, own.tasks, list(own.inputs)) == ("routed", 3, [FIRST])
    assert (ingress.tasks, ingress.is_first, ingress.keeps_state) == (4, True, False)
    assert list(ingress.inputs) == [INPUT]
    assert one.moved == [0]
    assert (one.taken_over, one.grown) == ({INPUT: 4}, {})
    assert one.repartition == {ROUTED: 3}
    assert read_request(one.plain()) == one


def test_keys_go_from_where_producers_place_them_to_murmur2() -> None:
    layout = with_partitioner(planned(counting()).layout, 0, "consistent")
    one = ask(counting().topology(), layout, {0: 2}, number="routed-1", mode="routed")
    here, there = one.feeds[0].homes()
    assert (here.name, there.name) == ("consistent", "murmur2")
    assert list(layout.subtopologies[0].parents(1, one.after.layout.subtopologies[0])) == [
        *range(4)
    ], "two hashes say nothing of each other"


def test_what_all_of_them_have_passed_on_is_known_to_each_of_another_partitioner() -> None:
    app = final()
    layout = with_partitioner(planned(app).layout, 0, "consistent")
    one = ask(app.topology(), layout, {0: 8}, number="routed-1", mode="routed")
    marks = frozenset({input_mark(INPUT), TOTALS})
    found = next_positions(
        one,
        {
            TopicPartition(INPUT, partition): Committed(
                7, Metadata(5_000 + 1_000 * partition, marks).encode()
            )
            for partition in range(4)
        },
    )
    own = [place for place in found if place.topic != INPUT]
    assert len(own) == 8
    for place in own:
        note = Metadata.decode(found[place].metadata)
        times = {n: 5_000 + 1_000 * n for n in range(4)}
        assert note.passed == {TOTALS: Passed(4, "consistent", times)}


def test_the_ingress_goes_on_where_the_tasks_had_come_to() -> None:
    one = asked({0: 3}, mode="routed")
    committed = {
        TopicPartition(topic, partition): Committed(
            10 * partition, Metadata(partition, frozenset({input_mark(topic), "5tore"})).encode()
        )
        for topic in (INPUT, OWN)
        for partition in range(4)
    }
    found = next_positions(one, committed)
    assert {place for place in found if place.topic == INPUT} == {
        TopicPartition(INPUT, partition) for partition in range(4)
    }
    for partition in range(4):
        taken = found[TopicPartition(INPUT, partition)]
        note = Metadata.decode(taken.metadata)
        assert (taken.position, note.stream_time_ms) == (10 * partition, partition)
        assert note.marks == {input_mark(INPUT)}, "it keeps nothing"
    for task in range(3):
        begun = found[TopicPartition(ROUTED, task)]
        note = Metadata.decode(begun.metadata)
        assert (begun.position, note.stream_time_ms) == (0, 3)
        assert note.marks == {input_mark(ROUTED), "5tore"}


def test_it_is_carried_out_there_and_to_another_number() -> None:
    shop = Shop({0: 3}, mode="routed")
    record = started(shop)
    assert record.state == "done", record.trouble
    assert shop.broker.topics[ROUTED] == 3
    assert shop.broker.topics[INPUT] == 4
    assert {TaskId(2, task) for task in range(4)} <= shop.told.goal.keys()
    assert shop.is_copied()
    assert any(
        "sales is read by way of a topic of the application's own" in one
        for one in record.plan.lost
    )
    back = way_back(record, shop.executor().books(), Layout(2))
    assert (back.why_not, back.tasks, back.modes) == ("", {0: 4}, {0: "routed"})
    assert back.routed == (), "it is taken over already"
    # As former releases have planned it.
    former = replace(read_request(record.request), one_way="is routed, and stays so").plain()
    told = way_back(replace(record, request=former), shop.executor().books(), Layout(2))
    assert told.hint.endswith("whether another one can: streamer repartition plan 0=4")

    shop.next(again(shop))
    assert started(shop).state == "done"
    assert shop.broker.topics[f"{FIRST}.layout-3"] == 1


def again(shop: Shop) -> Asked:
    layout = shop.asked.after.layout
    one = ask(routed(counting().topology(), layout), layout, {0: 1}, number="routed-2")
    assert one.after.layout.subtopologies[0].mode == "routed"
    assert (one.taken_over, one.inputs, one.one_way) == ({}, {}, "")
    assert TopicPartition(ROUTED, 2) in own_places(one.before), "worked off inside the pause"
    return one


def test_what_is_routed_with_as_many_tasks_as_before_has_no_way_back() -> None:
    one = asked({0: 4}, mode="routed")
    assert one.one_way == "the numbers of tasks are the former ones, and what is routed stays so"


def test_the_topic_stays_the_name_of_what_reads_it_by_way_of_another() -> None:
    layout = asked({0: 3}, mode="routed").after.layout
    told = routed(counting().topology(), layout)
    assert subtopology_named(told, INPUT) == 0
    assert subtopology_named(told, "2") == 2
    with pytest.raises(OperationRefusedError, match="subtopology 2 takes sales over for another"):
        ask(told, layout, {2: 2}, number="fold-2")
