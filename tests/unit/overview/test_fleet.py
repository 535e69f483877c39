"""A fleet is summed up by zone, and told one by one below that."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streamer.control.messages import StandbyReport, TaskReport
from streamer.overview.fleet import ZONES_MAX, Fleet
from tests.unit.overview.fleets import LARGE, MIB, fleet_of, without_assignments

TWO = {"az=1": 2, "az=2": 2}


def test_sums_are_those_of_all_workers() -> None:
    totals = Fleet(fleet_of(TWO, per_worker=3).seen()).totals
    assert (totals.workers, totals.alive, totals.tasks, totals.running) == (4, 4, 12, 12)
    assert (totals.standby, totals.warming, totals.bare, totals.waiting) == (12, 0, 0, 0)
    assert (totals.lag_records, totals.rate, totals.capacity) == (36, 480, 400)
    assert (totals.active_bytes, totals.copy_bytes) == (60 * MIB, 60 * MIB)


def test_a_zone_tells_its_own_and_a_letter_for_each_worker() -> None:
    drawn = fleet_of(TWO, per_worker=2)
    drawn.task("1-0000", "0_0", TaskReport(state="restoring", restore_left_records=70))
    drawn.copy("2-0001", "0_2", StandbyReport(lag_records=5_000))
    drawn.gone.add("1-0001")
    fleet = Fleet(drawn.seen())

    first, second = fleet.zones()
    assert (first.zone, first.letters, second.letters) == ("az=1", "rx", "ow")
    assert (first.totals.workers, first.totals.alive, first.totals.running) == (2, 1, 1)
    assert (first.totals.restoring, first.totals.restore_left_records) == (1, 70)
    assert (first.totals.unknown, first.totals.lag_records) == (1, 3)
    assert second.totals.warming == 1


def test_a_copy_that_has_far_to_go_is_warming_and_its_task_is_bare() -> None:
    drawn = fleet_of(TWO, per_worker=1)
    # Worker 2-0000 keeps the copy of the task of 1-0000.
    drawn.copy("2-0000", "0_0", StandbyReport(lag_records=101))
    assert Fleet(drawn.seen()).bare == {"0_0"}
    drawn.copy("2-0000", "0_0", StandbyReport(lag_records=100))
    assert Fleet(drawn.seen()).bare == set()
    drawn.copy("2-0000", "0_0", StandbyReport(state="failed"))
    rows = Fleet(drawn.seen()).of_task("0_0")
    assert [(row.worker, row.role) for row in rows] == [
        ("1-0000", "running"),
        ("2-0000", "failed copy"),
    ]


def test_what_a_lost_worker_had_runs_nowhere() -> None:
    drawn = fleet_of(TWO, per_worker=1)
    drawn.gone.add("1-0000")
    fleet = Fleet(drawn.seen())
    assert [each.task for each in fleet.missing] == ["0_0"]
    assert fleet.totals.waiting == 1
    assert [row.role for row in fleet.of_task("0_0")] == ["standby"]


def test_while_assignments_are_not_known_nothing_is_missing_or_moving() -> None:
    drawn = without_assignments(fleet_of(TWO, per_worker=1))
    drawn.gone.add("1-0000")
    fleet = Fleet(drawn.seen())
    assert (fleet.missing, fleet.moving, fleet.totals.moving) == ([], [], 0)
    assert not any(row.is_moving for row in fleet.of_worker("2-0000"))


def test_those_that_left_in_order_are_not_shown() -> None:
    drawn = fleet_of(TWO, per_worker=1)
    drawn.statuses["1-0000"] = replace(drawn.statuses["1-0000"], left=True, tasks={}, standbys={})
    fleet = Fleet(drawn.seen())
    assert sorted(fleet.rows) == ["1-0001", "2-0000", "2-0001"]
    assert fleet.totals.workers == 3


def test_few_workers_are_told_with_the_names_of_their_tasks_again_and_again() -> None:
    drawn = fleet_of(TWO, per_worker=2)
    drawn.task("1-0000", "0_1", TaskReport(state="failed"))
    fleet = Fleet(drawn.seen())
    for _ in range(2):
        row = fleet.page()[0]
        assert row.worker == "1-0000"
        assert row.names == ("0_0", "0_1", "0_4", "0_5")
        assert row.cells == "AFss"
        assert row.letter == "f"


def test_many_workers_are_told_in_pages_those_in_trouble_first() -> None:
    drawn = fleet_of({"az=1": 30, "az=2": 30}, per_worker=2)
    drawn.gone.add("1-0020")
    drawn.task("1-0010", "0_20", TaskReport(state="restoring"))
    fleet = Fleet(drawn.seen())
    page = fleet.page("az=1", count=5)
    assert [row.worker for row in page] == ["1-0020", "1-0010", "1-0000", "1-0001", "1-0002"]
    assert page[1].cells == "RAss"
    assert page[0].names == ()
    assert [row.worker for row in fleet.page("az=1", skip=28, count=5)] == ["1-0028", "1-0029"]


def test_zones_are_as_wide_as_there_is_room_for() -> None:
    racks = {f"region=eu,az={az},rack={rack}": 1 for az in "abc" for rack in range(20)}
    fleet = Fleet(fleet_of(racks, per_worker=1).seen())
    assert [row.zone for row in fleet.zones()] == [f"region=eu,az={az}" for az in "abc"]
    inner = fleet.zones("region=eu,az=b")
    assert len(inner) == 20 <= ZONES_MAX
    assert inner[0].zone == "region=eu,az=b,rack=0"
    assert [row.zone for row in fleet.zones("region=eu,az=b,rack=7")] == ["region=eu,az=b,rack=7"]
    assert fleet.zones("region=eu,az=") == []


def test_workers_without_a_zone_are_one() -> None:
    (row,) = Fleet(fleet_of({"": 3}, per_worker=1).seen()).zones()
    assert (row.zone, len(row.letters)) == ("", 3)


def test_the_slowest_tasks_are_told_by_their_lag() -> None:
    drawn = fleet_of(TWO, per_worker=1)
    drawn.task("2-0001", "0_3", TaskReport(state="running", lag_records=9_000))
    drawn.task("1-0001", "0_1", TaskReport(state="running", lag_records=0))
    rows = Fleet(drawn.seen()).slowest(2)
    assert [(row.task, row.lag_records, row.zone) for row in rows] == [
        ("0_3", 9_000, "az=2"),
        ("0_0", 3, "az=1"),
    ]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_1_200_workers_with_12_000_tasks_are_summed_up() -> None:
    fleet = Fleet(fleet_of(LARGE).seen())
    totals = fleet.totals
    assert (totals.workers, totals.tasks, totals.running, totals.standby) == (
        1_200,
        12_000,
        12_000,
        12_000,
    )
    assert [(row.zone, len(row.letters)) for row in fleet.zones()] == [
        (zone, 400) for zone in LARGE
    ]
