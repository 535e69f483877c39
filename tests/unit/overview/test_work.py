"""Where operations stand, and what to do where one stands still."""

from __future__ import annotations

import msgspec
import pytest

from streamer.errors import OperationRefusedError
from streamer.overview.work import FINISHED_SHOWN, advice, details, listed, state_of
from tests.unit.overview.fleets import NOW_MS
from tests.unit.overview.records import books_of, operation


def test_one_under_way_is_told_with_its_step_and_progress() -> None:
    (row,) = listed(books_of(operation("trim-1"), live="trim-1"), NOW_MS)
    assert (row.state, row.step, row.at, row.steps, row.done) == ("running", "hold", 1, 3, 0)
    assert row.summary == "hold it"
    assert row.progress is not None
    assert (row.progress.bytes_per_s, row.progress.eta_s) == (50, 14)
    assert (row.advice, row.can_cancel) == ("", True)


def test_behind_the_point_of_no_return_nothing_can_be_cancelled() -> None:
    books = books_of(operation("trim-1", at=1), live="trim-1")
    (row,) = listed(books, NOW_MS)
    assert not row.can_cancel
    told = details(books, "trim-1", NOW_MS)
    assert told["plan"]["is_past"] == "there is no way back after step cut: older records"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("running", "its process is gone, and another one may go on"),
        ("cancelling", "its process is gone"),
        ("failed", "mend the cause, then go on: streamer operations resume trim-1"),
        ("paused", "it was stopped in order"),
        ("planned", "approve its plan, or give it up: streamer operations cancel trim-1"),
    ],
)
def test_where_nobody_is_at_work_it_is_said_what_to_do(state: str, said: str) -> None:
    record = operation("trim-1", state=state)
    assert said in advice(record, is_live=False)
    assert advice(record, is_live=True) == ""


def test_who_waits_for_an_answer_is_told_and_what_goes_without_one() -> None:
    record = operation("trim-1", state="paused")
    asks = "resume trim-1, which asks nobody, also before step cut, behind which there is no way"
    record = msgspec.structs.replace(
        record,
        conductor="Airflow, DAG trim, run manual",
        steps=tuple(msgspec.structs.replace(one, state="planned", begun=0) for one in record.steps),
    )
    said = advice(record, is_live=False)
    assert "for Airflow, DAG trim, run manual: see what is to be answered there" in said
    assert asks in said
    past = tuple(msgspec.structs.replace(one, state="done", begun=1) for one in record.steps)
    assert "asks nobody" not in advice(msgspec.structs.replace(record, steps=past), is_live=False)


def test_by_nobody_is_a_state_of_its_own() -> None:
    record = operation("trim-1")
    assert state_of(record, is_live=False) == "running, by nobody"
    assert state_of(record, is_live=True) == "running"
    assert state_of(operation("trim-1", state="failed"), is_live=False) == "failed"


def test_a_failed_one_has_its_trouble_until_it_is_over() -> None:
    (row,) = listed(books_of(operation("trim-1", state="failed")), NOW_MS)
    assert (row.trouble, row.hint) == ("step hold: no answer", "ask again")
    assert not row.can_cancel


def test_the_newest_come_first_and_few_of_those_that_are_over() -> None:
    past = [
        operation(f"trim-{number}", state="done", planned_ms=number, started_ms=1_000 + number)
        for number in range(FINISHED_SHOWN + 5)
    ]
    old = operation("snapshot-1", state="failed", kind="snapshot", planned_ms=5, started_ms=10)
    rows = listed(books_of(*past, old), NOW_MS)
    assert [row.id for row in rows[:2]] == [
        f"trim-{FINISHED_SHOWN + 4}",
        f"trim-{FINISHED_SHOWN + 3}",
    ]
    assert len(rows) == FINISHED_SHOWN + 1
    assert rows[-1].id == "snapshot-1"


def test_the_details_have_the_plan_and_each_step() -> None:
    request = {"cut": {f"0_{number}": [0, 900] for number in range(500)}, "why": "disk"}
    books = books_of(operation("trim-1", at=1, request=request), live="trim-1")
    told = details(books, "trim-1", NOW_MS)
    assert [step["state"] for step in told["steps_told"]] == ["done", "running", "waiting"]
    assert told["steps_told"][0]["said"] == "it is"
    assert told["plan"]["cost"] == {"bytes": 21, "seconds": 90}
    assert told["request"]["why"] == "disk"
    assert len(told["request"]["cut"]) < 500


def test_one_that_is_not_known_is_refused() -> None:
    with pytest.raises(OperationRefusedError, match="there is no operation 'trim-9'"):
        details(books_of(), "trim-9", NOW_MS)
