"""`streamer repartition` over an application in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from streamer.cli import operations, repartition
from streamer.cli.main import main
from streamer.cluster.outline import outline_of, topology_of
from streamer.errors import PauseError
from streamer.layout import ApplicationLayout, Mode
from streamer.operations.completion import survey as completed
from streamer.operations.completion.kind import Completion
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from streamer.operations.kinds import Kinds
from streamer.operations.repartition import reverting, survey, way_back
from streamer.operations.repartition.kind import Repartition
from streamer.operations.repartition.request import Asked, Expected
from streamer.operations.repartition.way_back import WayBack
from tests.unit.operations.completion.rig import Left
from tests.unit.operations.repartition.front import NAME
from tests.unit.operations.repartition.rig import Shop, asked, counting

_TOPOLOGY = repartition.topology_given


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop()

    def executor(_config: Any, display: Any, _code: Any) -> Executor:
        return Executor(
            made.config,
            FakeTable(made.broker, NAME),
            Kinds([Repartition(made.open), Completion(Left(made).open)]),
            clock=made.clock,
            pulses=False,
            notice=display.show,
        )

    def surveyed(
        _config: Any,
        _topology: Any,
        tasks: Mapping[int, int],
        *,
        number: str,
        mode: Mode | None = None,
    ) -> Asked:
        found = asked(tasks, number=number, mode=mode)
        expected = Expected(records=1_500_000, bytes=3 << 30)
        made.asked = msgspec.structs.replace(found, expected=expected)
        return made.asked

    monkeypatch.setattr(operations, "_made", executor)
    monkeypatch.setattr(operations, "_LOOK_S", 0.0)
    monkeypatch.setattr(repartition, "topology_given", lambda _arguments: counting().topology())

    def look_back(_config: Any, record: Any, books: Any) -> WayBack:
        layout = made.told.layout or ApplicationLayout()
        return way_back.way_back(record, books, layout.number)

    def left(_config: Any, books: Any, operations: Any, *, despite: Any) -> completed.Survey:
        layout = made.told.layout or ApplicationLayout()
        found = completed.asked_of(NAME, books, layout, operations=operations, despite=despite)
        there = {one: made.broker.topics[one] for one in found.topics if one in made.broker.topics}
        return completed.Survey(
            msgspec.structs.replace(found, bytes=3 << 20, disk_bytes=1 << 20),
            there,
            dict.fromkeys(list(there)[:1], 3 << 20),
            {"b": 1 << 20},
            {"file:///snapshots: applications/app/layout-1/0_0/": 3},
        )

    monkeypatch.setattr(survey, "survey", surveyed)
    for each in (way_back, reverting):
        monkeypatch.setattr(each, "look_back", look_back)
    monkeypatch.setattr(completed, "survey", left)
    return made


def call(*arguments: str) -> int:
    return main(["repartition", *arguments, "--app", NAME])


def test_a_plan_shows_what_changes_and_what_it_costs(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("plan", "sales=2", "cities=8", "--why", "more hosts") == 0
    first, _head, sales, cities, *more = capsys.readouterr().out.splitlines()
    assert first == "layout 1 -> layout 2, by fold"
    assert sales.split() == ["0", "sales", "4", "2", "fold", "totals"]
    assert cities.split() == ["1", "app-cities-repartition", "4", "8", "fold", "cities"]
    cost = next(line for line in more if line.startswith("plan "))
    assert "1,500,000 offsets of changelogs are copied; the state is 3.0 GiB" in cost
    assert "about 38 s, with a pause of about 2000 ms" in cost
    assert any(line.startswith("no way back after step switch: layout 1 is not") for line in more)
    assert more[-1].startswith("streamer repartition apply repartition-")
    assert shop.told.layout is None, "nothing was changed"


def test_a_plan_shows_which_topics_are_given_partitions_and_how_that_was_checked(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("plan", "sales=6") == 0
    first, _head, sales, topic, *more = capsys.readouterr().out.splitlines()
    assert first == "layout 1 -> layout 2, by grow"
    assert sales.split() == ["0", "sales", "4", "6", "grow", "totals"]
    assert topic == (
        "sales: 4 -> 6 partitions; no record of it tells how producers place keys; murmur2 is"
        " assumed"
    )
    assert any("sales has 6 partitions for good" in line for line in more)
    assert call("plan", "sales=6", "--mode", "fold") == 2
    assert "its widest topic has 4 partitions" in capsys.readouterr().err


def test_apply_status_and_what_was_done(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "0=2", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["layout"], told["next_layout"]) == (1, 2)
    assert told["topics"] == {"app-totals-changelog.layout-2": 2}
    assert call("apply", told["operation"]) == 0
    shown = capsys.readouterr()
    assert f"operation {told['operation']} is done" in shown.out
    assert "layout 2 is recorded; nothing was processed for" in shown.out
    assert "step 3 of 7 copy is done" in shown.err
    assert call("status") == 0
    assert f"operation {told['operation']}: done" in capsys.readouterr().out
    assert shop.is_copied()


@pytest.mark.slow
def test_the_one_that_has_begun_goes_before_a_newer_plan(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.refusal = PauseError("not all workers have paused; missing: b")
    assert call("plan", "0=2", "--json") == 0
    begun = json.loads(capsys.readouterr().out)["operation"]
    assert call("apply") == 1
    assert "missing: b" in capsys.readouterr().err
    first = shop.asked
    assert call("plan", "0=2") == 3, "the topics of the next layout are there"
    shop.asked = first
    capsys.readouterr()
    assert call("status") == 0
    out = capsys.readouterr().out
    assert f"operation {begun}: failed" in out
    assert "missing: b" in out
    assert call("cancel") == 0
    assert f"operation {begun} is cancelled" in capsys.readouterr().out
    assert shop.untouched()["topics"] == []


@pytest.mark.slow
def test_what_makes_no_sense_is_refused(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    for given, code, told in (
        (("plan", "sales"), 2, "'sales' does not say how many tasks"),
        (("plan", "sales=0"), 2, "'sales=0' does not say how many tasks"),
        (("plan", "sales=2", "0=2"), 2, "a subtopology is named twice"),
        (("plan", "orders=2"), 3, "'orders' is neither a subtopology nor a topic"),
        (("plan", "sales=3"), 2, "3 does not divide the partitions of sales (4)"),
        (("apply",), 3, "there is no repartition that waits to be applied"),
        (("status",), 3, "there is no repartition"),
    ):
        assert call(*given) == code
        assert told in capsys.readouterr().err


def done(capsys: pytest.CaptureFixture[str], *wanted: str) -> str:
    """The id of a repartition that was carried out."""
    assert call("plan", *wanted, "--json") == 0
    name: str = json.loads(capsys.readouterr().out)["operation"]
    assert call("apply", name) == 0
    capsys.readouterr()
    return name


@pytest.mark.slow
def test_the_way_back_is_shown_planned_and_applied(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("revert") == 3
    assert "there is no repartition that is done" in capsys.readouterr().err
    first = done(capsys, "0=2", "1=2")
    assert call("status") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-2:] == [
        f"its former layout is there: streamer repartition complete {first}",
        f"{first} can be reverted: streamer repartition revert {first}",
    ]
    assert call("status", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["revert"] == {"operation": first, "possible": True, "why_not": "", "routed": []}
    layout = shop.asked.after.layout

    def surveyed(
        _config: Any, _topology: Any, tasks: Mapping[int, int], *, number: str, mode: Any
    ) -> Asked:
        assert mode == {0: "fold", 1: "fold"}
        shop.next(asked(tasks, layout=layout, number=number))
        return shop.asked

    monkeypatch.setattr(reverting, "survey", surveyed)
    assert call("revert", "--why", "slower") == 0
    line, _head, sales, *_more, last = capsys.readouterr().out.splitlines()
    assert line == f"layout 2 -> layout 3, by fold, which reverts {first}"
    assert sales.split() == ["0", "sales", "2", "4", "fold", "totals"]
    assert call("apply", last.rpartition(" ")[2]) == 0
    assert shop.is_copied()
    capsys.readouterr()
    assert call("revert", first) == 3
    assert f"{first} cannot be reverted: layout 3 was recorded after it" in capsys.readouterr().err
    assert call("status", first) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("layout 3 was recorded after it")


@pytest.mark.slow
def test_what_is_left_is_shown_and_deleted_by_the_id_of_the_plan(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("complete") == 3
    assert "no repartition that is done and not completed" in capsys.readouterr().err
    first = done(capsys, "0=2", "1=2")
    before = set(shop.broker.topics)
    assert call("complete") == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == f"completes {first}"
    assert "app-cities-changelog" in shown
    assert "3 snapshots stay in file:///snapshots: applications/app/layout-1/0_0/" in shown
    assert "3 topics with about 3.0 MiB, and 1.0 MiB on disks of workers" in shown
    assert "no way back once it has begun: the state of subtopology 0 in layout 1" in shown
    assert set(shop.broker.topics) == before, "nothing was changed"
    assert call("apply") == 3, "a plan that deletes is named by its id"
    assert "there is no repartition that waits" in capsys.readouterr().err
    assert call("complete", first, "--despite", "audit", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["completes"] == [first]
    assert told["despite"] == ["audit"]
    assert [one["bytes"] for one in told["topics"]] == [3 << 20, None, None]
    assert call("apply", told["operation"]) == 0
    assert (
        "deleted: app-cities-changelog, app-cities-repartition, app-totals-changelog"
        in capsys.readouterr().out
    )
    gone = {"app-totals-changelog", "app-cities-changelog", "app-cities-repartition"}
    assert set(shop.broker.topics) == before - gone
    assert call("status", first) == 0
    shown = capsys.readouterr().out
    assert f"{told['operation']} has completed it" in shown
    assert "its former layout is there" not in shown
    assert call("revert") == 3
    assert "cannot be reverted" in capsys.readouterr().err


def test_without_the_code_a_plan_goes_by_what_the_workers_tell(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = topology_of(NAME, outline_of(counting().topology()))
    monkeypatch.setattr(repartition, "topology_given", _TOPOLOGY)
    monkeypatch.setattr(survey, "told_topology", lambda config: told)
    assert call("plan", "sales=2") == 0
    assert "layout 1 -> layout 2" in capsys.readouterr().out
