"""`streamer operations` over an in-memory broker."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from streamer.cli import operations
from streamer.cli.main import main
from streamer.control.identity import somebody
from streamer.operations.executor import Executor
from streamer.operations.kinds import Kinds
from streamer.operations.lock import LEASE_MS
from tests.unit.operations.shelf import Warehouse


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """Where the command line's executor works."""
    made = Warehouse()

    def executor(_config: Any, display: Any, _code: Any) -> Executor:
        return made.executor(notice=display.show)

    monkeypatch.setattr(operations, "_made", executor)
    monkeypatch.setattr(operations, "_LOOK_S", 0.0)
    monkeypatch.setattr(operations.time, "time_ns", lambda: made.clock.now_ms() * 1_000_000)
    return made


def call(*arguments: str) -> int:
    return main(["operations", *arguments, "--app", "app"])


def failed(warehouse: Warehouse, *boxes: str) -> str:
    def fails(_box: str) -> None:
        raise OSError("the lift is broken")

    operation = warehouse.planned(*boxes)
    warehouse.shelf.inside = fails
    warehouse.executor().start(operation)
    warehouse.shelf.inside = lambda _box: None
    return operation


def test_operations_are_listed_with_their_step_and_who_wanted_them(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("list") == 0
    assert capsys.readouterr().out == "none\n"
    operation = failed(warehouse, "a")
    warehouse.table().put("operation/odd", b'{"format":9}')
    assert call("list") == 0
    shown = capsys.readouterr()
    head, row = shown.out.splitlines()
    assert head.split() == list(operations._COLUMNS)
    assert row.split()[:4] == [operation, "failed", "application", "a"]
    assert "phase 1 of 2 bring, 1 B of 2 B (50 %)" in row
    assert row.endswith("test")
    assert "'operation/odd' has format version 9" in shown.err

    assert call("list", "--json") == 0
    [told] = json.loads(capsys.readouterr().out)
    assert (told["id"], told["state"], told["is_live"]) == (operation, "failed", False)


def test_those_that_were_finished_long_ago_are_listed_if_they_are_asked_for(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for _ in range(3):
        made.append(warehouse.planned("a"))
        warehouse.executor().start(made[-1])
        warehouse.clock.advance(1_000)
    made.append(failed(warehouse, "b"))
    monkeypatch.setattr(operations, "_FINISHED_SHOWN", 1)
    assert call("list", "--json") == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == made[2:]
    assert call("list") == 0
    assert "and 2 that were finished before: --all" in capsys.readouterr().err
    assert call("list", "--all") == 0
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()[1:]] == made
    assert shown.err == ""


def test_one_is_shown_with_its_plan_and_its_trouble(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    operation = failed(warehouse, "a")
    assert call("show", operation) == 0
    shown = capsys.readouterr().out
    plan = warehouse.executor().books().operation(operation).plan_id
    for line in (
        f"operation {operation}: failed, scope application",
        f"plan {plan[:12]}: 2 B, about 1 min 15 s",
        "no way back after step label: a label cannot be taken off",
        f"carried out last for {somebody()}",
        "step a: OSError: the lift is broken",
        f"hint: mend the cause, then streamer operations resume {operation}",
    ):
        assert line in shown
    assert call("show", operation, "--json") == 0
    assert json.loads(capsys.readouterr().out)["plan_id"] == plan
    assert call("show", "nothing") == 3
    assert "there is no operation 'nothing'" in capsys.readouterr().err


def test_one_whose_process_is_gone_says_so(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    class Died(BaseException):
        pass

    def dies(_box: str) -> None:
        raise Died

    operation = warehouse.planned("a")
    warehouse.shelf.inside = dies
    with pytest.raises(Died):
        warehouse.executor().start(operation)
    warehouse.clock.advance(LEASE_MS)
    assert call("show", operation) == 0
    shown = capsys.readouterr().out
    assert f"operation {operation}: running, by nobody" in shown
    assert f"nobody carries it out: streamer operations resume {operation}" in shown


def test_resume_goes_on_and_tells_each_step(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    operation = failed(warehouse, "a", "b")
    assert call("resume", operation) == 0
    shown = capsys.readouterr()
    assert shown.out == f"operation {operation} is done\n"
    assert "step 1 of 3 a is done after 0 s: a stands on the shelf\n" in shown.err
    assert f"operation {operation} is done\n" in shown.err
    assert "\r" not in shown.err


def test_resume_that_fails_again_ends_with_1_and_the_reason(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    operation = failed(warehouse, "a")

    def fails(_box: str) -> None:
        raise OSError("still broken")

    warehouse.shelf.inside = fails
    assert call("resume", operation, "--json") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["state"] == "failed"
    assert f"operation {operation} is failed: OSError: still broken\nhint: mend" in shown.err


def test_cancel_takes_back_and_abandon_does_not(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    operation = failed(warehouse, "a")
    assert call("cancel", operation, "--why", "no room") == 0
    assert capsys.readouterr().out == f"operation {operation} is cancelled\n"
    assert warehouse.shelf.brought == {}

    operation = failed(warehouse, "b")
    assert call("cancel", operation, "--abandon") == 0
    capsys.readouterr()
    assert call("show", operation) == 0
    assert "left as they were: the effects of b" in capsys.readouterr().out
    assert call("resume", operation) == 1
    assert "is cancelled: abandoned by" in capsys.readouterr().err


@pytest.mark.parametrize("detach", [True, False])
def test_cancelling_what_another_process_does_asks_it(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str], detach: bool
) -> None:
    operation = warehouse.planned("a", "b")
    codes = []

    def meanwhile(box: str) -> None:
        if box == "b" and not codes:
            codes.append(0)
            if detach:
                codes.append(call("cancel", operation, "--detach"))
                warehouse.clock.advance(1_500)
            else:
                # It waits for the process at work, which dies.
                looked = iter(range(100))
                sleep = lambda _s: next(looked) and warehouse.clock.advance(LEASE_MS)  # noqa: E731
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(operations.time, "sleep", sleep)
                    codes.append(call("cancel", operation))
                raise SystemExit

    warehouse.shelf.inside = meanwhile
    if detach:
        assert warehouse.executor().start(operation).state == "cancelled"
        assert f"operation {operation} is asked to stop" in capsys.readouterr().err
    else:
        with pytest.raises(SystemExit):
            warehouse.executor().start(operation)
    assert codes == [0, 0]
    assert warehouse.executor().books().operation(operation).state == "cancelled"


def test_what_cannot_be_done_ends_with_3(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    operation = warehouse.planned("a")
    assert call("resume", operation) == 3
    assert "is planned, and has not begun" in capsys.readouterr().err
    warehouse.executor().start(operation)
    assert call("cancel", operation) == 3
    assert "cannot be cancelled: it is done" in capsys.readouterr().err
    operation = failed(warehouse, "b")
    warehouse.kinds = Kinds()
    assert call("resume", operation) == 3
    assert "of kind 'shelve' cannot be carried out here" in capsys.readouterr().err


@pytest.mark.slow
def test_a_command_that_is_ended_by_sigterm_leaves_the_operation_at_once(
    warehouse: Warehouse,
) -> None:
    operation = failed(warehouse, "a")
    warehouse.shelf.inside = lambda _box: os.kill(os.getpid(), signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    assert call("resume", operation) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert warehouse.executor().books().operation(operation).state == "paused"
    warehouse.shelf.inside = lambda _box: None
    assert call("resume", operation) == 0
