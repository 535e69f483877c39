"""Final results of tasks that became one: each window once, by whichever of them."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, SessionWindows, TumblingWindows
from streamer.changelog.format import Positions
from streamer.split.carried import NONE_LEFT, Parent, carry, passed_rows
from streamer.split.homes import Homes
from streamer.split.move import closed_before, closing_lags
from streamer.store.keys import index_key
from streamer.topology.stores import StoreKind
from tests.unit.engine.rig import Rig

WINDOWS = [
    TumblingWindows(timedelta(milliseconds=10), grace=timedelta(milliseconds=5)),
    SessionWindows(timedelta(milliseconds=4), grace=timedelta(milliseconds=6)),
]
KEYS = [f"customer-{number}" for number in range(30)]
BEFORE = Homes(2, 6)
# Each parent stands where its own records have come to; the last closes everything.
TIMES = {0: 400, 1: 130}
END = 10_000


def app(windows: Any) -> App:
    counting = App("counting")
    counting.stream("in", key=str, value=int).group_by_key().windowed_by(windows).count(
        store="w", emit="final", retention=timedelta(seconds=1)
    ).to("out")
    return counting


def results(rig: Rig) -> list[Any]:
    return [(one.key, one.start_ms, one.end_ms, value) for one, value, _, _ in rig.sent("out")]


def commit(rig: Rig) -> None:
    rig.commit()
    while rig.pipeline.is_closing:
        rig.commit()


def parent_of(rig: Rig, task: int, lag_ms: int) -> Parent:
    spec = rig.database.specs["w"]
    orders = sorted(
        index_key(spec, key, row) if spec.kind is StoreKind.SESSION else key
        for key, row in rig.database.rows["w"].items()
    )
    bound = closed_before(rig.times["w"], lag_ms).to_bytes(8, "big")
    return Parent(
        task=task,
        positions=Positions(
            stream_time_ms=rig.stream_time_ms, times=rig.times, closings={"w": None}
        ),
        filled={"w"},
        passed={"w": next((key for key in orders if key >= bound), NONE_LEFT)},
    )


@pytest.mark.parametrize("windows", WINDOWS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("crashes", [False, True])
def test_each_window_is_passed_on_once(windows: Any, crashes: bool) -> None:
    chance = random.Random(7)
    lags = closing_lags(app(windows).topology().subtopologies[0])
    parents, rigs, records = [], [], []
    for task, end_ms in TIMES.items():
        rig = Rig(app(windows))
        mine = [key for key in KEYS if BEFORE.home(key.encode()) == task]
        records = [(chance.choice(mine), 1, time) for time in range(end_ms)]
        rig.run("in", records)
        commit(rig)
        rigs.append(rig)
        parents.append(parent_of(rig, task, lags["w"]))
    kinds = {"w": rigs[0].database.specs["w"].kind}
    carried = carry(parents, kinds, lags)
    place = carried.positions.closings["w"]
    assert place is not None

    merged = Rig(app(windows))
    for rig in rigs:
        merged.database.rows["w"].update(rig.database.rows["w"])
        merged.database.index["w"].update(rig.database.index["w"])
    merged.stream_time_ms = carried.positions.stream_time_ms
    merged.times = dict(carried.positions.times)
    merged.closings = {"w": place}
    merged.passed = passed_rows(carried.encode(BEFORE), kinds, carried.positions.closings)
    merged.restart()
    assert merged.pipeline.is_closing
    if crashes:
        # What is passed on with an aborted commit comes again.
        merged.pipeline.flush()
        merged.abort()
    commit(merged)
    between = results(merged)
    assert between
    # Windows that open now are as ever, those of the parent that had passed on more as well.
    merged.run("in", [(key, 1, TIMES[0] + number) for number, key in enumerate(KEYS)])
    commit(merged)
    merged.run("in", [("end", 1, END)])
    commit(merged)

    came = [one for rig in (*rigs, merged) for one in results(rig)]
    assert len(came) == len({one[:3] for one in came})
    counted = sum(value for *_window, value in came)
    assert counted == sum(TIMES.values()) + len(KEYS)
