"""An application whose number of tasks changes has the state and the results of one that stays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer import (
    App,
    ProcessContext,
    Record,
    SessionWindows,
    Store,
    TumblingWindows,
    WindowStore,
)
from streamer.engine import closing
from streamer.errors import TopologyError
from streamer.ids import TaskId
from streamer.testing import TopologyTestDriver, check, driver_history, per_key
from streamer.topology.partitioner import partition_of
from tests.hurry import examples

PARTITIONS = 4
DIVISORS = (1, 2, 4)
START_MS = 1_000_000
SECOND = timedelta(seconds=1)
# One of each partition's keys, whose records tell every task the time.
CLOCKS = {partition_of(f"clock-{n}".encode(), PARTITIONS): f"clock-{n}" for n in range(60)}
# Of some partitions two keys and of others none, and one key that most records have.
KEYS = ("hot", "hot", "hot", "hot", *(f"key-{number}" for number in range(5)))


Rows = dict[tuple[str, TaskId], list[tuple[bytes, bytes]]]


class Sent(NamedTuple):
    """`at_ms` is the time after that of all tasks; below 0 it is before it."""

    topic: str
    key: str
    value: int
    at_ms: int


def remembered(record: Record, context: ProcessContext) -> None:
    """How often a key came while its row was kept, and in which five seconds it did; under keys
    that are not the records'."""
    recent, fives = context.store("recent"), context.store("fives")
    count = (recent.get(("of", record.key)) or 0) + 1
    recent.put(("of", record.key), count)
    key, start_ms = f"five of {record.key}", record.timestamp_ms - record.timestamp_ms % 5_000
    fives.put(key, (fives.get(key, start_ms) or 0) + 1, start_ms)
    context.forward(value=count)


def every_kind() -> App:
    app = App("kinds")
    sales = app.stream("sales", key=str, value=int)
    prices = app.table("prices", key=str, value=int, store="prices")
    sales.join(prices, lambda count, price: count * price).to("priced")
    keyed = sales.group_by_key()
    keyed.aggregate(int, lambda _key, value, total: total + value, store="totals").to("totals-out")
    windows = TumblingWindows(10 * SECOND, grace=5 * SECOND)
    keyed.windowed_by(windows).count(store="windows", emit="every").to("windows-out")
    sessions = SessionWindows(3 * SECOND, grace=2 * SECOND)
    keyed.windowed_by(sessions).count(store="sessions", emit="every").to("sessions-out")
    pair = {"key": tuple[str, str], "partition_key": lambda key: key[1]}
    named = {"key": str, "partition_key": lambda key: key.removeprefix("five of ")}
    kept = [
        Store("recent", value=int, ttl=15 * SECOND, **pair),
        WindowStore("fives", size=5 * SECOND, value=int, **named),
    ]
    sales.process(remembered, stores=kept, value=int).to("remembered")
    sales.group_by(lambda _key, value: str(value % 3), name="by-size").count(store="sizes")
    return app


STORES = ("prices", "totals", "windows", "sessions", "recent", "fives", "sizes")
EACH = ("priced", "windows-out", "sessions-out", "remembered")


@contextmanager
def running(tasks: int) -> Iterator[TopologyTestDriver]:
    app = every_kind()
    with TopologyTestDriver(app, partitions=PARTITIONS, tasks=tasks, auto_commit=False) as driver:
        yield driver


def send(driver: TopologyTestDriver, batch: Sequence[Sent], now_ms: int) -> int:
    """As one batch in the order of time, so that it is the same whoever reads what; then all tasks
    know the latest. What is late is so by the time that they had."""
    for one in sorted(batch, key=lambda one: one.at_ms):
        driver.send(one.topic, one.key, one.value, at=now_ms + one.at_ms)
    driver.commit()
    return tell(driver, now_ms + max([0, *(one.at_ms for one in batch)]) + 1)


def tell(driver: TopologyTestDriver, now_ms: int) -> int:
    driver.send_many("sales", [(key, 0, now_ms) for key in CLOCKS.values()])
    driver.commit()
    return now_ms


