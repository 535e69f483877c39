"""A topic of others is given more partitions: what is planned, in which order it is done, and what
is in the way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, TumblingWindows
from streamer.errors import ConfigError, KafkaUnavailableError, OperationRefusedError, TopologyError
from streamer.ids import Layout, TaskId, TopicPartition
from streamer.kafka.api import Committed
from streamer.layout import ApplicationLayout
from streamer.operations.repartition import survey
from streamer.operations.repartition.modes import modes
from streamer.operations.repartition.own_topics import own_places
from streamer.operations.repartition.partitioners import placed_by, with_partitioner
from streamer.operations.repartition.positions import expecting, next_positions
from streamer.operations.repartition.request import Asked, ask, read_request
from streamer.task.metadata import Metadata, input_mark
from streamer.topology.declared import name_of
from streamer.topology.partitioner import partition_of
from streamer.topology.partitions import partitions
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import INPUT, Shop, asked, counting, planned, started

STRAYS = f"{NAME}-{INPUT}-strays.layout-2"
WIDTHS = {INPUT: 4}


def grown_layout() -> ApplicationLayout:
    return asked({0: 6}).after.layout


def test_more_tasks_than_partitions_are_more_partitions_and_a_topic_for_strays() -> None:
    one = asked({0: 6})
    own = one.after.layout.subtopologies[0]
    assert (own.mode, own.tasks, own.inputs[INPUT].partitions) == ("grow", 6, 6)
    assert one.grown == {INPUT: 6}
    assert one.inputs == {INPUT: 4}, "as it is when it is planned"
    assert one.repartition == {STRAYS: 6}
    assert one.one_way == ""
    assert read_request(one.plain()) == one


@pytest.mark.parametrize(
    ("tasks", "mode", "found"),
    [
        ({0: 2}, None, "fold"),
        ({0: 5}, None, "grow"),
        ({1: 9}, None, "fold"),
        ({0: 8}, "grow", "grow"),
    ],
)
def test_the_mode_is_that_which_changes_least(tasks: dict[int, int], mode: Any, found: str) -> None:
    assert set(modes(planned(counting()).layout, tasks, mode).values()) == {found}


@pytest.mark.parametrize(
    ("tasks", "mode", "told"),
    [
        ({0: 2}, "grow", "sales .4. cannot be given 2 partitions"),
        ({1: 6}, "grow", "topics of the application's own alone"),
        ({0: 6}, "fold", "its widest topic has 4 partitions"),
        ({0: 4}, None, "nothing would change"),
    ],
)
def test_what_is_no_growth_is_refused(tasks: dict[int, int], mode: Any, told: str) -> None:
    topology = counting().topology()
    with pytest.raises((TopologyError, OperationRefusedError), match=told):
        ask(topology, planned(counting()).layout, tasks, number="grow-1", mode=mode)


def test_topics_that_are_joined_grow_together() -> None:
    app = App(NAME)
    prices = app.table("prices", key=str, value=int, store="prices")
    app.stream(INPUT, key=str, value=int).join(prices, lambda one, other: one * other).to("out")
    made = app.topology()
    layout = partitions(made, {INPUT: 4, "prices": 4}, None).layout
    one = ask(made, layout, {0: 6}, number="grow-1")
    assert one.grown == {INPUT: 6, "prices": 6}
    assert one.repartition == {STRAYS: 6, f"{NAME}-prices-strays.layout-2": 6}


# -- by which partitioner ------------------------------------------------------------------------


def placed(by: Any, width: int = 4) -> dict[TopicPartition, list[bytes]]:
    found: dict[TopicPartition, list[bytes]] = {}
    for number in range(200):
        key = f"customer-{number}".encode()
        found.setdefault(TopicPartition(INPUT, partition_of(key, width, by)), []).append(key)
    return found


@pytest.mark.parametrize("by", ["murmur2", "consistent"])
def test_records_tell_by_which_partitioner_they_were_placed(by: Any) -> None:
    assert placed_by(placed(by), WIDTHS, "murmur2") == {INPUT: (by, 200)}


def test_without_records_that_tell_it_is_what_was_expected() -> None:
    assert placed_by({}, WIDTHS, "consistent") == {INPUT: ("consistent", 0)}
    alone = placed("murmur2", 1)
    assert placed_by(alone, {INPUT: 1}, "consistent") == {INPUT: ("consistent", 0)}


def test_a_producer_of_another_mind_is_found_with_one_of_its_records() -> None:
    keys = placed("murmur2")
    keys[TopicPartition(INPUT, 0)].append(b"customer-1")
    assert partition_of(b"customer-1", 4) != 0
    with pytest.raises(OperationRefusedError, match="1 of 201 by murmur2") as refused:
        placed_by(keys, WIDTHS, "murmur2")
    assert "key b'customer-1' in sales/0" in refused.value.message


def by_length(key: bytes, count: int) -> int:
    return len(key) * count // 100


def strict(key: bytes, _count: int) -> int:
    return int(key)


def test_what_is_declared_is_held_against_records_and_no_other_is_tried() -> None:
    by = name_of(by_length)
    keys = {TopicPartition(INPUT, 0): [b"a" * 24], TopicPartition(INPUT, 3): [b"b" * 75]}
    assert placed_by(keys, WIDTHS, by, is_declared=True) == {INPUT: (by, 2)}
    with pytest.raises(OperationRefusedError, match=r"200 of 200 by .*:by_length") as refused:
        placed_by({TopicPartition(INPUT, 1): [b"customer-1"] * 200}, WIDTHS, by, is_declared=True)
    assert f"partition 0 by {by}" in refused.value.message
    java = {TopicPartition(INPUT, partition_of(b"a", 4)): [b"a"]}
    assert partition_of(b"a", 4, "consistent") != partition_of(b"a", 4)
    with pytest.raises(OperationRefusedError, match="1 of 1 by consistent"):
        placed_by(java, WIDTHS, "consistent", is_declared=True)
    assert placed_by(java, WIDTHS, "consistent") == {INPUT: ("murmur2", 1)}
    unknown = {TopicPartition(INPUT, 1): [b"mended"]}
    with pytest.raises(OperationRefusedError, match=r"a key of sales/1 .* for key b'mended'"):
        placed_by(unknown, WIDTHS, name_of(strict), is_declared=True)


def test_copies_go_by_the_partitions_that_a_declared_partitioner_knows() -> None:
    layout = with_partitioner(planned(counting()).layout, 0, name_of(by_length))
    here, there = ask(counting().topology(), layout, {0: 2}, number="f-1").feeds[0].homes()
    assert (here.tasks, here.partitions) == (4, 4)
    assert (there.tasks, there.partitions, there.partitioner) == (2, 4, by_length)
    here, there = ask(counting().topology(), layout, {0: 6}, number="g-1").feeds[0].homes()
    assert (here.partitions, there.partitions, there.tasks) == (4, 6, 6)


def test_final_results_are_not_moved_by_a_declared_partitioner() -> None:
    app = App(NAME)
    sales = app.stream(INPUT, key=str, value=int, partitioner=by_length).group_by_key()
    hourly = sales.windowed_by(TumblingWindows(timedelta(hours=1)))
    hourly.count(store="hourly", emit="final").to("out")
    made = app.topology()
    layout = partitions(made, {INPUT: 4}, None).layout
    with pytest.raises(OperationRefusedError, match="store hourly passes on final results of keys"):
        ask(made, layout, {0: 2}, number="f-1")


def test_both_layouts_and_the_copies_go_by_the_partitioner_that_was_found() -> None:
    layout = with_partitioner(planned(counting()).layout, 0, "consistent")
    one = ask(counting().topology(), layout, {0: 6}, number="grow-1")
    assert one.after.layout.subtopologies[0].partitioner == "consistent"
    here, there = one.feeds[0].homes()
    assert (here.name, there.name) == ("consistent", "consistent")
    assert (here.tasks, there.tasks) == (4, 6)


# -- what is done --------------------------------------------------------------------------------


def test_the_topic_grows_behind_the_record_and_its_new_partitions_are_told_by_their_strays() -> (
    None
):
    shop = Shop({0: 6})
    seen: list[tuple[int, bool]] = []
    create = shop.broker.create

    def creating(topic: str, partitions: int) -> None:
        if topic == INPUT:
            seen.append((partitions, shop.told.layout_is_next(shop.asked)))
        create(topic, partitions)

    shop.broker.create = creating  # type: ignore[method-assign]
    record = started(shop)
    assert record.state == "done", record.trouble
    assert seen == [(6, True)]
    assert shop.broker.topics[STRAYS] == 6
    group = shop.broker.groups[NAME]
    assert sorted(place.partition for place in group if place.topic == INPUT) == [0, 1, 2, 3]
    assert [group[TopicPartition(STRAYS, one)].position for one in range(6)] == [0] * 6
    notes = [Metadata.decode(group[TopicPartition(STRAYS, one)].metadata) for one in range(6)]
    assert {input_mark(INPUT), input_mark(STRAYS)} <= notes[3].marks
    assert input_mark(INPUT) not in notes[4].marks, "its task has not read anything of the topic"
    assert notes[5].stream_time_ms == 103, "of all that may have had its keys"
    assert shop.is_copied()
    assert "then give sales 6 partitions, where it has 4" in record.plan.steps[5].summary
    assert "sales has 6 partitions for good" in record.plan.lost[0]


def test_a_growth_that_the_brokers_would_refuse_is_refused_before_anything_is_done() -> None:
    shop = Shop({0: 6})
    shop.ungrown = ConfigError("not allowed: Alter on topic sales")
    with pytest.raises(ConfigError, match="Alter on topic sales"):
        shop.executor().plan("repartition", shop.asked.plain())


def test_where_the_topic_could_not_grow_after_the_switch_it_is_gone_on_with() -> None:
    shop = Shop({0: 6})

    def take_away() -> None:
        shop.ungrown = KafkaUnavailableError("away")

    shop.at_pause = take_away
    record = started(shop)
    assert (record.state, shop.broker.topics[INPUT]) == ("failed", 4)
    assert shop.told.layout == shop.asked.after.layout
    shop.ungrown = None
    assert shop.executor().resume(record.id).state == "done"
    assert shop.broker.topics[INPUT] == 6


# -- out of a layout that has strays -------------------------------------------------------------


def folding_back() -> Asked:
    one = ask(counting().topology(), grown_layout(), {0: 3}, number="fold-2")
    assert one.after.layout.subtopologies[0].mode == "fold"
    return one


def committed(quiet: Mapping[int, bool], *, ahead: int = 10) -> dict[TopicPartition, Committed]:
    """Tasks of the layout that was grown, at 10, which have forwarded so far `ahead`."""
    marks = frozenset({input_mark(INPUT), input_mark(STRAYS)})
    known = {input_mark(INPUT): ahead}
    return {
        TopicPartition(topic, task): Committed(
            10, Metadata(50, marks, forwarded=known, stray_ms=40, is_quiet=is_quiet).encode()
        )
        for topic in (INPUT, STRAYS)
        for task, is_quiet in quiet.items()
    }


def test_a_layout_is_left_once_none_of_its_tasks_expects_strays() -> None:
    one = folding_back()
    assert {place.topic for place in own_places(one.before)} >= {STRAYS}, (
        "worked off inside the pause"
    )
    calm = committed(dict.fromkeys(range(6), True))
    behind = committed(dict.fromkeys(range(6), True), ahead=12)
    assert expecting(one, behind) == [TaskId(0, task) for task in range(6)], "would come twice"
    assert expecting(one, calm) == []
    assert expecting(one, committed({**dict.fromkeys(range(6), True), 4: False})) == [TaskId(0, 4)]
    assert expecting(one, {}) == [TaskId(0, task) for task in range(6)]
    assert expecting(asked({0: 2}), {}) == [], "where no topic was grown there are none"


def test_what_was_known_of_strays_is_left_behind() -> None:
    found = next_positions(folding_back(), committed(dict.fromkeys(range(6), True)))
    notes = [Metadata.decode(each.metadata) for each in found.values()]
    assert all(note.marks == {input_mark(INPUT)} for note in notes)
    assert all((note.forwarded, note.stray_ms, note.is_quiet) == ({}, -1, False) for note in notes)
    assert {place.topic for place in found} == {INPUT}


def test_another_growth_has_strays_of_its_own() -> None:
    one = ask(counting().topology(), grown_layout(), {0: 9}, number="grow-2")
    assert one.repartition == {f"{NAME}-{INPUT}-strays.layout-3": 9}
    assert one.crossed == [0]
    assert one.after.layout.number == Layout(3)


def test_a_plan_is_refused_while_strays_are_expected() -> None:
    shop = Shop({0: 6})
    assert started(shop).state == "done"
    shop.next(ask(counting().topology(), shop.asked.after.layout, {0: 3}, number="fold-2"))
    shop.broker.groups[NAME] |= committed(dict.fromkeys(range(6), False))
    with pytest.raises(
        OperationRefusedError, match="6 tasks expect strays, or have some before them"
    ):
        shop.executor().plan("repartition", shop.asked.plain())


def test_who_wakes_under_another_layout_grows_nothing() -> None:
    """Its own layout was never recorded: another operation has made one of the same number."""
    shop = Shop({0: 6})

    def in_between() -> None:
        shop.told.layout = asked({0: 2}).after.layout

    shop.at_right = in_between
    started(shop)
    assert shop.told.layout is not None
    assert shop.told.layout.task_count(0) == 2
    assert shop.broker.topics[INPUT] == 4


def test_a_topic_that_somebody_else_has_grown_meanwhile_stops_it_before_the_pause() -> None:
    shop = Shop({0: 6})
    paused: list[int] = []
    shop.at_pause = lambda: paused.append(1)
    shop.after_copy = lambda: shop.broker.create(INPUT, 8)
    record = started(shop)
    assert (record.state, paused) == ("failed", [])
    assert "sales has 8 partitions, and had 4 when this was planned" in record.trouble.message


def test_without_state_there_is_nothing_to_move() -> None:
    app = App(NAME)
    app.stream(INPUT, key=str, value=int).map_values(lambda one: one).to("out")
    with pytest.raises(OperationRefusedError, match="keeps no state, so nothing has to be moved"):
        asked({0: 6}, app)


def test_records_are_looked_at_while_no_layout_says_where_keys_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A topic that has grown keeps records that were placed by the former number."""
    looked: list[dict[str, int]] = []

    def sampled(_config: Any, _admin: Any, widths: dict[str, int]) -> dict[TopicPartition, Any]:
        looked.append(widths)
        return {}

    monkeypatch.setattr(survey, "sampled_keys", sampled)
    nowhere: Any = None
    survey._with_partitioners(nowhere, nowhere, asked({0: 6}), {})
    assert looked == [{INPUT: 4}]
    folded = ask(counting().topology(), grown_layout(), {0: 3}, number="fold-2").after.layout
    again = ask(counting().topology(), folded, {0: 12}, number="grow-2")
    assert survey._with_partitioners(nowhere, nowhere, again, {})[1] == {}
    assert len(looked) == 1
