"""A folded batch gives exactly what its records give one by one, and both what the model gives."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.engine import closing
from streamer.store.keys import session_parts, window_parts
from streamer.topology.windows import Windowed
from tests.hurry import examples
from tests.unit.engine.cases import Case, Event, Input, Model, build, plain
from tests.unit.engine.rig import Rig

EXAMPLES = examples(int(os.environ.get("STREAMER_TEST_EXAMPLES", "100")))
NAMES = ["filter", "map_values", "flat", "branch"]
STEPS = st.tuples(st.sampled_from(NAMES), st.integers(min_value=2, max_value=4))
SIZES = st.integers(min_value=1, max_value=12)


@pytest.fixture(scope="module", autouse=True)
def _small_pages() -> Iterator[None]:
    """So that closed windows come in several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closing, "PAGE_ROWS", 2)
        yield


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kind = draw(st.sampled_from(["kv", "tumbling", "hopping", "session"]))
    emits = ["commit", "every"] + ["final"] * (kind != "kv")
    size = draw(SIZES)
    return Case(
        steps=tuple(draw(st.lists(STEPS, max_size=2))),
        kind=kind,
        how=draw(st.sampled_from(["append", "in_place", "remove", "reduce", "count", "built_in"])),
        emit=draw(st.sampled_from(emits)),
        size=size,
        advance=draw(st.integers(min_value=1, max_value=size)),
        grace=draw(st.integers(min_value=0, max_value=8)),
        ttl=draw(st.none() | st.integers(min_value=1, max_value=30)),
        retention=draw(st.none() | st.integers(min_value=0, max_value=40)),
    )


@st.composite
def inputs(draw: st.DrawFn) -> list[list[Input]]:
    """Transactions of records; time goes on mostly, sometimes back, sometimes far ahead."""
    transactions = []
    now = 0
    for _ in range(draw(st.integers(min_value=1, max_value=4))):
        records: list[Input] = []
        for _ in range(draw(st.integers(min_value=0, max_value=8))):
            now += draw(st.sampled_from([0, 1, 1, 3, 6, 15, 80]))
            stamp = max(now - draw(st.sampled_from([0, 0, 0, 1, 2, 4, 9, 20])), 0)
            event = draw(st.none() | st.builds(Event, st.integers(0, 9), st.sampled_from("xyz")))
            key = draw(st.sampled_from(["a", "a", "b", "ab", None]))
            headers = draw(st.sampled_from([(), (("h", b"1"),)]))
            records.append((key, event, stamp, headers))
        transactions.append(records)
    return transactions


def shown(key: bytes, case: Case) -> Any:
    if case.kind == "kv":
        return key.decode()
    if case.kind == "session":
        raw, start, end = session_parts(key)
        return Windowed(raw.decode(), start, end)
    start, raw = window_parts(key)
    return Windowed(raw.decode(), start, start + case.size)


class Run:
    """What one way to cut the same transactions into batches gives."""

    def __init__(self, case: Case, transactions: list[list[Input]], *, size: int) -> None:
        rig = Rig(build(case))
        self.per_commit: list[list[Any]] = []
        seen = 0
        for records in transactions:
            for start in range(0, len(records), size):
                rig.run("in", records[start : start + size])
            rig.commit()
            sent = rig.sent("out")
            self.per_commit.append(
                [(key, plain(value), *rest) for key, value, *rest in sent[seen:]]
            )
            seen = len(sent)
        self.described = rig.sent("described")
        self.state = {
            shown(key, case): (plain(value), stamp)
            for key, (value, stamp) in rig.rows("store").items()
        }
        self.dropped = rig.dropped()
        self.index = rig.database.index["store"]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), inputs(), st.integers(min_value=2, max_value=5))
def test_batches_give_what_single_records_give(
    case: Case, transactions: list[list[Input]], size: int
) -> None:
    single = Run(case, transactions, size=1)
    for batched in (Run(case, transactions, size=size), Run(case, transactions, size=99)):
        assert batched.per_commit == single.per_commit
        assert batched.described == single.described
        assert batched.state == single.state
        assert batched.dropped == single.dropped
        assert batched.index == single.index


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), inputs())
def test_batches_give_what_the_model_gives(case: Case, transactions: list[list[Input]]) -> None:
    run = Run(case, transactions, size=99)
    model = Model(case)
    for number, records in enumerate(transactions):
        for record in records:
            model.run(record)
        wanted = model.commit()
        got = [tuple(one[:3]) for one in run.per_commit[number]]
        if case.emit == "every":
            assert got == wanted
        else:
            assert Counter(map(repr, got)) == Counter(map(repr, wanted))
    assert run.state == model.state
    assert {k: v for k, v in run.dropped.items() if v} == model.dropped
