"""Final results that take several commits are those of one, wherever it crashes in between."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from streamer import App, HoppingWindows, SessionWindows, TumblingWindows, WindowStore, failpoints
from streamer.engine import closing
from streamer.failpoints import InjectedError
from streamer.ids import TaskId
from streamer.store.closing import Closing
from streamer.testing import TopologyTestDriver
from tests.hurry import examples
from tests.unit.engine.rig import Rig

ALL = 10**9


def ms(value: int) -> timedelta:
    return timedelta(milliseconds=value)


WINDOWS = [
    TumblingWindows(ms(10), grace=ms(5)),
    HoppingWindows(ms(20), ms(5)),
    SessionWindows(ms(4), grace=ms(6)),
]


def counting(windows: Any) -> App:
    """Rows are kept no longer than they may change: removed as soon as they are passed on."""
    app = App("counting")
    app.stream("in", key=str, value=int).group_by_key().windowed_by(windows).count(
        store="w", emit="final", retention=ms(0)
    ).to("out")
    return app


def results(rig: Rig) -> list[Any]:
    return [
        (key.key, key.start_ms, key.end_ms, value, stamp)
        for key, value, stamp, _ in rig.sent("out")
    ]


def run(rig: Rig, records: list[Any], ends: set[int], chance: random.Random | None) -> None:
    """Process and commit. With `chance`, transactions are aborted and workers replaced, and more
    is processed while results are left."""
    begun: list[Any] = []
    for number, record in enumerate(records):
        begun.append(record)
        if number not in ends:
            continue
        while begun or rig.pipeline.is_closing:
            rig.run("in", begun)
            if chance is not None and chance.random() < 0.3:
                rig.pipeline.flush()
                chance.choice([rig.abort, rig.restart])()
                continue
            rig.commit()
            begun = []
            if chance is not None:
                if chance.random() < 0.3:
                    rig.restart()
                if chance.random() < 0.5:
                    break
    while rig.pipeline.is_closing:
        rig.commit()
    rig.commit()


@pytest.mark.parametrize("seed", range(examples(30)))
@pytest.mark.parametrize("windows", WINDOWS)
def test_many_commits_give_what_one_gives(
    windows: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    now, records = 0, []
    for _ in range(120):
        now += chance.choice([0, 0, 0, 1, 3, 40])
        stamp = max(now - chance.choice([0, 0, 4, 12, 30]), 0)
        records.append((chance.choice("abcdefgh") * chance.randrange(1, 3), 1, stamp))
    records.append(("z", 1, now + 1_000))
    ends = {*chance.sample(range(120), 8), 120}
    whole, split = Rig(counting(windows)), Rig(counting(windows))
    for rig, most, luck in ((whole, ALL, None), (split, chance.choice([1, 2, 5]), chance)):
        monkeypatch.setattr(closing, "RESULTS_MAX", most)
        monkeypatch.setattr(closing, "PAGE_ROWS", chance.choice([1, 3, 5_000]))
        run(rig, records, ends, luck)
    assert len(set(results(split))) == len(results(split)) > 20
    assert results(split) == results(whole)
    assert split.rows("w") == whole.rows("w")
    # All but the last record's were passed on, and then removed.
    assert all(b"z" in row for row in split.rows("w"))


def test_a_commit_passes_on_so_many_and_says_that_more_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closing, "RESULTS_MAX", 4)
    rig = Rig(counting(TumblingWindows(ms(10))))
    rig.run("in", [(key, 1, stamp) for stamp in (5, 15) for key in "abcdef"])
    rig.commit()
    assert [len(results(rig)), rig.closings] == [4, {"w": Closing(0, 4)}]
    assert rig.pipeline.is_closing
    # Late, though its window's result is not passed on yet; and no row expires before it is.
    rig.run("in", [("f", 1, 6), ("g", 1, 7)])
    assert rig.dropped()["late"] == 2
    assert len(rig.rows("w")) == 12
    rig.commit()
    assert [len(results(rig)), rig.closings] == [6, {}]
    assert not rig.pipeline.is_closing
    assert len(rig.rows("w")) == 6
    rig.run("in", [("z", 1, 25)])
    rig.commit()
    assert rig.closings == {"w": Closing(10, 4)}
    rig.restart()
    assert rig.pipeline.is_closing
    rig.commit()
    assert [one[0] for one in results(rig)] == [*"abcdefabcdef"]


def test_a_commit_that_is_late_leaves_all_of_it() -> None:
    rig = Rig(counting(TumblingWindows(ms(10))))
    rig.run("in", [("a", 1, 5), ("b", 1, 15)])
    is_late = [True]
    rig.pipeline.flush(closing.Room(lambda: is_late[0]))
    assert rig.output.open == []
    assert rig.pipeline.closings == {"w": Closing(0, 0)}
    is_late[0] = False
    rig.pipeline.flush(closing.Room(lambda: is_late[0]))
    assert len(rig.output.open) == 1


@pytest.mark.parametrize("beside", ["windows behind", "process"])
def test_results_that_may_not_be_split_come_with_one_commit(
    beside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of one commit make none of them late for windows behind."""
    monkeypatch.setattr(closing, "RESULTS_MAX", 1)
    monkeypatch.setattr(closing, "PAGE_ROWS", 2)
    app = counting(HoppingWindows(ms(20), ms(10)))
    if beside == "process":

        class Nothing:
            def process(self, record: Any, context: Any) -> None: ...

        app.stream("other", key=str, value=int).process(
            Nothing, stores=[WindowStore("w", size=ms(20))], value=int
        ).to("no")
    else:
        app = App("counting")
        firsts = app.stream("in", key=str, value=int).group_by_key()
        first = firsts.windowed_by(HoppingWindows(ms(20), ms(10))).count(store="w", emit="final")
        first.to("out")
        first.stream().group_by_key().windowed_by(TumblingWindows(ms(2))).count(store="again")
    rig = Rig(app)
    rig.run("in", [(key, 1, stamp) for stamp in (1, 12, 15) for key in "abc"])
    rig.run("in", [("z", 1, 200)])
    rig.commit()
    assert len(results(rig)) == 6
    assert rig.dropped()["late"] == 0
    assert not rig.pipeline.is_closing


@pytest.mark.slow
@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("lose_disk", [False, True])
@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize(
    "point", [None, "commit.before_transaction_commit", "commit.before_store_write"]
)
def test_whoever_takes_over_goes_on_where_the_last_commit_came(
    windows: Any,
    lose_disk: bool,
    guarantee: str,
    point: str | None,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closing, "RESULTS_MAX", 3)
    with TopologyTestDriver(
        counting(windows), auto_commit=False, processing_guarantee=guarantee
    ) as driver:
        for number in range(20):
            driver.send("in", f"k{number:02}", 1, at=5 + number // 15)
        driver.send("in", "z", 1, at=900)
        driver.process()
        task = TaskId(0, 0)
        for _ in range(3):
            driver._life.commit()
            assert driver._life.tasks[task].is_closing
            if point is not None:
                with pytest.raises(InjectedError), failpoints.armed(point, "error"):
                    driver._life.commit()
            driver.crash(lose_disk=lose_disk)
            assert driver._life.tasks[task].is_closing
        driver.commit()
        assert not driver._life.tasks[task].is_closing
        found = [(key.key, key.start_ms) for key, _count in driver.read("out")]
        each = 20 if not isinstance(windows, HoppingWindows) else len(set(found))
        assert len(set(found)) == each >= 20
        if guarantee == "exactly_once" or point != "commit.before_transaction_commit":
            assert len(found) == each
        assert {key.key for key in dict(driver.store("w"))} == {"z"}
