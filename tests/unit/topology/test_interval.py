"""Of which stores the windows of an interval can be computed once more, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from streamer import App, HoppingWindows, SessionWindows, TumblingWindows
from streamer.cluster.outline import outline_of, topology_of
from streamer.errors import OperationRefusedError
from streamer.topology.graph import Topology
from streamer.topology.interval import Interval, replaced_stores

MINUTE = timedelta(minutes=1)


def keyed(app: App, **given: Any) -> Any:
    return app.stream("in", key=str, value=int, **given).filter(bool).group_by_key()


def both(app: App) -> list[Topology]:
    """As it is, and as it is told."""
    whole = app.topology()
    return [whole, topology_of("app", outline_of(whole))]


def test_it_has_its_begin_and_not_its_end() -> None:
    interval = Interval(10, 20, ("hourly",))
    assert [at for at in (9, 10, 19, 20) if interval.has(at)] == [10, 19]


def test_windows_that_come_of_records_alone_are_replaced() -> None:
    app = App("app")
    stream = keyed(app)
    stream.count(store="totals")
    stream.windowed_by(TumblingWindows(MINUTE)).count(store="hourly").map_values(str).to("out")
    stream.windowed_by(HoppingWindows(2 * MINUTE, MINUTE)).count(store="hopping")
    stream.windowed_by(SessionWindows(MINUTE)).count(store="visits")
    for each in both(app):
        assert replaced_stores(each) == ("hopping", "hourly")
        assert replaced_stores(each, ["hourly", "hourly"]) == ("hourly",)
        for name in ("totals", "visits"):
            with pytest.raises(OperationRefusedError, match=f"store {name} is not well defined"):
                replaced_stores(each, ["hourly", name])
        with pytest.raises(OperationRefusedError, match=r"there is no store hour$") as refused:
            replaced_stores(each, ["hour"])
        assert "hopping, hourly, totals, visits" in refused.value.hint


def behind_a_table(app: App) -> None:
    table = app.table("prices", key=str, value=int, store="prices")
    joined = app.stream("in", key=str, value=int).join(table, lambda one, other: one * other)
    joined.group_by_key().windowed_by(TumblingWindows(MINUTE)).count(store="hourly")


def with_more_made_of_them(app: App) -> None:
    hourly = keyed(app).windowed_by(TumblingWindows(MINUTE)).count(store="hourly")
    hourly.stream().group_by(lambda key, _count: key[0], key=str, name="again").count(store="often")


def passed_on_once(app: App) -> None:
    keyed(app).windowed_by(TumblingWindows(MINUTE)).count(store="hourly", emit="final").to("out")


def without_windows(app: App) -> None:
    keyed(app).count(store="totals")


@pytest.mark.parametrize(
    "described", [behind_a_table, with_more_made_of_them, passed_on_once, without_windows]
)
def test_others_are_not(described: Any) -> None:
    app = App("app")
    described(app)
    for each in both(app):
        with pytest.raises(OperationRefusedError, match="no store of the application has windows"):
            replaced_stores(each)
