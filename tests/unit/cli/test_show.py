"""`streamer show` over what the control records tell, without Kafka."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamer.cli import show
from streamer.cli.main import main
from streamer.control.client import TaskInfo, WorkerInfo
from streamer.control.layouts import layout_record
from streamer.control.messages import StandbyReport, StatusRecord
from streamer.control.view import ShadowInfo, shadows_of
from streamer.ids import Layout
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.operations.repartition.way_back import WayBack


class Told:
    """A `Control` that was told everything before."""

    def workers(self) -> list[WorkerInfo]:
        return [
            WorkerInfo(
                worker="a",
                incarnation="as.0",
                is_alive=True,
                is_controller=True,
                address="a:8080",
                zone="az=1",
                host="rack-7",
                capacity=200,
                assigned=("0_0",),
                tasks=("0_0",),
                standbys=("0_1", "0_2"),
                lag_records=3,
                status_age_ms=500,
            )
        ]

    def tasks(self) -> list[TaskInfo]:
        return [
            TaskInfo(
                task="0_0",
                worker="a",
                state="running",
                lag_records=3,
                restore_left_records=0,
                positions={},
                is_moving=False,
                standbys={"b": None, "c": 1_200, "d": None, "e": 0},
            )
        ]

    def shadows(self) -> list[ShadowInfo]:
        return shadows_of(
            {
                "b": StatusRecord(
                    format=1,
                    number=1,
                    worker="b",
                    incarnation="bs.0",
                    shadows={
                        "0_10": StandbyReport(lag_records=1_200, bytes=4_096),
                        "0_2": StandbyReport(state="failed"),
                    },
                    shadows_of="fold-1",
                ),
                "a": StatusRecord(
                    format=1,
                    number=1,
                    worker="a",
                    incarnation="as.0",
                    shadows={"0_2": StandbyReport(lag_records=0, is_current=True)},
                    shadows_of="fold-1",
                ),
            }
        )


def rows_of(found: tuple[Any, Any, tuple[str, ...]]) -> list[list[Any]]:
    _full, short, columns = found
    return [[row[name] for name in columns] for row in short]


def test_workers_are_shown_with_their_place_and_their_copies() -> None:
    told: Any = Told()
    found = show._workers(told)
    expected = ["a", True, True, "az=1", "rack-7", 200, "a:8080", 1, 2, 3, "0.5 s ago"]
    assert rows_of(found) == [expected]
    assert found[0][0]["standbys"] == ("0_1", "0_2")


def test_tasks_are_shown_with_their_copies_the_warmest_first() -> None:
    told: Any = Told()
    found = show._tasks(told)
    assert rows_of(found)[0][-2:] == [False, "e:0 c:1200 b:? d:?"]
    assert found[0][0]["standbys"] == {"b": None, "c": 1_200, "d": None, "e": 0}


def test_copies_of_the_next_layout_are_shown_with_their_lag() -> None:
    told: Any = Told()
    found = show._shadows(told)
    assert rows_of(found) == [
        ["0_2", "a", "standby", 0, True, 0, "fold-1"],
        ["0_2", "b", "failed", None, False, 0, "fold-1"],
        ["0_10", "b", "standby", 1_200, False, 4_096, "fold-1"],
    ]
    assert found[0][2]["is_current"] is False


def test_the_rows_of_a_store_are_not_counted_again_in_its_copies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(address: str, target: str) -> Any:
        assert (address, target) == ("a:8080", "/stores")
        tasks = [
            {"task": "0_0", "state": "running", "approximate_rows": 50},
            {"task": "0_1", "state": "standby", "approximate_rows": 70},
        ]
        store = {"name": "totals", "kind": "key-value", "key": "utf8", "value": "json"}
        return {"stores": [{**store, "tasks": tasks}]}

    monkeypatch.setattr(show, "ask", answer)
    told: Any = Told()
    full, (row,), _columns = show._stores(told)
    assert (row["tasks"], row["rows"], len(full[0]["tasks"])) == (1, 50, 2)


def test_a_layout_is_shown_by_its_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = SubtopologyLayout(3, Layout(2), {"in": InputLayout(12), "old": InputLayout(6)})
    record = layout_record("shop", ApplicationLayout(Layout(2), {0: one}), operation="fold-1")
    monkeypatch.setattr("streamer.control.current.current_record", lambda *_: record)
    backs = [
        WayBack("fold-1", {0: 12}, routed=("in", "old"), waits_for_strays=True),
        WayBack("fold-1", {0: 12}, "it was trimmed"),
    ]
    monkeypatch.setattr("streamer.cli.layout._way_back", lambda *_: backs.pop(0))
    where = ("--app", "shop", "--bootstrap-servers", "127.0.0.1:9")
    assert main(["show", "layout", *where]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == "layout 2, by operation fold-1"
    assert "in:12 old:6" in shown
    assert shown.splitlines()[-1] == (
        "fold-1 can be reverted, by way of topics of the application's own instead of in, old,"
        " once no strays are expected: streamer repartition revert fold-1"
    )
    assert main(["show", "layout", "--json", *where]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["number"], told["is_recorded"]) == (2, True)
    assert told["revert"] == {
        "operation": "fold-1",
        "possible": False,
        "why_not": "it was trimmed",
        "routed": [],
    }
    assert told["subtopologies"][0]["inputs"][1] == {
        "topic": "old",
        "partitions": 6,
        "partitioner": "murmur2",
        "internal": False,
    }


def test_without_a_record_the_first_layout_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("streamer.control.current.current_record", lambda *_: None)
    where = ("--app", "shop", "--bootstrap-servers", "127.0.0.1:9")
    assert main(["show", "layout", *where]) == 0
    assert "a task for each partition" in capsys.readouterr().out
    assert main(["show", "layout", "--json", *where]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"number": 1, "is_recorded": False, "subtopologies": []}
