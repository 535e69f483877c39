"""Kills, lost disks and aborted transactions at random places change nothing that can be seen."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest

from streamer import (
    App,
    Count,
    HoppingWindows,
    Last,
    Record,
    SessionWindows,
    Store,
    Sum,
    TumblingWindows,
)
from streamer.testing import TopologyTestDriver
from streamer.testing.history import _is_part, _plain

EXACT = ["every", "final", "hopping", "joined", "processed", "copied"]
NEWEST = ["totals", "by-tag"]
STORES = ["totals", "tumbling", "hopping", "sessions", "by-tag", "recent", "seen", "people"]


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


class Seen:
    def open(self, context: Any) -> None:
        self.store = context.store("seen")
        self.context = context
        context.schedule(ms(25), self.report)

    def process(self, record: Record, context: Any) -> None:
        count = (self.store.get(record.key) or 0) + 1
        self.store.put(record.key, count)
        if count % 2:
            context.forward(value=count)

    def report(self, now_ms: int) -> None:
        self.context.forward(key="report", value=sum(n for _key, n in self.store.range()))


def counted(_key: Any, value: dict[str, Any], total: list[int]) -> list[int]:
    total.append(value["n"])
    return total[-5:]


def app() -> App:
    app = App("everything")
    stream = app.stream("in", key=str, value=dict[str, Any])
    people = app.table("people", key=str, value=str, store="people")
    grouped = stream.group_by_key()
    grouped.aggregate({"count": Count(), "sum": Sum("n"), "last": Last("n")}, store="totals").to(
        "totals"
    )
    grouped.aggregate(
        list, counted, store=Store("recent", value=list[int], ttl=ms(40)), emit="every"
    ).to("every")
    grouped.windowed_by(TumblingWindows(ms(10), grace=ms(5))).count(
        store="tumbling", emit="final"
    ).to("final")
    grouped.windowed_by(HoppingWindows(ms(20), ms(10))).count(store="hopping", emit="every").to(
        "hopping"
    )
    grouped.windowed_by(SessionWindows(ms(8), grace=ms(8))).count(store="sessions").to("sessions")
    by_tag = stream.group_by(lambda _key, value: value["tag"], key=str, name="tags")
    by_tag.aggregate({"sum": Sum("n")}, store="by-tag").to("by-tag")
    stream.left_join(people, lambda value, name: f"{value['n']}{name}", value=str).to("joined")
    stream.process(Seen, stores=[Store("seen", str, int)], value=int).to("processed")
    small, _large = stream.branch(lambda _k, v: v["n"] < 50, lambda _k, _v: True)
    small.to("copied")
    stream.filter(lambda _k, v: v["n"] % 7 == 0).map_values(lambda v: {"seven": v["n"]}).to(
        "copied", value=dict[str, Any]
    )
    return app


def fill(driver: TopologyTestDriver, chance: random.Random) -> None:
    """All input is there before the first record is processed, so that its order is certain."""
    now = 0
    for number in range(60):
        now += chance.choice([0, 1, 2, 5, 9])
        stamp = max(now - chance.choice([0, 0, 0, 3, 15]), 0)
        key = chance.choice(["a", "b", "ab", "c"])
        if number % 6 == 0:
            driver.send("people", key, chance.choice(["Ann", "Bob", None]), at=stamp)
        value = {"n": chance.randrange(100), "tag": chance.choice(["x", "y", "z"])}
        driver.send("in", key, value, at=stamp)
    driver.commit()


def written(driver: TopologyTestDriver, topic: str) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for record in driver.read_records(topic):
        found[record.partition, record.key].append(_plain(record.value))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("STREAMER_TEST_SEEDS", "5"))))
def test_a_troubled_run_ends_like_a_quiet_one(seed: int) -> None:
    application = app()
    with (
        TopologyTestDriver(application, partitions=2, auto_commit=False) as quiet,
        TopologyTestDriver(application, partitions=2, auto_commit=False, seed=seed) as troubled,
    ):
        for driver in (quiet, troubled):
            fill(driver, random.Random(seed))
        for topic in EXACT:
            assert written(troubled, topic) == written(quiet, topic), topic
        for store in STORES:
            assert dict(troubled.store(store)) == dict(quiet.store(store)), store
        for topic in NEWEST:
            newest = {key: values[-1] for key, values in written(troubled, topic).items()}
            wanted = {key: values[-1] for key, values in written(quiet, topic).items()}
            assert newest == wanted, topic


def test_results_per_commit_are_some_of_every_result_in_order() -> None:
    def build(emit: Any) -> App:
        app = App("emits")
        app.stream("in", key=str, value=int).group_by_key().reduce(
            lambda one, other: one * 3 + other, store="s", emit=emit
        ).to("out")
        return app

    for seed in range(3):
        with (
            TopologyTestDriver(build("every")) as every,
            TopologyTestDriver(build("commit"), seed=seed) as commit,
        ):
            for driver in (every, commit):
                driver.send_many("in", [("ab"[n % 2], n) for n in range(20)])
            for key, results in written(commit, "out").items():
                whole = written(every, "out")[key]
                assert _is_part(results, whole)
                assert results[-1] == whole[-1]