def rows(driver: TopologyTestDriver) -> Rows:
    """All that lies in the databases, also what nobody sees any more."""
    return {
        (spec.name, task): list(active.database.scan(spec.name, b"", None))
        for task, active in driver._life.tasks.items()
        for spec in active.database.specs.values()
    }


def by_store(found: Rows) -> dict[str, list[tuple[bytes, bytes]]]:
    """Whichever tasks have them."""
    joined: dict[str, list[tuple[bytes, bytes]]] = defaultdict(list)
    for (store, _task), some in found.items():
        joined[store] += some
    return {store: sorted(some) for store, some in joined.items()}


def seen(driver: TopologyTestDriver) -> dict[str, Any]:
    """The stores as they are shown, and the results of each key in their order."""
    found: dict[str, Any] = {name: dict(driver.store(name)) for name in STORES}
    for topic in EACH:
        series: dict[Any, list[Any]] = {}
        for key, value in driver.read(topic):
            series.setdefault(key, []).append(value)
        found[topic] = series
    return found | {"totals-out": dict(driver.read("totals-out"))}


sent = st.builds(
    Sent,
    topic=st.sampled_from(("sales", "sales", "sales", "prices")),
    key=st.sampled_from(KEYS),
    value=st.integers(1, 9),
    at_ms=st.integers(-20_000, 12_000),
)
batches = st.lists(sent, max_size=12, unique_by=lambda one: one.at_ms)
numbers = st.sampled_from(DIVISORS)


def test_there_is_a_clock_for_every_partition() -> None:
    assert CLOCKS.keys() == set(range(PARTITIONS))


@pytest.mark.slow
@settings(max_examples=examples(8), deadline=None)
@given(there=numbers, away=numbers, before=st.lists(batches, min_size=1, max_size=3))
def test_there_and_back_the_state_is_as_if_it_had_never_moved(
    there: int, away: int, before: list[list[Sent]]
) -> None:
    with running(there) as driver:
        now_ms = START_MS
        for batch in before:
            now_ms = send(driver, batch, now_ms)
        wanted, shown = rows(driver), seen(driver)
        if away != there:
            driver.repartition(away)
            assert by_store(rows(driver)) == by_store(wanted)
            assert seen(driver) == shown
            driver.repartition(there)
        assert rows(driver) == wanted
        assert seen(driver) == shown


@pytest.mark.slow
@settings(max_examples=examples(8), deadline=None)
@given(
    first=numbers,
    moves=st.lists(st.tuples(numbers, batches), min_size=1, max_size=3),
    before=batches,
)
def test_what_comes_after_is_treated_as_if_it_had_never_moved(
    first: int, moves: list[tuple[int, list[Sent]]], before: list[Sent]
) -> None:
    with running(first) as moved, running(first) as stays:
        now_ms = send(moved, before, START_MS)
        send(stays, before, START_MS)
        for tasks, batch in moves:
            if tasks != moved.layout.task_count(0):
                moved.repartition(tasks)
            later_ms = send(moved, batch, now_ms)
            assert send(stays, batch, now_ms) == later_ms
            now_ms = later_ms
            assert seen(moved) == seen(stays)
        if moved.layout.task_count(0) != first:
            moved.repartition(first)
        # Everything has its time, and is removed from the disk when that is over.
        for driver in (moved, stays):
            tell(driver, tell(driver, now_ms + 100_000) + 100_000)
        assert rows(moved) == rows(stays)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 3])
