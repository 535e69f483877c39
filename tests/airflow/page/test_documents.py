"""What the page is sent does not grow with the fleet, and changes only when something happened."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamer.errors import ConfigError
from streamer.overview.fleet import Fleet
from streamer.overview.follow import Trouble, View
from streamer.overview.inventory import Inventory, SnapshotRow, StoreRow
from streamer_airflow.web import documents
from streamer_airflow.web.answers import Answers
from streamer_airflow.web.documents import MissingError
from tests.airflow.page.views import large_inventory, troubled, view_of
from tests.unit.overview.fleets import LARGE, NOW_MS, fleet_of
from tests.unit.overview.records import books_of, operation

KIB = 1024
SMALL = {"az=1": 2, "az=2": 2}


def sent(document: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(document))


def size(document: Any) -> int:
    return len(msgspec.json.encode(document))


def test_1_200_workers_on_a_bad_day_are_some_kilobytes() -> None:
    drawn = troubled(fleet_of(LARGE))
    view = view_of(drawn, inventory=large_inventory())
    state = sent(documents.state(view))
    assert state["totals"]["workers"] == 1_200
    assert state["workers"] == []
    assert [len(zone["letters"]) for zone in state["zones"]] == [400, 400, 400]
    assert size(documents.state(view)) < 64 * KIB

    zone = "cloud=a,region=eu,az=eu-2"
    page = sent(documents.zone(view, zone, 0))
    assert (len(page["rows"]), page["left"], page["total"]) == (100, 300, 400)
    assert size(documents.zone(view, zone, 0)) < 64 * KIB
    assert sent(documents.zone(view, zone, 300))["left"] == 0

    name = page["rows"][50]["worker"]
    assert size(documents.worker(view, name)) < 16 * KIB
    assert size(documents.task(view, "0_11000")) < 8 * KIB


def test_a_quiet_fleet_of_1_200_is_less() -> None:
    assert size(documents.state(view_of(fleet_of(LARGE)))) < 8 * KIB


def test_a_fleet_of_many_zones_shows_the_worst_of_them() -> None:
    drawn = fleet_of({f"az={at:03}": 1 for at in range(100)}, per_worker=1)
    drawn.gone.add("099-0000")
    state = documents.state(view_of(drawn))
    assert len(state["zones"]) == documents.ZONES_MAX
    assert state["zones_left"] == 100 - documents.ZONES_MAX
    assert state["zones"][0].zone == "az=099"


def test_a_small_application_is_shown_with_the_names_of_tasks() -> None:
    state = sent(documents.state(view_of(fleet_of(SMALL, per_worker=2))))
    assert len(state["workers"]) == 4
    assert state["workers"][0]["names"] == ["0_0", "0_1", "0_4", "0_5"]
    assert state["alarms"] == []
    assert state["stores"] is None


def test_the_same_is_sent_as_long_as_nothing_happens() -> None:
    answers = Answers()
    first = answers.give(view_of(fleet_of(SMALL)), ("shop", "state"), documents.state)
    later = View(version=2, fleet=Fleet(fleet_of(SMALL).seen()), heard_ms=NOW_MS + 5_000)
    assert answers.give(later, ("shop", "state"), documents.state) == first
    drawn = fleet_of(SMALL)
    drawn.gone.add("1-0000")
    other = View(version=3, fleet=Fleet(drawn.seen()))
    assert answers.give(other, ("shop", "state"), documents.state)[1] != first[1]


def test_a_document_is_made_once_for_all_who_look() -> None:
    made: list[View] = []

    def make(view: View) -> str:
        made.append(view)
        return "it"

    answers, view = Answers(), view_of(fleet_of(SMALL))
    for _ in range(10):
        assert answers.give(view, ("shop", "state"), make)[0] == b'"it"'
    answers.give(view, ("other", "state"), make)
    assert len(made) == 2


def test_answers_do_not_pile_up() -> None:
    answers, view = Answers(), view_of(fleet_of(SMALL))
    for number in range(500):
        answers.give(view, ("shop", "task", str(number)), lambda _view: "it")
    assert len(answers._made) == 64


def test_a_store_is_told_with_its_tasks_those_without_a_snapshot_first() -> None:
    inventory = Inventory(
        looked_ms=NOW_MS,
        repository="file:///s",
        stores=(StoreRow(store="totals", topic="shop-totals-changelog"),),
        tasks=(
            SnapshotRow(task="0_0", count=1, created_ms=50),
            SnapshotRow(task="0_1", count=1, created_ms=20),
            SnapshotRow(task="0_2"),
        ),
    )
    view = view_of(fleet_of(SMALL, per_worker=1), inventory=inventory)
    told = sent(documents.store(view, "totals", 0))
    assert [row["task"] for row in told["rows"]] == ["0_2", "0_3", "0_1", "0_0"]
    assert told["rows"][0]["position"] == 900
    state = sent(documents.state(view))
    assert (state["stores"]["with_snapshot"], state["stores"]["oldest_ms"]) == (2, 20)


def test_an_operation_is_told_with_its_plan() -> None:
    drawn = fleet_of(SMALL)
    drawn.books = books_of(operation("trim-1"), live="trim-1")
    told = sent(documents.operation(view_of(drawn), "trim-1"))["operation"]
    assert told["progress"]["bytes_per_s"] == 50
    assert told["plan"]["no_return"] == "cut"
    assert told["can_cancel"] is True


def test_before_anything_was_read_only_trouble_is_told() -> None:
    assert sent(documents.unread(View())) == {"is_read": False, "trouble": None}
    away = View(trouble=Trouble("no broker has answered", "check that the brokers run", 5))
    assert sent(documents.unread(away))["trouble"]["hint"] == "check that the brokers run"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda view: documents.zone(view, "az=9", 0), "no worker is in zone az=9"),
        (lambda view: documents.worker(view, "w9"), "worker w9 is not known"),
        (lambda view: documents.task(view, "0_900"), "task 0_900 is not known"),
        (lambda view: documents.store(view, "x", 0), "store x is not known"),
        (lambda view: documents.operation(view, "x"), "there is no operation 'x'"),
        (lambda view: documents.state(View()), "the application is being read"),
    ],
)
def test_what_is_not_there_is_said_to_be_missing(make: Any, error: str) -> None:
    with pytest.raises(MissingError, match=error):
        make(view_of(fleet_of(SMALL, per_worker=1)))


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not a task id"):
        documents.task(view_of(fleet_of(SMALL)), "../secret")
