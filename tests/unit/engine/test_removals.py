"""What comes behind a removal has its own time, whether or not a commit lies between the two."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, HoppingWindows, Store, TumblingWindows
from tests.unit.engine.rig import Rig

Records = list[tuple[str, int, int]]
MINUTE = timedelta(minutes=1)


def added(_key: str, value: int, total: int) -> int | None:
    return None if value < 0 else total + value


def reduced(one: int, other: int) -> int | None:
    return None if other < 0 else one + other


def appended(_key: str, value: int, total: list[int]) -> list[int] | None:
    total.append(value)
    return None if value < 0 else total


FOLDS: dict[str, Callable[..., Any]] = {
    "fold": lambda grouped, **given: grouped.aggregate(int, added, value=int, **given),
    "reduce": lambda grouped, **given: grouped.reduce(reduced, **given),
    "in place": lambda grouped, **given: grouped.aggregate(
        list, appended, value=list[int], **given
    ),
}


def folded(fold: str, emit: Any, *, windows: Any = None, ttl: timedelta | None = None) -> App:
    """An aggregation whose results are written."""
    app = App("removals")
    grouped: Any = app.stream("in", key=str, value=int).group_by_key()
    store: Any = Store("a", ttl=ttl)
    if windows is not None:
        grouped, store = grouped.windowed_by(windows), "a"
    results = FOLDS[fold](grouped, store=store, emit=emit).stream()
    results.to("out")
    return app


def run(app: App, records: Records, *, size: int, commits: bool) -> Rig:
    rig = Rig(app)
    for start in range(0, len(records), size):
        rig.run("in", records[start : start + size])
        if commits:
            rig.commit()
    rig.commit()
    return rig


def last(rig: Rig) -> dict[Any, Any]:
    """The last result of each key, with its time."""
    return {key: (value, stamp) for key, value, stamp, _headers in rig.sent("out")}


def happened(chance: random.Random, keys: str = "abc") -> Records:
    now, records = 0, []
    for _ in range(chance.randrange(2, 30)):
        now += chance.choice([0, 1_000, 20_000, 50_000])
        back = chance.choice([0, 0, 0, 5_000, 40_000, 90_000])
        value = chance.choice([-1, -1, 1, 2, 3])
        records.append((chance.choice(keys), value, max(now - back, 0)))
    return records


def test_a_result_behind_a_removal_has_the_time_of_its_own_records() -> None:
    records = [("k", -1, 90_000), ("k", 5, 10_000)]
    for commits in (True, False):
        rig = run(folded("fold", "commit"), records, size=2 - commits, commits=commits)
        assert last(rig) == {"k": (5, 10_000)}
        assert rig.rows("a") == {b"k": (5, 10_000)}


def test_windows_of_results_are_the_same_wherever_commits_fall() -> None:
    app = App("downstream")
    table = app.stream("in", key=str, value=int).group_by_key().aggregate(int, added, store="a")
    table.stream().filter(lambda _key, value: value is not None).group_by_key().windowed_by(
        TumblingWindows(MINUTE, grace=10 * MINUTE)
    ).count(store="w")
    records = [("k", -1, 90_000), ("k", 5, 10_000)]
    for size in (1, 2):
        rig = run(app, records, size=size, commits=True)
        assert rig.rows("w") == {bytes(8) + b"k": (1, 10_000)}


@pytest.mark.parametrize("emit", ["commit", "every"])
@pytest.mark.parametrize("size", [1, 9])
def test_a_key_that_is_removed_again_has_the_time_of_that_record(emit: str, size: int) -> None:
    records = [("k", 5, 70_000), ("k", -1, 60_000), ("k", -1, 20_000)]
    rig = run(folded("fold", emit), records, size=size, commits=size == 1)
    assert last(rig) == {"k": (None, 20_000)}


@pytest.mark.parametrize("emit", ["commit", "every"])
@pytest.mark.parametrize("commits", [True, False])
def test_a_removal_is_no_older_than_what_it_removes(emit: str, commits: bool) -> None:
    records = [("k", 5, 70_000), ("k", -1, 60_000)]
    rig = run(folded("fold", emit, ttl=5 * MINUTE), records, size=1, commits=commits)
    assert last(rig) == {"k": (None, 70_000)}


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("emit", ["commit", "every", "final"])
@pytest.mark.parametrize("seed", range(12))
def test_results_and_times_do_not_depend_on_commits(fold: str, emit: str, seed: int) -> None:
    chance = random.Random(seed)
    windows = [None, TumblingWindows(MINUTE, grace=MINUTE)]
    windows.append(HoppingWindows(2 * MINUTE, MINUTE, grace=MINUTE))
    settings = {"ttl": chance.choice([None, MINUTE])}
    if emit == "final" or chance.random() < 0.5:
        settings = {"windows": chance.choice(windows[emit == "final" :])}
    records = happened(chance)
    records.append(("z", 1, records[-1][2] + 900_000))
    single = run(folded(fold, emit, **settings), records, size=1, commits=True)
    for size, commits in ((99, False), (3, False), (5, True)):
        batched = run(folded(fold, emit, **settings), records, size=size, commits=commits)
        assert batched.rows("a") == single.rows("a")
        if emit == "every":
            assert batched.sent("out") == single.sent("out")
        else:
            assert last(batched) == last(single)


@pytest.mark.parametrize("seed", range(20))
def test_a_process_step_beside_an_aggregation_sees_its_removals(seed: int) -> None:
    def step(record: Any, context: Any) -> None:
        rows = context.store("a")
        if record.value == 3:
            rows.put(record.key, (rows.get(record.key) or 0) + 100)
        elif record.value == 2:
            rows.delete(record.key)

    def build() -> App:
        app, store = App("beside"), Store("a", value=int)
        stream = app.stream("in", key=str, value=int)
        stream.group_by_key().aggregate(int, added, store=store).stream().to("out")
        stream.process(step, stores=[store], value=int).to("none")
        return app

    records = happened(random.Random(seed), "a")
    single = run(build(), records, size=1, commits=True)
    batched = run(build(), records, size=99, commits=False)
    assert batched.rows("a") == single.rows("a")
    assert last(batched) == last(single)
