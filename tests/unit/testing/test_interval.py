"""Where an interval alone is computed its windows are as ever, and nothing else is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer import App, HoppingWindows, ProcessContext, Record, SessionWindows, Store
from streamer import TumblingWindows as Tumbling
from streamer.ids import TaskId
from streamer.store.keys import window_parts
from streamer.task.build import Plan
from streamer.testing import TopologyTestDriver
from streamer.topology.interval import Interval
from tests.hurry import examples

SECOND = timedelta(seconds=1)
KEYS = ("ann", "bob", "cid")
WINDOWED = ("tumbling", "hopping")
Rows = dict[str, list[tuple[bytes, bytes]]]


def noted(record: Record, context: ProcessContext) -> None:
    context.store("noted").put(record.key, record.value)


def spans() -> App:
    app = App("spans")
    stream = app.stream("in", key=str, value=int)
    stream.map_values(str).to("plain")
    keyed = stream.group_by_key()
    keyed.aggregate(int, lambda _key, value, total: total + value, store="totals").to("out")
    for name, windows in (
        ("tumbling", Tumbling(10 * SECOND, grace=5 * SECOND)),
        ("hopping", HoppingWindows(9 * SECOND, 4 * SECOND, grace=3 * SECOND)),
    ):
        keyed.windowed_by(windows).count(store=name, emit="every").to(f"{name}-out")
    keyed.windowed_by(SessionWindows(3 * SECOND, grace=SECOND)).count(store="sessions")
    stream.process(noted, stores=[Store("noted", key=str, value=int)], value=int).to("noted")
    return app


@contextmanager
def driver(interval: Interval | None) -> Iterator[TopologyTestDriver]:
    made = partial(Plan, interval=interval)
    with (
        patch("streamer.testing.life.Plan", made),
        TopologyTestDriver(spans(), partitions=1, auto_commit=False) as one,
    ):
        yield one


def rows(one: TopologyTestDriver) -> Rows:
    database = one._life.tasks[TaskId(0, 0)].database
    return {name: list(database.scan(name, b"", None)) for name in database.specs}


sent = st.lists(
    st.lists(
        st.tuples(st.sampled_from(KEYS), st.integers(0, 9), st.integers(0, 60_000)),
        min_size=1,
        max_size=8,
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=examples(60), deadline=None)
@given(batches=sent, begin=st.integers(0, 60_000), length=st.integers(1, 30_000))
def test_they_are_those_of_who_computes_all(
    batches: list[list[tuple[str, int, int]]], begin: int, length: int
) -> None:
    interval = Interval(begin, begin + length, WINDOWED)
    with driver(None) as whole, driver(interval) as part:
        for batch in batches:
            for one in (whole, part):
                one.send_many("in", batch)
                one.commit()
        wanted = {
            name: [row for row in found if interval.has(window_parts(row[0])[0])]
            if name in WINDOWED
            else []
            for name, found in rows(whole).items()
        }
        assert rows(part) == wanted
        assert not part.broker.records("out")
        assert not part.broker.records("noted")
        assert whole.broker.records("plain")
        assert not part.broker.records("plain"), "nor what is made of records outside it"
