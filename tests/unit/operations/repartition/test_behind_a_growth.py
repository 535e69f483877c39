"""What stands behind a topic that was given more partitions: who reads after it, and the way
back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from streamer import App
from streamer.errors import OperationRefusedError
from streamer.ids import Layout
from streamer.operations.repartition import survey, switching
from streamer.operations.repartition.request import Asked, ask, read_request
from streamer.operations.repartition.way_back import way_back
from streamer.topology.partitions import partitions
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import INPUT, Shop, asked, counting, planned, started
from tests.unit.operations.repartition.test_growth import committed, grown_layout


@pytest.mark.parametrize(("tasks", "mode"), [(6, "routed"), (8, "fold")])
def test_a_growth_is_reverted_with_the_partitions_that_the_topic_has(tasks: int, mode: str) -> None:
    shop = Shop({0: tasks})
    record = started(shop)
    back = way_back(record, shop.executor().books(), Layout(2))
    assert (back.why_not, back.tasks, back.modes) == ("", {0: 4}, {0: mode})
    assert back.routed == ((INPUT,) if mode == "routed" else ())
    assert back.waits_for_strays
    later = way_back(record, shop.executor().books(), Layout(3))
    by = " --mode routed" if mode == "routed" else ""
    assert later.hint.endswith(f"streamer repartition plan 0=4{by}")
    # As a former release has planned it, which knew no way back.
    former = replace(read_request(record.request), one_way="4 does not divide").plain()
    told = way_back(replace(record, request=former), shop.executor().books(), Layout(2))
    assert told.why_not == "4 does not divide"
    assert ("--mode routed" in told.hint) == (mode == "routed")
    is_told = "which reads sales by way of topics of the application's own" in record.plan.lost[-1]
    assert is_told == (mode == "routed")

    layout = shop.asked.after.layout
    shop.next(ask(counting().topology(), layout, back.tasks, number="back-1", mode=back.modes))
    shop.broker.groups[NAME] |= committed(dict.fromkeys(range(tasks), True))
    reverted = started(shop)
    assert reverted.state == "done", reverted.trouble
    assert shop.is_copied()
    assert shop.told.layout is not None
    assert shop.told.layout.task_count(0) == 4
    assert shop.broker.topics[INPUT] == tasks


def test_there_is_no_way_back_from_a_growth_that_would_take_a_name_of_the_code() -> None:
    app = App(NAME)
    sales = app.stream(INPUT, key=str, value=int)
    sales.group_by_key().count(store="totals")
    for name in (f"{INPUT}-routed", "cities"):
        sales.group_by(lambda _key, _value: "one", key=str, name=name).count(store=name)
    assert "repartition 'sales-routed' has the name of the topic" in asked({0: 6}, app).one_way


def test_what_is_read_behind_a_grown_topic_keeps_its_width() -> None:
    app, after = counting(), grown_layout()
    found = partitions(app.topology(), {INPUT: 6}, after)
    assert found.internal[f"{NAME}-cities-repartition"] == 4
    assert found.internal[f"{NAME}-cities-changelog"] == 4
    assert [found.task_count(number) for number in (0, 1)] == [6, 4]
    before = planned(app)
    survey._check_begun(before, found, asked({0: 6}))


def test_few_unproven_rows_are_waited_for_so_often_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a function of the code is called for each row, and more come all the time."""
    proofs: list[int] = []
    prove_all = switching.prove_all

    def counted(world: Any, asked: Asked, work: Any) -> int:
        proofs.append(1)
        return prove_all(world, asked, work)

    monkeypatch.setattr(switching, "prove_all", counted)
    monkeypatch.setattr(switching, "_UNPROVEN_CALLED_MAX", -1)
    for calls_code, wanted in ((False, 0), (True, 3)):
        monkeypatch.setattr(Asked, "calls_code", property(lambda _asked, told=calls_code: told))
        proofs.clear()
        assert started(Shop()).state == "done"
        assert len(proofs) == wanted


def test_a_topic_is_as_wide_as_recorded_whichever_part_reads_it_now() -> None:
    """A release has put a step of its own before that one."""
    app = App(NAME)
    sales = app.stream(INPUT, key=str, value=int)
    sales.group_by_key().count(store="totals")
    for name in ("regions", "cities"):
        sales.group_by(lambda _key, _value: "one", key=str, name=name).count(store=name)
    found = partitions(app.topology(), {INPUT: 6}, grown_layout())
    assert found.internal[f"{NAME}-cities-changelog"] == 4
    assert found.internal[f"{NAME}-regions-changelog"] == 6, "it is new"
    fixed = App(NAME)
    by_city = fixed.stream(INPUT, key=str, value=int).select_key(
        lambda _key, _value: "one", key=str
    )
    by_city.repartition("cities", partitions=4).group_by_key().count(store="cities")
    alone = partitions(fixed.topology(), {INPUT: 6}, None)
    assert alone.internal[f"{NAME}-cities-changelog"] == 4, "where no layout is recorded"


def test_one_that_is_folded_leaves_those_behind_it_as_they_are() -> None:
    app = App(NAME)
    sales = app.stream(INPUT, key=str, value=int)
    first = sales.group_by(lambda _key, _value: "one", key=str, name="first").count(store="first")
    second = first.stream().select_key(lambda _key, _value: "two", key=str)
    second.repartition("second").merge(app.stream("other", key=str, value=int)).to("out")
    made, counts = app.topology(), {INPUT: 4, "other": 4}
    before = partitions(made, counts, None)
    one = ask(made, before.layout, {1: 2}, number="fold-1")
    after = partitions(made, counts, one.after.layout)
    assert after.internal[f"{NAME}-second-repartition"] == 4
    survey._check_begun(before, after, one)


def test_a_topic_that_stays_and_would_have_to_be_wider_is_named() -> None:
    app = App(NAME)
    sales = app.stream(INPUT, key=str, value=int)
    sales.group_by_key().count(store="totals")
    app.stream("other", key=str, value=int).group_by_key().count(store="others")
    made = app.topology()
    assert len(made.subtopologies) == 2
    before = partitions(made, {INPUT: 4, "other": 4}, None)
    alone = ask(made, before.layout, {0: 6}, number="grow-1")
    # As it would be if what the second one reads became wider, too.
    after = partitions(made, {INPUT: 6, "other": 6}, alone.after.layout)
    with pytest.raises(
        OperationRefusedError, match="app-others-changelog has 4 partitions, and would need 6"
    ):
        survey._check_begun(before, after, alone)
