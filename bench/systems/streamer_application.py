"""The benchmark as applications of Streamer; each is a target of ``streamer run``.

One process runs one of them; which topics and settings it gets is said by its case.
"""

from __future__ import annotations

import msgspec

from bench.systems import Case
from streamer import App, Count, Max, Sum


class Event(msgspec.Struct):
    customer: str
    type: str
    amount: int
    ts: int


class Stats(msgspec.Struct):
    count: int = 0
    sum: int = 0
    last: int = 0


def add(key: str, event: Event, stats: Stats) -> Stats:
    return Stats(stats.count + 1, stats.sum + event.amount, event.ts)


CASE = Case.from_environment()
STATE = CASE.state / f"worker-{CASE.process}"


def _app() -> App:
    return App(
        CASE.application,
        bootstrap_servers=CASE.bootstrap,
        state_dir=STATE,
        commit_interval_ms=CASE.commit_ms,
    )


fold = _app()
(
    fold.stream(CASE.source, key=str, value=Event)
    .group_by_key()
    .aggregate(Stats, add, store="stats")
    .to(CASE.target)
)

every = _app()
(
    every.stream(CASE.source, key=str, value=Event)
    .group_by_key()
    .aggregate(Stats, add, store="stats", emit="every")
    .to(CASE.target)
)

restored = _app()
(
    restored.stream(CASE.source, key=str, value=bytes)
    .group_by_key()
    .reduce(lambda _, newest: newest, store="stats")
)

built_in = _app()
(
    built_in.stream(CASE.source, key=str, value=Event)
    .group_by_key()
    .aggregate({"count": Count(), "sum": Sum("amount"), "last": Max("ts")}, store="stats")
    .to(CASE.target)
)
