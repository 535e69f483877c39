from __future__ import annotations

import pytest

from bench import placement
from bench.fleets import Fleet, carried_out, grown, without_host, without_zone
from bench.options import Options
from bench.placement import COLUMNS, Large, Small
from bench.report import Row
from streamer.assignment.place import place

FLEET = Fleet(hosts=6, per_host=2, tasks=36, zipf=0.8)
KEYS = {
    *("workers", "tasks", "zones", "plan_s", "replan_host_s", "replan_zone_s"),
    "moved_ratio",
}


def test_the_same_arguments_give_the_same_fleet() -> None:
    assert FLEET.facts() == FLEET.facts()


def test_hosts_and_zones_are_lost_as_a_whole() -> None:
    facts = FLEET.facts()
    assert len(without_host(facts, 0).workers) == 10
    assert len(without_zone(facts, 1).workers) == 8


@pytest.mark.slow
def test_sizes_change_when_a_fleet_has_grown() -> None:
    running = carried_out(FLEET.facts(), place(FLEET.facts()))
    after = grown(running, 1)
    assert after.previous == running.previous
    assert after.tasks != running.tasks


@pytest.mark.slow
def test_a_large_fleet_is_checked_and_compared_with_what_was_lost() -> None:
    row = Large("large", FLEET).row()
    assert row["correct"] is True
    assert float(str(row["moved_ratio"])) >= 1.0


@pytest.mark.slow
def test_a_small_fleet_is_compared_with_an_exact_solver() -> None:
    row = Small("small", Fleet(hosts=4, per_host=1, tasks=8), seeds=1).row()
    assert row["correct"] is True
    assert row["moved_ratio"] == 1.0
    assert row["instances"] == 12


def test_rows_have_the_keys_that_are_promised() -> None:
    assert {column.key for column in COLUMNS} >= KEYS


def test_a_row_that_fails_has_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> dict[str, object]:
        raise ValueError("no workers")

    rows: list[Row] = []
    monkeypatch.setattr(Large, "row", broken)
    placement.run(Options(only=("400 x 3, alike",)), rows.extend)
    assert rows[0]["correct"] is False
    assert "no workers" in str(rows[0]["error"])