def test_windows_that_are_open_when_a_task_is_divided_are_passed_on_once(seed: int | None) -> None:
    app = App("final")
    keyed = app.stream("in", key=str, value=int).group_by_key()
    keyed.windowed_by(TumblingWindows(10 * SECOND)).count(store="closed", emit="final").to("out")
    keys = list(CLOCKS.values())
    with TopologyTestDriver(app, partitions=PARTITIONS, tasks=1, seed=seed) as driver:
        driver.send_many("in", [(key, 1, START_MS) for key in keys])
        driver.send_many("in", [(key, 1, START_MS + 15_000) for key in keys])
        assert len(driver.read("out")) == len(keys)
        driver.repartition(2)
        driver.send_many("in", [(key, 1, START_MS) for key in keys])  # Late, as before.
        driver.send_many("in", [(key, 1, START_MS + 16_000) for key in keys])
        driver.repartition(4)
        driver.send_many("in", [(key, 1, START_MS + 30_000) for key in keys])
        found: dict[tuple[str, int], list[int]] = {}
        for window, count in driver.read("out"):
            found.setdefault((window.key, window.start_ms), []).append(count)
        wanted = {(key, START_MS): [1] for key in keys}
        assert found == wanted | {(key, START_MS + 10_000): [2] for key in keys}
        with pytest.raises(TopologyError, match="3 does not divide"):
            driver.repartition(3)
        assert driver.layout.task_count(0) == 4


def by_letter(key: bytes, count: int) -> int:
    return key[0] * count // 256


def test_keys_lie_where_a_declared_partitioner_puts_them_before_and_after() -> None:
    app = App("placed")
    stream = app.stream("in", key=bytes, value=int, partitioner=by_letter)
    stream.group_by_key().count(store="sums")
    keys = [bytes([number]) for number in range(0, 256, 5)]
    with TopologyTestDriver(app, partitions=PARTITIONS) as driver:
        for tasks in (2, 1, 4, 2):
            driver.send_many("in", [(key, 1, START_MS) for key in keys])
            driver.repartition(tasks)
        driver.send_many("in", [(key, 1, START_MS) for key in keys])
        assert {key: driver.store("sums").get(key) for key in keys} == dict.fromkeys(keys, 5)
        for (_store, task), found in rows(driver).items():
            assert {by_letter(key, 4) % 2 for key, _row in found} == {task.partition}


@dataclass
class Finals:
    """What should be passed on, if a record is late by the latest time that its task knows, which
    is at first the latest that a parent knew. Of windows the counts, of sessions the ends too."""

    tasks: int
    times: dict[int, int] = field(default_factory=dict)
    counts: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    sessions: dict[str, list[list[int]]] = field(default_factory=dict)

    def saw(self, key: str, at_ms: int) -> None:
        task = partition_of(key.encode(), PARTITIONS) % self.tasks
        self.times[task] = time_ms = max(self.times.get(task, 0), at_ms)
        start_ms = at_ms - at_ms % 5_000
        if start_ms + 5_000 + 2_000 > time_ms:
            self.counts.setdefault((key, start_ms), [0])[0] += 1
        open_ms = time_ms - 3_000 - 2_000
        known, own = self.sessions.get(key, []), [at_ms, at_ms, 1]
        joined = [
            one for one in known if one[1] >= open_ms and one[0] - 3_000 <= at_ms <= one[1] + 3_000
        ]
        for one in joined:
            own = [min(own[0], one[0]), max(own[1], one[1]), own[2] + one[2]]
        if own[1] >= open_ms:
            self.sessions[key] = [one for one in known if one not in joined] + [own]

    def moved(self, tasks: int) -> None:
        known = {n: self.times.get(n % self.tasks, 0) for n in range(PARTITIONS)}
        self.tasks, self.times = tasks, {}
        for partition, time_ms in known.items():
            task = partition % tasks
            self.times[task] = max(self.times.get(task, 0), time_ms)


record_sent = st.tuples(st.sampled_from(sorted(CLOCKS.values()) + list(KEYS)), st.integers(0, 40))
moved_then = st.tuples(
    st.lists(record_sent, max_size=8), numbers, st.sampled_from(("", "crash", "disk"))
)


