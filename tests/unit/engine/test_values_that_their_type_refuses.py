"""What a function computes may not be what its type says: it fails at its record, and is kept
nowhere."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamer import App, ProcessingError, Record, Store
from streamer.serdes import Json, MessagePack
from streamer.testing import TopologyTestDriver


class Spend(msgspec.Struct):
    orders: int = 0
    cents: int = 0


def add(_key: str, cents: int, spend: Spend) -> Spend:
    """One that is odd makes a float of an int."""
    more: Any = cents / 2 if cents % 2 else cents
    return Spend(spend.orders + 1, spend.cents + more)


def spending(*, serde: Any = Spend, emit: Any = "commit", **settings: Any) -> App:
    app = App("spend", **settings)
    (
        app.stream("in", key=str, value=int)
        .group_by_key()
        .aggregate(Spend, add, store=Store("totals", value=serde), emit=emit)
        .to("out")
    )
    return app


@pytest.mark.parametrize("serde", [Json(Spend), MessagePack(Spend)])
@pytest.mark.parametrize("emit", ["commit", "every"])
def test_a_task_stops_before_anything_of_it_is_kept(serde: Any, emit: Any) -> None:
    with TopologyTestDriver(spending(serde=serde, emit=emit), auto_commit=False) as driver:
        driver.send("in", "ann", 2)
        driver.commit()
        driver.send("in", "ann", 3)
        with pytest.raises(ProcessingError, match=r"store 'totals'.* got `float`.*cents"):
            driver.commit()
        driver.crash(lose_disk=True)
        assert dict(driver.store("totals")) == {"ann": Spend(1, 2)}
        assert driver.read("out") == [("ann", Spend(1, 2))]


@pytest.mark.parametrize("emit", ["commit", "every"])
@pytest.mark.parametrize("auto_commit", [True, False])
def test_the_record_alone_is_left_out(emit: Any, auto_commit: bool) -> None:
    app = spending(emit=emit, processing_error="skip")
    with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
        driver.send_many("in", [("ann", 2), ("ann", 3), ("bob", 5), ("ann", 4)])
        driver.commit()
        assert dict(driver.store("totals")) == {"ann": Spend(2, 6)}
        driver.crash(lose_disk=True)
        assert dict(driver.store("totals")) == {"ann": Spend(2, 6)}


@pytest.mark.parametrize("auto_commit", [True, False])
def test_what_a_processor_puts_is_looked_at(auto_commit: bool) -> None:
    def use(record: Record, context: Any) -> None:
        context.store("s").put(record.key, add(record.key, record.value, Spend()))

    app = App("put", processing_error="skip")
    stream = app.stream("in", key=str, value=int)
    stream.process(use, stores=[Store("s", str, Spend)], key=str, value=Spend)
    with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
        driver.send_many("in", [("ann", 2), ("ann", 3), ("bob", 5), ("carl", 4)])
        driver.commit()
        assert dict(driver.store("s")) == {"ann": Spend(1, 2), "carl": Spend(1, 4)}


@pytest.mark.parametrize("auto_commit", [True, False])
def test_what_goes_to_a_topic_of_the_application_s_own_is_looked_at(auto_commit: bool) -> None:
    app = App("moved", production_error="skip")
    (
        app.stream("in", key=str, value=int)
        .map_values(lambda cents: add("", cents, Spend()), value=Spend)
        .group_by(lambda key, _spend: key[0], key=str)
        .reduce(lambda _before, after: after, store="last")
    )
    with TopologyTestDriver(app, auto_commit=auto_commit) as driver:
        driver.send_many("in", [("ann", 2), ("bob", 3), ("carl", 4)])
        driver.commit()
        assert dict(driver.store("last")) == {"a": Spend(1, 2), "c": Spend(1, 4)}
