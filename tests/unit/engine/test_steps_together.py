"""Topologies of several stateful steps: batches give exactly what single records give, also with
punctuation, shared stores, several sinks of one topic, and transactions that are done again."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer import (
    App,
    Count,
    Record,
    SessionWindows,
    Store,
    Sum,
    TumblingWindows,
    WindowStore,
)
from tests.hurry import examples
from tests.unit.engine.cases import Event
from tests.unit.engine.rig import Rig

EXAMPLES = examples(int(os.environ.get("STREAMER_TEST_EXAMPLES", "25")))
SETTINGS = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


class Visits:
    """Stores of each kind, forwards, and a punctuation that reads and writes."""

    def open(self, context: Any) -> None:
        self.context = context
        self.seen = context.store("seen")
        self.recent = context.store("recent")
        context.schedule(ms(7), self.report)
        context.schedule(ms(20), self.forget)

    def process(self, record: Record, context: Any) -> None:
        if record.value is None or record.key is None:
            return
        count = (self.seen.get(record.key) or 0) + 1
        self.seen.put(record.key, count)
        start = record.timestamp_ms // 10 * 10
        before = self.recent.get(record.key, start) or []
        self.recent.put(record.key, [*before, record.value.n], start)
        context.forward(value=f"{count}@{context.stream_time_ms}")
        if record.value.n % 3 == 0:
            context.forward(key="also", value=f"{before}", headers=[("own", b"1")])

    def report(self, now_ms: int) -> None:
        known = list(self.seen.range())
        windows = list(self.recent.between(0, now_ms + 1))
        self.context.forward(key="report", value=f"{now_ms} {known} {windows}")

    def forget(self, now_ms: int) -> None:
        for key, _count in list(self.seen.range("a", "b")):
            self.seen.delete(key)


def visits() -> App:
    app = App("visits")
    stream = app.stream("in", key=str, value=Event)
    stores = [
        Store("seen", key=str, value=int, ttl=ms(30)),
        WindowStore("recent", key=str, value=list[int], size=ms(10), retention=ms(25)),
    ]
    some = stream.filter(lambda _key, event: event is None or event.n % 5 != 0)
    some.process(Visits, stores=stores).to("out", key=str, value=str)
    stream.map_values(lambda event: str(event), value=str).to("out")
    return app


def joined_with_a_table() -> App:
    app = App("joins")
    table = app.table("table", key=str, value=Event, store=Store("known", ttl=ms(40)))
    shown = table.filter(lambda _key, event: event.n != 3).map_values(lambda event: event.n * 10)
    stream = app.stream("in", key=str, value=Event)
    stream.join(shown, lambda event, n: f"{event.n}:{n}", value=str).to("out")
    stream.left_join(table, lambda event, other: f"{event.n}?{other}", value=str).to("out")
    shown.stream().map_values(lambda n: str(n), value=str).to("changes")
    return app


def joined_with_itself() -> App:
    app = App("itself")
    stream = app.stream("in", key=str, value=Event)
    table = stream.group_by_key().aggregate({"n": Count(), "sum": Sum("n")}, store="sums")
    stream.left_join(table, lambda e, s: f"{e.n}/{s and (s.n, s.sum)}", value=str).to("out")
    table.to("changes")
    return app


def sharing_a_store() -> App:
    app = App("sharing")
    shared = Store("shared", key=str, value=int)

    def add(record: Record, context: Any) -> None:
        store = context.store("shared")
        store.put("all", (store.get("all") or 0) + (record.value.n if record.value else 100))
        context.forward(value=record.value)

    def read(record: Record, context: Any) -> None:
        context.forward(value=str(context.store("shared").get("all")))

    stream = app.stream("in", key=str, value=Event)
    stream.process(add, stores=[shared], value=Event).process(read, stores=[shared]).to(
        "out", value=str
    )
    return app


def one_after_another(emit: Any) -> Callable[[], App]:
    def build() -> App:
        app = App("chain")
        stream = app.stream("in", key=str, value=Event)
        table = stream.group_by_key().reduce(lambda one, other: Event(one.n + other.n), store="sum")
        if emit == "every":
            app = App("chain")
            stream = app.stream("in", key=str, value=Event)
            table = stream.group_by_key().reduce(
                lambda one, other: Event(one.n + other.n), store="sum", emit="every"
            )
        totals = table.stream().group_by_key()
        totals.windowed_by(TumblingWindows(ms(10))).count(store="windows", emit="every").to("out")
        totals.windowed_by(SessionWindows(ms(5))).aggregate({"n": Count()}, store="sessions").to(
            "changes"
        )
        totals.aggregate({"last": Sum("n")}, store=Store("aged", ttl=ms(15)))
        return app

    return build


def merged_changes(emit: Any) -> Callable[[], App]:
    """Changes of several stores meet: each comes to the merge with rows of its own number."""

    def shown(record: Record, context: Any) -> None:
        context.forward(value=f"{record.value}@{context.stream_time_ms}")

    def build() -> App:
        app = App("merged")
        stream = app.stream("in", key=str, value=Event)
        some = stream.filter(lambda _key, event: event is not None and event.n % 3 == 0)
        few = some.group_by_key().count(store="few", emit=emit).stream()
        sums = stream.group_by_key().aggregate({"sum": Sum("n")}, store="sums", emit=emit)
        windows = stream.group_by_key().windowed_by(TumblingWindows(ms(10)))
        closed = windows.count(store="windows", emit="final").stream()
        low, high = sums.stream().branch(lambda _key, one: one.sum < 9, lambda _key, _one: True)
        all_of_them = (
            few.map_values(lambda count: f"few {count}", value=str)
            .merge(high.map_values(lambda one: f"high {one.sum}", value=str))
            .merge(closed.map(lambda key, n: (key.key, f"window {n}"), key=str, value=str))
            .merge(low.map_values(lambda one: f"low {one.sum}", value=str))
        )
        all_of_them.process(shown, value=str).to("out", key=str)
        few.map_values(lambda count: str(count), value=str).to("out")
        keyed = few.map_values(lambda count: Event(count), value=Event)
        keyed.merge(low.map_values(lambda one: Event(one.sum), value=Event)).group_by_key().reduce(
            lambda one, other: Event(one.n + other.n), store="again"
        ).to("changes")
        return app

    return build


APPS: dict[str, Callable[[], App]] = {
    "merged changes, every": merged_changes("every"),
    "merged changes, commit": merged_changes("commit"),
    "process": visits,
    "join": joined_with_a_table,
    "join with itself": joined_with_itself,
    "shared store": sharing_a_store,
    "chain, every": one_after_another("every"),
    "chain, commit": one_after_another("commit"),
}

EVENTS = st.none() | st.builds(Event, st.integers(0, 9))
STEPS = st.tuples(
    st.sampled_from(["in", "in", "in", "table"]),
    st.sampled_from(["a", "ab", "b", "c", None]),
    EVENTS,
    st.sampled_from([0, 0, 1, 2, 5, 11, 50]),
    st.sampled_from([0, 0, 0, 3, 12]),
)
TRANSACTIONS = st.lists(st.lists(STEPS, max_size=10), min_size=1, max_size=3)


def transaction(rig: Rig, steps: list[Any], *, now: int, size: int, has_table: bool) -> int:
    """Run steps, those of one topic in batches of `size`, and return the time after them."""
    run: list[Any] = []
    topic = "in"
    for wanted, key, event, ahead, behind in [*steps, ("end", None, None, 0, 0)]:
        name = wanted if has_table or wanted == "end" else "in"
        if run and (name != topic or len(run) == size):
            rig.run(topic, run)
            run = []
        topic = name
        now += ahead
        run.append((key, event, max(now - behind, 0), [("h", b"1")] if now % 2 else []))
    return now


def outcome(rig: Rig) -> Any:
    return (
        rig.output.committed,
        rig.database.rows,
        rig.database.index,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", APPS)
def test_batches_give_what_single_records_give(name: str) -> None:
    @SETTINGS
    @given(TRANSACTIONS, st.integers(min_value=2, max_value=6))
    def check(transactions: list[list[Any]], size: int) -> None:
        outcomes = []
        for each in (1, size, 99):
            rig = Rig(APPS[name]())
            now = 0
            for steps in transactions:
                now = transaction(rig, steps, now=now, size=each, has_table=name == "join")
                rig.commit()
            outcomes.append((*outcome(rig), rig.dropped()))
        assert outcomes[1] == outcomes[0]
        assert outcomes[2] == outcomes[0]

    check()


@pytest.mark.parametrize("name", APPS)
def test_a_transaction_that_is_done_again_gives_the_same(name: str) -> None:
    @SETTINGS
    @given(TRANSACTIONS, st.lists(st.sampled_from(["", "abort", "restart"]), max_size=4))
    def check(transactions: list[list[Any]], troubles: list[str]) -> None:
        outcomes = []
        for happen in ([], troubles):
            rig = Rig(APPS[name]())
            now = 0
            for number, steps in enumerate(transactions):
                trouble = happen[number] if number < len(happen) else ""
                if trouble:
                    before = dict(rig.offsets)
                    transaction(rig, steps, now=now, size=99, has_table=name == "join")
                    rig.abort() if trouble == "abort" else rig.restart()
                    rig.offsets = before
                now = transaction(rig, steps, now=now, size=99, has_table=name == "join")
                rig.commit()
            outcomes.append(outcome(rig))
        assert outcomes[1] == outcomes[0]

    check()
