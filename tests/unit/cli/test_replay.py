"""What `streamer replay` says, and where each of its verbs ends."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamer.cli import replay
from streamer.cli.main import main
from streamer.cli.operations import _paused_by_sigterm
from streamer.cli.replays import comparing, planning, processes
from streamer.errors import UnfinishedError
from streamer.ids import TopicPartition
from streamer.kafka.changelog import Bounds
from streamer.operations.replay import survey
from streamer.operations.replay.compare import Differences, Sample
from streamer.store.keys import row
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import INPUT
from tests.unit.operations.replay.rig import NUMBER, Rereading

APP = ("--app", NAME, "--bootstrap-servers", "127.0.0.1:9")


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Rereading:
    made = Rereading()

    @contextmanager
    def executing(_arguments: Any) -> Iterator[Any]:
        yield made.executor(), None

    found = survey.Survey(made.asked, {TopicPartition(INPUT, 0): Bounds(3, 9)})
    for module in (replay, comparing, planning):
        monkeypatch.setattr(module, "executing", executing)
    monkeypatch.setattr(planning, "topology_given", lambda _arguments: made.topology)
    monkeypatch.setattr(survey, "survey", lambda *_given, **_named: found)
    return made


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["replay", *arguments, *APP]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


@pytest.mark.slow
def test_it_stops_before_the_switch_which_is_asked_for_by_itself(
    shop: Rereading, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = said(capsys, "plan")
    assert "no way back after step switch" in planned
    assert re.search(r"sales/0 +3 +3 +9", planned)
    refused = said(capsys, "switch", code=3)
    assert f"replay {NUMBER} has not computed the state yet" in refused
    applied = said(capsys, "apply")
    assert f"to go on with it: streamer replay switch {NUMBER}" in applied
    assert shop.told.layout is not None
    assert shop.told.layout.number == 1
    # Once more there is nothing to be done.
    assert "to go on with it" in said(capsys, "apply")
    assert "layout 2 is recorded" in said(capsys, "switch")
    assert shop.told.layout.number == 2
    assert "there is no replay" in said(capsys, "switch", code=3)


def test_one_that_is_done_is_taken_back_by_a_plan_from_before_its_switch(
    shop: Rereading, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no replay is done" in said(capsys, "revert", code=3)
    said(capsys, "plan")
    said(capsys, "apply")
    said(capsys, "switch")
    times: list[int] = []

    def surveyed(*_given: Any, from_ms: int, **_named: Any) -> Any:
        times.append(from_ms)
        raise KeyboardInterrupt

    monkeypatch.setattr(survey, "survey", surveyed)
    main(["replay", "revert", *APP])
    record = shop.executor().books().operation(NUMBER)
    assert times == [step.started_ms for step in record.steps if step.id == "switch"]


@pytest.mark.slow
def test_differences_have_sums_and_samples(
    shop: Rereading, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said(capsys, "plan")
    assert "there is nothing to compare: replay replay-1 is not begun" in said(
        capsys, "diff", code=3
    )
    said(capsys, "apply")
    live, again = row(1, b'{"count":2}'), row(1, b'{"count":1}')
    one = Differences(
        store="totals",
        same=5,
        added=0,
        changed=1,
        gone=0,
        moving=2,
        samples={"changed": [Sample(b"ann", live, again)]},
        sums={"count": (12.0, 11.0)},
    )
    monkeypatch.setattr("streamer.operations.replay.compare.compare", lambda *_a, **_k: iter([one]))
    told = said(capsys, "diff", code=1)
    assert "totals, sum of count: 12.0 live, 11.0 again" in told
    assert 'totals, changed: ann: {"count": 2} -> {"count": 1}' in told
    found = json.loads(said(capsys, "diff", "--json", code=1))
    assert found[0]["samples"]["changed"] == [
        {"key": "ann", "live": {"count": 2}, "again": {"count": 1}}
    ]
    assert found[0]["sums"] == {"count": {"live": 12.0, "again": 11.0}}


def test_workers_need_the_code(shop: Rereading, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "plan")
    told = said(capsys, "apply", "--processes", "2", code=2)
    assert "need the application's code" in told


def beside(monkeypatch: pytest.MonkeyPatch, code: str) -> Namespace:
    monkeypatch.setattr(
        processes, "command", lambda *_given, **_named: [sys.executable, "-c", code]
    )
    return Namespace(processes=1, app="module:app")


def test_where_workers_end_the_operation_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = beside(monkeypatch, "raise SystemExit(7)")
    ended = pytest.raises(UnfinishedError, match="have ended with code 7")
    with ended, _paused_by_sigterm(), processes.workers(arguments, "replay-1"):
        time.sleep(80)


def test_workers_end_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = tmp_path / "there"
    code = f"import os, pathlib, time; pathlib.Path({str(there)!r}).write_text(str(os.getpid()))"
    arguments = beside(monkeypatch, f"{code}; time.sleep(80)")
    with processes.workers(arguments, "replay-1"):
        while not (there.exists() and there.read_text()):
            time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(int(there.read_text()), 0)
