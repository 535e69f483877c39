"""What the controller tells of a topology is all that a change of the layout goes by."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from streamer import App, HoppingWindows, SessionWindows, Store, TumblingWindows
from streamer.cluster.outline import outline_of, topology_of
from streamer.cluster.work import Work
from streamer.config import Config
from streamer.control.requests import PlanRecord, decode, encode
from streamer.errors import OperationRefusedError, TopologyError
from streamer.feed.plan import FeedPlan
from streamer.ids import Layout
from streamer.operations.repartition import survey
from streamer.operations.repartition.request import Asked, ask
from streamer.operations.repartition.survey import told_topology, wished
from streamer.split.move import closing_lags
from streamer.topology.graph import Topology
from streamer.topology.partitions import external_topics, partitions
from streamer.topology.shape import shape_of
from tests.broker.applications import counts, daily, folding, shop, tally
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import counting

HOUR = timedelta(hours=1)


def city(key: tuple[str, str]) -> str:
    return key[0]


def by_letter(key: bytes, count: int) -> int:
    return key[0] * count // 256


def look(_record: Any, _context: Any) -> None:
    """What it does is not part of a topology."""


def every_kind() -> App:
    """Each kind of store and window, shared and joined, in three parts."""
    app = App(NAME)
    customers = app.table("customers", key=str, value=str, store="customers")
    sales = app.stream("sales", key=str, value=int)
    sales.join(customers, lambda amount, _name: amount, value=int).to("named")
    grouped = sales.group_by_key()
    grouped.count(store="totals")
    sales.process(look, stores=[Store("totals")])
    hourly, sliding = TumblingWindows(HOUR, grace=HOUR), HoppingWindows(2 * HOUR, HOUR)
    grouped.windowed_by(hourly).count(store="hourly", emit="final")
    grouped.windowed_by(sliding).count(store="sliding")
    visits = SessionWindows(HOUR, grace=2 * HOUR)
    grouped.windowed_by(visits).count(store="visits", emit="final")
    seen = Store("seen", key=tuple[str, str], value=int, partition_key=city)
    cities = app.stream("cities", key=str, value=int, partitioner=by_letter)
    cities.process(look, stores=[seen])
    sales.group_by(lambda key, _value: key[:1], key=str, name="letters").count(store="letters")
    return app


APPS = {
    "counting": counting,
    **{one.__name__: (lambda one=one: one.app) for one in (counts, daily, folding, shop, tally)},
    "every kind": every_kind,
}


def told(app: Any) -> tuple[Topology, Topology]:
    """The topology, and what somebody makes of it who has read the record."""
    real = app().topology()
    work = Work.of(real, (), Config(application_id=real.application_id))
    record = PlanRecord(controller="w1", outline=work.outline, application=real.application_id)
    topic = f"{real.application_id}.operations"
    read = decode(PlanRecord, topic, encode(record, real.application_id))
    return real, topology_of(real.application_id, read.outline)


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
def test_a_told_topology_has_the_shape_and_the_stores_of_the_real_one(app: Any) -> None:
    real, made = told(app)
    assert shape_of(made).digest == shape_of(real).digest
    assert outline_of(made) == outline_of(real)
    for one, other in zip(real.subtopologies, made.subtopologies, strict=True):
        assert closing_lags(one) == closing_lags(other)
        kinds = [[(spec.name, spec.kind) for spec in each.stores] for each in (one, other)]
        assert kinds[0] == kinds[1]


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
@pytest.mark.parametrize("tasks", [1, 2, 8])
def test_the_same_is_asked_for_or_refused_by_the_code_and_by_what_was_told(
    app: Any, tasks: int
) -> None:
    real, made = told(app)
    read, _written = external_topics(real)
    layout = partitions(real, dict.fromkeys(read, 4)).layout

    def outcome(topology: Topology, number: int) -> Asked | tuple[str, str]:
        try:
            return ask(topology, layout, {number: tasks}, number="op")
        except (OperationRefusedError, TopologyError) as refused:
            return str(refused), refused.hint

    for number, part in enumerate(real.subtopologies):
        told_one = outcome(made, number)
        if tasks != 4 and any(spec.partition_key for spec in part.stores):
            # The one thing that only the code knows: whose a row is.
            assert "the application's code is not here" in told_one[0]  # type: ignore[index]
        else:
            assert told_one == outcome(real, number)


def test_a_function_that_says_whose_a_row_is_is_known_by_its_name_alone() -> None:
    real, made = told(every_kind)
    number = real.subtopology_of_store("seen").number
    layout = partitions(real, {"customers": 4, "sales": 4, "cities": 4}).layout
    side = layout.subtopologies[number]
    plans = [
        FeedPlan.of(
            one, number, operation="op", source=side, target=side.moved(2, Layout(2), "fold")
        )
        for one in (real, made)
    ]
    assert plans[0] == plans[1]
    function = made.subtopology_of_store("seen").stores[0].partition_key
    assert function is not None
    with pytest.raises(TopologyError, match=f"{__name__}:city is not known here"):
        function(("x", "y"))


def test_numbers_are_wished_for_by_topic_or_by_subtopology() -> None:
    assert wished(counting().topology(), ["sales=2", "1=8"]) == {0: 2, 1: 8}


@pytest.mark.parametrize("record", [None, PlanRecord(controller="w1")])
def test_where_no_controller_has_told_it_is_refused_with_the_way_on(
    record: PlanRecord | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told:
        def __init__(self, _config: Config) -> None:
            pass

        def __enter__(self) -> Told:
            return self

        def __exit__(self, *_error: object) -> None:
            pass

        def plan(self) -> PlanRecord | None:
            return record

    monkeypatch.setattr(survey, "Operator", Told)
    with pytest.raises(OperationRefusedError, match="no controller of app has told") as refused:
        told_topology(Config(application_id=NAME))
    assert "--app MODULE:APP" in refused.value.hint


@pytest.mark.parametrize("given", ["consistent", by_letter, None])
def test_code_that_declares_other_than_the_workers_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    def app(partitioner: Any) -> Topology:
        one = App(NAME)
        one.stream("sales", key=str, value=int, partitioner=partitioner).to("out")
        return one.topology()

    monkeypatch.setattr(survey, "told_topology", lambda _config: app(by_letter))
    config = Config(application_id=NAME)
    if given is by_letter:
        survey._check_told(config, app(given), None)
        return
    with pytest.raises(OperationRefusedError, match=r"declares .*by_letter for the keys of sales"):
        survey._check_told(config, app(given), None)


def test_it_is_small() -> None:
    assert len(msgspec.json.encode(outline_of(every_kind().topology()))) < 1_500
