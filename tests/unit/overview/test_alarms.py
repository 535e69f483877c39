"""What is not as it should be comes with what to do, the worst first."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streamer.assignment.explain import __file__ as explained
from streamer.control.messages import ChoreReport, StandbyReport, TaskReport
from streamer.control.requests import DrainRecord, ModeRecord, PlanRecord
from streamer.overview import alarms as module
from streamer.overview.alarms import Alarm, alarms
from streamer.overview.fleet import Fleet
from streamer.overview.inventory import Inventory, SnapshotRow, StoreRow
from tests.unit.overview.fleets import NOW_MS, Drawn, fleet_of
from tests.unit.overview.records import PROGRESS, books_of, operation

TWO = {"az=1": 2, "az=2": 2}
HOUR_MS = 3_600_000


@pytest.fixture
def drawn() -> Drawn:
    return fleet_of(TWO, per_worker=2)


def found(drawn: Drawn, inventory: Inventory | None = None) -> list[Alarm]:
    return alarms(Fleet(drawn.seen()), inventory)


def kinds(drawn: Drawn, inventory: Inventory | None = None) -> list[tuple[str, str]]:
    return [(one.level, one.kind) for one in found(drawn, inventory)]


def test_nothing_is_said_of_what_is_well(drawn: Drawn) -> None:
    assert found(drawn) == []


def test_a_failed_task_comes_before_a_failed_copy(drawn: Drawn) -> None:
    drawn.copy("2-0000", "0_0", StandbyReport(state="failed"))
    drawn.task("1-0000", "0_1", TaskReport(state="failed"))
    first, second = found(drawn)
    assert (first.level, first.kind, first.examples) == (
        "alarm",
        "failed_tasks",
        ("0_1 at 1-0000",),
    )
    assert first.link == ("task", "0_1")
    assert (second.level, second.kind) == ("warning", "failed_copies")
    assert "streamer rebuild" in second.todo


def test_a_lost_worker_and_what_nobody_runs_are_told(drawn: Drawn) -> None:
    drawn.gone.add("1-0001")
    by_kind = {one.kind: one for one in found(drawn)}
    assert by_kind.keys() == {"missing_tasks", "gone_workers"}
    assert by_kind["missing_tasks"].count == 2
    assert by_kind["gone_workers"].since_ms == NOW_MS - 1_000
    assert "was given to others" in by_kind["gone_workers"].todo

    drawn.plan = PlanRecord(controller="1-0000", away=("1-0001",), at_ms=NOW_MS)
    by_kind = {one.kind: one for one in found(drawn)}
    assert "the controller waits for them" in by_kind["gone_workers"].todo


def test_an_operation_that_moves_no_further_is_told_though_somebody_carries_it_out(
    drawn: Drawn,
) -> None:
    def shown(still_ms: int, **fields: object) -> list[Alarm]:
        progress = replace(
            PROGRESS, held_by="0_3 (nobody runs it)", moved_ms=NOW_MS - still_ms, at_ms=NOW_MS
        )
        record = operation("trim-1", **fields)
        steps = (replace(record.steps[0], progress=progress), *record.steps[1:])
        drawn.books = books_of(replace(record, steps=steps), live="trim-1")
        return found(drawn)

    assert shown(14 * 60_000) == []
    [one] = shown(15 * 60_000)
    assert (one.level, one.kind) == ("warning", "still_operation")
    assert "trim-1 has not moved for long: step 1 of 3 hold" in one.what
    assert "waits for 0_3 (nobody runs it)" in one.what
    assert "streamer operations cancel trim-1" in one.todo
    assert one.link == ("operation", "trim-1")
    assert one.since_ms == NOW_MS - 15 * 60_000


def test_workers_that_were_lost_long_ago_are_no_alarm(drawn: Drawn) -> None:
    lost = drawn.statuses["1-0001"]
    drawn.statuses["1-0001"] = replace(lost, at_ms=NOW_MS - 25 * HOUR_MS)
    drawn.gone.add("1-0001")
    assert drawn.assignments is not None
    ended = drawn.assignments.pop("1-0001")
    drawn.assignments["1-0001"] = replace(ended, ended=True)
    drawn.assignments["1-0000"] = replace(
        drawn.assignments["1-0000"], tasks=("0_0", "0_1", "0_2", "0_3")
    )
    for task in ("0_2", "0_3"):
        drawn.task("1-0000", task, TaskReport(state="running"))
    assert found(drawn) == []


def test_without_a_controller_it_is_an_alarm_once_an_election_should_be_over(drawn: Drawn) -> None:
    drawn.controller = ""
    assert kinds(drawn) == [("note", "no_controller")]
    drawn.plan = PlanRecord(controller="1-0000", at_ms=NOW_MS - 60_000)
    assert kinds(drawn) == [("alarm", "no_controller")]


def test_no_worker_is_an_alarm_of_its_own() -> None:
    assert ("alarm", "no_workers") in kinds(Drawn())


def test_degraded_modes_say_what_they_need(drawn: Drawn) -> None:
    modes = (
        ModeRecord(name="unplaced_standbys", concerns=7, examples=("0_1",), until="ready workers"),
        ModeRecord(name="zone_violations", concerns=2, examples=("0_0", "0_3"), since_ms=5),
        ModeRecord(name="one_zone_left", concerns=1_200, examples=("az=eu-1",)),
        ModeRecord(name="of_a_later_release", concerns=1),
    )
    drawn.plan = PlanRecord(controller="1-0000", modes=modes, at_ms=NOW_MS)
    first, left, second, third = found(drawn)
    assert (left.kind, left.count) == ("one_zone_left", 1)
    assert (first.level, first.count, first.since_ms) == ("alarm", 2, 5)
    assert first.what == "tasks have two copies in one zone or on one host"
    assert (second.level, second.todo) == ("warning", "it needs ready workers")
    assert third.what == "of a later release"


def test_every_mode_of_the_controller_has_its_words() -> None:
    with open(explained, encoding="utf-8") as file:
        text = file.read()
    assert all(f'"{name}"' in text for name in module._MODES)


@pytest.mark.parametrize(
    ("state", "level", "todo"),
    [
        ("failed", "alarm", "mend the cause"),
        ("paused", "note", "it was stopped in order"),
        ("running", "alarm", "its process is gone"),
    ],
)
def test_operations_that_stand_still_are_told(
    drawn: Drawn, state: str, level: str, todo: str
) -> None:
    drawn.books = books_of(operation("trim-1", state=state))
    (one,) = found(drawn)
    assert (one.level, one.link) == (level, ("operation", "trim-1"))
    assert todo in one.todo


def test_many_operations_that_stand_still_leave_room_for_the_rest(drawn: Drawn) -> None:
    drawn.books = books_of(*(operation(f"rebuild-{at:02}", state="failed") for at in range(30)))
    told = found(drawn)
    assert [one.kind for one in told] == ["operation"] * 3 + ["operations"]
    assert (told[3].count, told[3].examples[0]) == (27, "rebuild-03")


@pytest.mark.parametrize("state", ["planned", "done", "cancelled"])
def test_operations_with_nothing_to_do_are_not(drawn: Drawn, state: str) -> None:
    drawn.books = books_of(operation("trim-1", state=state))
    assert found(drawn) == []


def test_an_operation_that_somebody_carries_out_is_none(drawn: Drawn) -> None:
    drawn.books = books_of(operation("trim-1", state="running"), live="trim-1")
    assert found(drawn) == []


def test_a_snapshot_that_a_worker_could_not_make_is_told_with_its_reason(drawn: Drawn) -> None:
    chore = ChoreReport(operation="snapshot-1", state="failed", why="the disk is full")
    drawn.task("1-0000", "0_0", TaskReport(state="running", chore=chore))
    (one,) = found(drawn)
    assert (one.level, one.link) == ("warning", ("operation", "snapshot-1"))
    assert one.examples == ("0_0 at 1-0000: the disk is full",)


def test_records_that_cannot_be_read_are_told(drawn: Drawn) -> None:
    drawn.refused = {"lock/application": "it is not a record of an operation"}
    assert kinds(drawn) == [("warning", "unreadable")]


def test_two_topologies_are_told(drawn: Drawn) -> None:
    for name, shape in (("1-0000", "a"), ("1-0001", "b"), ("2-0000", "")):
        drawn.statuses[name] = replace(drawn.statuses[name], shape=shape)
    assert kinds(drawn) == [("warning", "two_topologies")]


def test_snapshots_that_are_missing_or_old_and_changelogs_in_trouble(drawn: Drawn) -> None:
    inventory = Inventory(
        looked_ms=NOW_MS,
        repository="file:///snapshots",
        interval_ms=HOUR_MS,
        is_complete=True,
        stores=(StoreRow(store="totals", topic="shop-totals-changelog", trouble="no right"),),
        tasks=(
            SnapshotRow(task="0_0", count=2, stem="1-a", created_ms=NOW_MS - 4 * HOUR_MS),
            SnapshotRow(task="0_1", count=2, stem="1-b", created_ms=NOW_MS - HOUR_MS),
            SnapshotRow(task="0_2"),
        ),
    )
    assert kinds(drawn, inventory) == [
        ("warning", "no_snapshot"),
        ("warning", "old_snapshots"),
        ("warning", "changelog"),
    ]
    late = {one.kind: one for one in found(drawn, inventory)}["old_snapshots"]
    assert (late.examples, late.since_ms) == (("0_0",), NOW_MS - 4 * HOUR_MS)


def test_a_repository_that_was_not_looked_at_whole_accuses_nobody(drawn: Drawn) -> None:
    rows = (SnapshotRow(task="0_0", count=1, created_ms=NOW_MS), SnapshotRow(task="0_1"))
    partly = Inventory(looked_ms=NOW_MS, repository="file:///s", tasks=rows)
    assert kinds(drawn, partly) == []
    away = Inventory(looked_ms=NOW_MS, repository="s3://b", trouble="no answer", hint="ask again")
    (one,) = found(drawn, away)
    assert (one.kind, one.todo) == ("repository", "ask again")


def test_a_drain_that_was_stopped_says_how_to_go_on(drawn: Drawn) -> None:
    drawn.plan = PlanRecord(controller="1-0000", draining=("2-0000",), drain="d", at_ms=NOW_MS)
    drawn.drain = DrainRecord(number="d", zones=("az=2",))
    [one] = found(drawn)
    assert (one.kind, one.what) == ("draining", "workers are drained")
    drawn.plan = replace(drawn.plan, halted="d")
    [one] = found(drawn)
    assert (one.level, one.kind) == ("note", "draining")
    assert one.what == "workers are drained, and keep what they have: that was stopped"
    assert one.todo == "the same streamer drain goes on with it, --undo ends it"
