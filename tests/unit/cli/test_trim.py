"""`streamer trim` and `why-kept` over an application in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streamer.cli import operations, trim
from streamer.cli.main import main
from streamer.config import Config
from streamer.failpoints import armed
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from streamer.operations.kinds import Kinds
from streamer.operations.trim import sizes
from streamer.operations.trim.kind import Trim
from streamer.operations.trim.world import World
from tests.unit.operations.trim.rig import APPLICATION, DAY_MS, PLACE, TOPIC, Application, usual


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Application:
    made = usual()

    def executor(_config: Any, display: Any, _code: Any) -> Executor:
        return Executor(
            Config(application_id=APPLICATION, bootstrap_servers="127.0.0.1:9"),
            FakeTable(made.broker, APPLICATION),
            Kinds([Trim(made.opened)]),
            clock=made.clock,
            pulses=False,
            notice=display.show,
        )

    @contextmanager
    def world(_config: Config) -> Iterator[World]:
        yield made.world()

    monkeypatch.setattr(operations, "_made", executor)
    monkeypatch.setattr(trim, "_world", world)
    monkeypatch.setattr(
        sizes, "sampled_sizes", lambda _config, parts, tells: dict.fromkeys(parts, 3 << 20)
    )
    return made


def call(*arguments: str) -> int:
    return main([*arguments, "--app", APPLICATION])


def test_a_plan_shows_what_goes_and_who_holds_back_the_rest_and_changes_nothing(
    application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("trim", "plan", "--why", "the disk of broker 3") == 0
    head, row, *more, last = capsys.readouterr().out.splitlines()
    assert head.split()[:5] == ["changelog", "from", "to", "offsets", "about"]
    assert row.split()[:4] == [f"{TOPIC}/3", "0", "500", "500"]
    assert "3.0 MiB" in row
    assert "one of the 2 newest that are verified (contents)" in row
    assert any("from these snapshots for 168 h 0 min more" in line for line in more)
    assert last.startswith("streamer trim apply trim-")
    assert application.logs.bounds[PLACE] == (0, 1_000)


def test_apply_does_what_was_shown(
    application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("trim", "plan", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["total"] == {"offsets": 500, "bytes": 3 << 20, "freed_bytes": (3 << 20) - 1_000}
    assert told["partitions"][0]["holders"][0]["position"] == 500
    assert told["unknown_topics"] == [f"{TOPIC}/{n}" for n in range(8) if n != 3]
    assert call("trim", "apply", told["plan"][:12]) == 0
    shown = capsys.readouterr()
    assert f"operation {told['operation']} is done" in shown.out
    assert "1 of 1 logs are cut" in shown.out
    assert "step 2 of 3 delete-records is done" in shown.err
    assert application.logs.bounds[PLACE] == (500, 1_000)
    # Once more is no harm.
    assert call("trim", "apply", told["operation"]) == 0


def test_one_that_fails_after_it_has_deleted_does_not_say_that_nothing_was(
    application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("trim", "plan") == 0
    capsys.readouterr()
    with armed("trim.after_delete", "error"):
        assert call("trim", "apply") == 1
    assert application.logs.bounds[PLACE] == (500, 1_000)
    assert capsys.readouterr().out.splitlines()[-1].startswith("some logs may have been cut")


@pytest.mark.slow
def test_apply_needs_no_id_where_there_is_one_plan(
    application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("trim", "apply") == 3
    assert "0 trims that wait to be applied are meant by 'no id'" in capsys.readouterr().err
    assert call("trim", "plan") == 0
    assert call("trim", "apply") == 0
    assert application.logs.bounds[PLACE] == (500, 1_000)
    application.snapshot(850)
    assert call("trim", "plan") == 0
    capsys.readouterr()
    assert call("trim", "plan") == 0
    again = capsys.readouterr().out.splitlines()[-1]
    assert call("trim", "plan") == 0
    assert capsys.readouterr().out.splitlines()[-1] == again, "the same plan is one plan"
    assert call("trim", "plan", "--store", "totals") == 0
    capsys.readouterr()
    assert call("trim", "apply") == 3
    assert "name one of: trim-" in capsys.readouterr().err


@pytest.mark.slow
def test_a_newer_plan_replaces_an_older_one_of_the_same(
    application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    def plan(*more: str) -> str:
        application.wait(1_000)
        assert call("trim", "plan", "--json", *more) == 0
        return str(json.loads(capsys.readouterr().out)["operation"])

    older, other = plan(), plan("--store", "totals")
    application.snapshot(850)
    newer = plan()
    assert call("operations", "list", "--json") == 0
    listed = {one["id"]: one["state"] for one in json.loads(capsys.readouterr().out)}
    assert listed == {newer: "planned", other: "planned"}
    assert call("trim", "apply", older) == 3
    assert "a newer plan replaces an older one" in capsys.readouterr().err
    assert call("operations", "show", older) == 3
    assert "may have been replaced by a newer one" in capsys.readouterr().err
    assert call("trim", "apply", newer) == 0


def test_a_plan_that_the_world_has_moved_against_is_refused(
    application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("trim", "plan") == 0
    application.says("w1", 400)
    capsys.readouterr()
    assert call("trim", "apply") == 3
    assert "worker w1 (active) holds it at 400" in capsys.readouterr().err
    assert application.logs.bounds[PLACE] == (0, 1_000)


def test_a_copy_that_comes_back_while_it_is_planned_has_everything_looked_at_again(
    application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    reads = 0

    def comes(_what: str) -> None:
        nonlocal reads
        reads += 1
        if reads == 3:  # after the survey, before the plan
            application.says("w2", 300, role="standby")

    application.control.before = comes
    assert call("trim", "plan", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["operation"].startswith("trim-")
    assert [part["to"] for part in told["partitions"]] == [300]


def test_where_nothing_goes_there_is_no_operation(
    application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    application.says("w1", None)
    assert call("trim", "plan", "--json") == 0
    assert json.loads(capsys.readouterr().out)["operation"] is None
    assert call("trim", "plan") == 0
    assert "nothing is to be trimmed" in capsys.readouterr().out


def test_why_kept_answers_in_one_screen(
    application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("why-kept", f"{TOPIC}/3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{TOPIC}/3, task 0_3: begins at 0, ends at 1,000"
    assert lines[1] == "500 offsets may go, up to 500: streamer trim plan"
    assert len(lines) < 24
    assert call("trim", "plan") == 0
    assert call("trim", "apply") == 0
    capsys.readouterr()
    assert call("why-kept", f"{TOPIC}/3") == 0
    told = capsys.readouterr().out
    assert "nothing may go: snapshot " in told
    assert "cut from 0 to 500 at " in told
    assert call("why-kept", f"{TOPIC}/3", "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    assert (plain["start"], plain["floor"], plain["task"]) == (500, 500, "0_3")
    assert plain["trims"][0]["reached"] == 500
    assert {one["kind"] for one in plain["holders"]} == {"snapshot", "copy"}


@pytest.mark.slow
def test_for_how_long_a_snapshot_brings_back_what_was_cut_is_told(
    application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str) -> str:
        assert call(*arguments) == 0
        return capsys.readouterr().out

    assert "brings the state of" not in told("trim", "plan")
    told("trim", "apply")
    application.wait(3 * DAY_MS)
    said = f"A snapshot brings the state of {PLACE} back for 96 h 0 min more"
    assert f"1 logs were cut before. {said}" in told("trim", "plan")
    assert said in told("why-kept", f"{TOPIC}/3")
    application.wait(5 * DAY_MS)
    said = f"No snapshot brings the state of {PLACE} back"
    assert said in told("trim", "plan")
    assert said in told("why-kept", f"{TOPIC}/3")
    assert json.loads(told("why-kept", f"{TOPIC}/3", "--json"))["restorable_ms"] == 0


@pytest.mark.parametrize(
    ("place", "code", "said"),
    [
        ("totals", 2, "'totals' is not a partition"),
        (f"{TOPIC}/x", 2, "is not a partition"),
        ("app-none-changelog/3", 3, "app-none-changelog/3 does not exist"),
        ("app-none-changelog/9", 3, "changelogs with that partition are: none"),
        (f"{TOPIC}/4", 3, "neither a status nor a snapshot of app tells of"),
    ],
)
def test_what_is_no_changelog_is_refused(
    application: Application,
    capsys: pytest.CaptureFixture[str],
    place: str,
    code: int,
    said: str,
) -> None:
    assert call("why-kept", place) == code
    assert said in capsys.readouterr().err


def test_another_operation_is_no_trim(
    application: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.unit.operations.trim.test_floors import operating

    operating(application, "snapshot")
    assert call("trim", "apply", "snapshot-1") == 3
    assert "operation snapshot-1 is no trim: snapshot" in capsys.readouterr().err
