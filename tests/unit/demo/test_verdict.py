"""The comparison looks at every row, wherever it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from demo import __main__ as program
from demo.cdnow import Purchase
from demo.scenario import Options, Summary
from demo.screen import Screen
from demo.verdict import Verdict, compare
from demo.workers import Stored

DAY, WINDOW_MS = date(1997, 5, 6), 860_544_000_000
PURCHASES = [Purchase(1, DAY, 1, 500), Purchase(2, DAY, 3, 2599), Purchase(2, DAY, 1, 1)]
PROFILES = {
    "00001": {"orders": 1, "cds": 1, "cents": 500, "biggest_cents": 500},
    "00002": {"orders": 2, "cds": 4, "cents": 2600, "biggest_cents": 2599},
}
DAYS = {"first_day": "1997-05-06", "last_day": "1997-05-06"}


def rows(profiles: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {**value, **DAYS}} for key, value in profiles.items()]


def windows(profiles: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "start_ms": WINDOW_MS, "value": {name: value[name] for name in SPENT}}
        for key, value in profiles.items()
    ]


SPENT = ("orders", "cents")


@dataclass
class FakeWorker:
    """A worker that has these rows; half of the tasks."""

    tasks: range
    profiles: list[dict[str, Any]]
    spending: list[dict[str, Any]]

    def stored(self, store: str) -> Stored:
        found = self.profiles if store == "profiles" else self.spending
        return Stored({f"0_{number}" for number in self.tasks}, found)


def verdict(workers: list[FakeWorker]) -> Verdict:
    return compare(PURCHASES, workers, tasks=8, say=lambda _text: None)  # type: ignore[arg-type]


def halves() -> list[FakeWorker]:
    first, second = ({key: PROFILES[key]} for key in PROFILES)
    return [
        FakeWorker(range(0, 4), rows(first), windows(first)),
        FakeWorker(range(4, 8), rows(second), windows(second)),
    ]


def test_the_same_rows_over_two_workers_are_equal() -> None:
    assert verdict(halves()) == Verdict(profiles=2, spending=2, results=0, wrong=[])


def test_a_purchase_counted_twice_in_a_store_is_seen() -> None:
    workers = halves()
    workers[1].profiles[0]["value"]["orders"] = 3
    (line,) = verdict(workers).wrong
    assert line.startswith("stored profile of 2: Profile(orders=3,")


def test_a_lost_window_is_seen() -> None:
    workers = halves()
    workers[0].spending.clear()
    (line,) = verdict(workers).wrong
    assert line.startswith(f"stored spending of (1, {WINDOW_MS}): none")


def test_a_task_at_two_workers_is_seen() -> None:
    workers = halves()
    workers[1].tasks = range(3, 8)
    wrong = verdict(workers).wrong
    assert len(wrong) == 2
    assert all(line.startswith("rows came from tasks") for line in wrong)


class FakeScenario:
    """Every scene passes; the verdict is as given."""

    wrong: list[str]

    def __init__(self, options: Options, _screen: Screen) -> None:
        self.summary = Summary(events=options.copies)

    def __enter__(self) -> FakeScenario:
        return self

    def __exit__(self, *_error: object) -> None: ...

    def start(self) -> None: ...

    run_two_workers = kill_one = replace_it = catch_up = maintain = repartition = start

    def compare(self) -> Verdict:
        return Verdict(wrong=self.wrong)


@pytest.mark.parametrize(("wrong", "code"), [([], 0), (["profile of 1"], 1)])
def test_what_is_different_is_printed_and_ends_with_code_1(
    wrong: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(FakeScenario, "wrong", wrong, raising=False)
    monkeypatch.setattr(program, "Scenario", FakeScenario)
    monkeypatch.setattr("sys.argv", ["demo", "--copies", "3"])
    monkeypatch.setattr("signal.signal", lambda *_given: None)
    assert program.main() == code
    shown = capsys.readouterr().out
    assert ("DIFFERENT" in shown, "profile of 1" in shown) == (code == 1, code == 1)
    assert "events             3" in shown