@pytest.mark.slow
@settings(max_examples=examples(16), deadline=None)
@given(
    page=st.sampled_from((None, 1)),
    # With it rows stay when they have been passed on, and could be once more.
    kept=st.sampled_from((1_000 * SECOND, None)),
    first=numbers,
    moves=st.lists(moved_then, min_size=1, max_size=4),
    seed=st.one_of(st.none(), st.integers(0, 99)),
)
def test_what_tasks_made_into_one_have_closed_is_passed_on_once(
    page: int | None,
    kept: timedelta | None,
    first: int,
    moves: list[tuple[list[tuple[str, int]], int, str]],
    seed: int | None,
) -> None:
    """Also where it takes many commits, of which some are aborted, and some kill the process."""
    app = App("final")
    keyed = app.stream("in", key=str, value=int).group_by_key()
    windows = TumblingWindows(5 * SECOND, grace=2 * SECOND)
    keyed.windowed_by(windows).count(store="closed", emit="final", retention=kept).to("out")
    gaps = SessionWindows(3 * SECOND, grace=2 * SECOND)
    keyed.windowed_by(gaps).count(store="gone", emit="final", retention=kept).to("sessions-out")
    model = Finals(first)
    with (
        patch.object(closing, "_FIRST_ROWS", page or closing._FIRST_ROWS),
        patch.object(closing, "RESULTS_MAX", page or closing.RESULTS_MAX),
        TopologyTestDriver(app, partitions=PARTITIONS, tasks=first, seed=seed) as driver,
    ):
        for sent_now, tasks, trouble in moves:
            for key, second in sent_now:
                driver.send("in", key, 1, at=START_MS + second * 1_000)
                model.saw(key, START_MS + second * 1_000)
            if tasks != model.tasks:
                driver.repartition(tasks)
                model.moved(tasks)
            if trouble:
                driver.crash(lose_disk=trouble == "disk")
        for key in CLOCKS.values():
            driver.send("in", key, 1, at=START_MS + 100_000)
        found: dict[tuple[str, int], list[int]] = {}
        for window, count in driver.read("out"):
            found.setdefault((window.key, window.start_ms), []).append(count)
        gone: dict[str, list[list[int]]] = {}
        for one, count in driver.read("sessions-out"):
            gone.setdefault(one.key, []).append([one.start_ms, one.end_ms, count])
    assert found == model.counts
    assert {key: sorted(each) for key, each in gone.items()} == {
        key: sorted(each) for key, each in model.sessions.items()
    }


@pytest.mark.parametrize("commits", range(4))
def test_what_parents_had_passed_on_outlives_a_disk_that_is_lost_in_between(commits: int) -> None:
    """Each commit passes on one result of what the merge has closed."""
    app = App("final")
    keyed = app.stream("in", key=str, value=int).group_by_key()
    # Rows that stay when they have closed: others are gone by then.
    keyed.windowed_by(TumblingWindows(SECOND)).count(
        store="closed", emit="final", retention=1_000 * SECOND
    ).to("out")
    ahead, behind = CLOCKS[0], CLOCKS[2]
    with (
        patch.object(closing, "_FIRST_ROWS", 1),
        patch.object(closing, "RESULTS_MAX", 1),
        TopologyTestDriver(app, partitions=PARTITIONS, auto_commit=False) as driver,
    ):
        times = [START_MS + second * 1_000 for second in range(5)]
        driver.send_many("in", [(ahead, 1, time) for time in [*times, START_MS + 60_000]])
        driver.send_many("in", [(behind, 1, times[0])])
        driver.send_many("in", [(behind, 1, times[1])])
        driver.commit()
        before = driver.read("out")
        assert len(before) == 6, "five of the one, one of the other"
        driver.repartition(1)
        for _ in range(commits):
            driver._life.commit()
        driver.crash(lose_disk=True)
        driver.commit()
        after = driver.read("out")[len(before) :]
        assert [(one.key, one.start_ms) for one, _count in after] == [(behind, times[1])]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_kills_before_and_after_a_move_change_nothing(seed: int) -> None:
    app = App("kills")
    app.stream("in", key=str, value=int).group_by_key().aggregate(
        int, lambda _key, value, total: total + value, store="totals"
    ).to("out")
    with TopologyTestDriver(app, partitions=PARTITIONS, seed=seed) as driver:
        for tasks in (2, 1, 4):
            driver.send_many("in", [(f"key-{number % 7}", number) for number in range(21)])
            driver.repartition(tasks)
        driver.crash(lose_disk=True)
        verdict = check(
            driver_history(driver, inputs="in", output="out", store="totals"),
            per_key(int, lambda _key, value, total: total + value),
        )
    assert verdict, verdict
