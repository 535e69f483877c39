"""A trim from its survey to its end: what is planned, what is refused, what is left behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.operations import OperationRecord
from streamer.errors import KafkaUnavailableError, OperationRefusedError
from streamer.ids import TopicPartition
from streamer.operations.executor import Executor
from streamer.operations.fake import FakeTable
from streamer.operations.kinds import Kinds
from streamer.operations.trim.kind import Trim
from streamer.operations.trim.notes import read_notes
from streamer.operations.trim.survey import survey
from streamer.snapshot.claims import Hold, hold, holds
from streamer.snapshot.orphans import sweep
from streamer.snapshot.prune import Policy, prune
from streamer.testing.kills import OperationScene, check_cancels, check_kills, check_zombies
from tests.unit.operations.trim.rig import APPLICATION, PLACE, TOPIC, Application, usual
from tests.unit.snapshot.rig import HOUR_MS

POINTS = [
    "trim.after_hold",
    "trim.before_delete",
    "trim.after_delete",
    "trim.after_note",
    "trim.after_release",
]


def executor(application: Application) -> Executor:
    return Executor(
        Config(application_id=APPLICATION, bootstrap_servers="127.0.0.1:9"),
        FakeTable(application.broker, APPLICATION),
        Kinds([Trim(application.opened)]),
        clock=application.clock,
        pulses=False,
    )


def planned(application: Application, **options: Any) -> OperationRecord:
    found = survey(application.world(), **options)
    return executor(application).propose("trim", found.request())


def held(application: Application) -> dict[str, list[str]]:
    """Positions' last digits by snapshot, with the names of holds without their hash."""
    found = holds(application.shelf)
    return {
        stem[:10]: sorted(one.name.split(".")[0] for one in each) for stem, each in found.items()
    }


def end(application: Application) -> object:
    notes = [
        (note.began, note.asked, note.reached, note.left, note.snapshots.values(), note.disks)
        for note in read_notes(application.shelf, PLACE)
    ]
    return application.logs.bounds, held(application), [str(note) for note in notes]


# -- the survey and the plan -----------------------------------------------------------------------


def test_a_survey_tells_how_much_goes_and_who_holds_back_the_rest() -> None:
    found = survey(usual().world(), sizes=lambda stretches: dict.fromkeys(stretches, 5_000))
    [part] = found.parts
    assert (part.records, part.to, part.size, part.freed) == (500, 500, 5_000, 4_000)
    assert part.floor.limit.position == 500
    assert len(part.lost) == 1
    assert not part.is_capped


def test_what_cannot_be_weighed_is_not_known() -> None:
    [part] = survey(usual().world()).parts
    assert (part.size, part.freed) == (None, None)


def test_a_cap_leaves_the_rest_to_a_later_run() -> None:
    application = usual()
    application.rules = replace(application.rules, percent_max=10)
    [part] = survey(application.world()).parts
    assert (part.to, part.is_capped) == (100, True)
    [part] = survey(application.world(), is_capped=False).parts
    assert (part.to, part.is_capped) == (500, False)


def test_only_what_was_asked_for_is_looked_at() -> None:
    application = usual()
    assert survey(application.world(), stores=["totals"]).chosen
    with pytest.raises(OperationRefusedError, match="no changelog has a partition 4"):
        survey(application.world(), partitions=[4])
    with pytest.raises(OperationRefusedError, match="no task tells of a changelog of counts"):
        survey(application.world(), stores=["counts"])


def test_a_plan_names_all_it_rests_on_and_where_the_way_back_ends() -> None:
    application = usual()
    record = planned(application)
    plan = record.plan
    assert [step.id for step in plan.steps] == [
        "hold-snapshots",
        "delete-records",
        "release-former",
    ]
    assert plan.no_return == "delete-records"
    assert plan.lost[0] == "500 offsets of 1 changelog partitions are deleted for good"
    assert plan.lost[1].startswith("nothing can be restored from snapshots ")
    assert plan.cost.records == 500
    assert plan.seen == {"snapshots_min": 2, "level": "contents"}


def test_a_plan_is_the_same_while_the_application_goes_on() -> None:
    application = usual()
    record = planned(application)
    application.logs.bounds[PLACE] = 0, 5_000
    application.says("w1", 4_000)
    application.snapshot(3_000)
    assert executor(application).start(record.id, plan_id=record.plan_id).state == "done"
    assert application.logs.bounds[PLACE] == (500, 5_000)


def test_nothing_to_trim_is_refused() -> None:
    application = usual()
    application.says("w1", None)
    with pytest.raises(OperationRefusedError, match="nothing can be trimmed"):
        survey(application.world()).request()


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"cut": {}, "snapshots": {}},
        {"cut": {"x": {TOPIC: [0, 5]}}, "snapshots": {}},
        {"cut": {"0_3": {TOPIC: [5, 5]}}, "snapshots": {}},
        {"cut": {"0_3": {TOPIC: [0, 5]}}, "snapshots": {}, "more": 1},
    ],
)
def test_what_is_no_request_is_refused(request_: dict[str, Any]) -> None:
    application = usual()
    with pytest.raises(OperationRefusedError, match=r"request of a trim|can be"):
        executor(application).propose("trim", request_)
    with pytest.raises(OperationRefusedError, match="rests on fewer than 2 snapshots"):
        executor(application).propose("trim", {"cut": {"0_3": {TOPIC: [0, 5]}}, "snapshots": {}})


# -- the world moves -------------------------------------------------------------------------------


def lagging(application: Application) -> None:
    application.gives("w2", role="standby")
    application.says("w2", 300, role="standby")


def appearing(application: Application) -> None:
    application.gives("w2", role="standby")


def cut(application: Application) -> None:
    application.logs.bounds[PLACE] = 100, 1_000


def pruned(application: Application) -> None:
    """The newest two stay, but one of the two on which the plan rests is found to be damaged."""
    for key in application.disk.keys("/verified/")[2:]:
        del application.disk.objects[key]
    application.snapshot(900)


@pytest.mark.parametrize(
    ("move", "why"),
    [
        (lagging, "worker w2 .standby. holds it at 300"),
        (appearing, "worker w2 holds it at 0: it was given a copy of the task"),
        (cut, "begins at 100, and began at 0 when this was planned"),
        (pruned, "on which this rests: nobody has verified it"),
    ],
)
def test_a_plan_is_refused_where_the_world_has_moved_against_it(move: Any, why: str) -> None:
    application = usual()
    record = planned(application)
    move(application)
    before = application.logs.bounds[PLACE]
    with pytest.raises(OperationRefusedError, match=why):
        executor(application).start(record.id)
    assert application.logs.bounds[PLACE] == before
    assert held(application) == {}
    assert executor(application).books().operation(record.id).state == "planned"


def test_a_standby_that_comes_right_before_the_deletion_keeps_all_it_needs() -> None:
    """After the plan was found to be right still."""
    application = usual()
    record = planned(application)
    application.logs.before = lambda what: lagging(application) if what == "topics" else None
    looks = 0

    def comes(call: str, key: str) -> None:
        nonlocal looks
        looks += call == "has put" and "/holds/" in key
        if looks == 2:
            lagging(application)

    application.logs.before = lambda _what: None
    application.backend.before = comes
    done = executor(application).start(record.id)
    assert done.state == "done"
    assert application.logs.bounds[PLACE] == (300, 1_000)
    [note] = read_notes(application.shelf, PLACE)
    assert note.left.startswith("worker w2 (standby) holds it at 300")
    assert "begins at 300: worker w2 (standby)" in done.steps[1].said


def test_a_log_that_does_not_begin_where_it_should_fails_the_step_until_it_does() -> None:
    application = usual()
    record = planned(application)
    delete = application.logs.delete_before
    application.logs.delete_before = lambda positions: None  # type: ignore[method-assign]
    failed = executor(application).start(record.id)
    assert failed.state == "failed"
    assert failed.trouble is not None
    assert "was to begin at 500, and begins at 0" in failed.trouble.message
    assert isinstance(failed.trouble.message, str)
    application.logs.delete_before = delete  # type: ignore[method-assign]
    assert executor(application).resume(record.id).state == "done"


def test_a_repository_that_goes_away_in_between_leaves_the_log_as_it_is() -> None:
    application = usual()
    record = planned(application)

    def fails(call: str, key: str) -> None:
        if "/trims/" in key:
            raise KafkaUnavailableError("away")

    application.backend.before = fails
    assert executor(application).start(record.id).state == "failed"
    assert application.logs.bounds[PLACE] == (0, 1_000)
    application.backend.before = lambda _call, _key: None
    assert executor(application).resume(record.id).state == "done"


# -- what it leaves --------------------------------------------------------------------------------


def test_the_snapshots_it_rests_on_stay_whatever_is_pruned_until_the_next_trim() -> None:
    application = usual()
    executor(application).start(planned(application).id)
    assert held(application) == {"0000000002": ["trim"], "0000000003": ["trim"]}
    for at in (850, 900):
        application.snapshot(at)
    application.wait(2 * HOUR_MS)
    application.says("w1", 950)
    gone = prune(application.place, application.shelf, Policy(keep_last=1), dry_run=False)
    assert [stem[:10] for stem in gone.removed] == ["0000000001", "0000000004"]

    done = executor(application).start(planned(application).id)
    assert done.steps[2].said == "2 holds of earlier trims are released"
    assert held(application) == {"0000000003": ["trim"], "0000000005": ["trim"]}
    assert application.logs.bounds[PLACE] == (800, 1_000)
    [note] = read_notes(application.shelf, PLACE)
    assert (note.began, note.reached) == (500, 800)
    assert sorted(note.snapshots.values()) == [800, 900]
    assert note.disks == {"worker w1 (active)": 950}


def test_somebody_s_own_hold_is_not_touched() -> None:
    application = usual()
    newest = application.shelf.entries()[-1].stem
    hold(application.shelf, newest, Hold("mine", "a reason", "ann", 1))
    executor(application).start(planned(application).id)
    assert held(application)[newest[:10]] == ["mine", "trim"]


def test_what_it_leaves_in_the_repository_is_known_there() -> None:
    application = usual()
    executor(application).start(planned(application).id)
    assert sweep(application.place).foreign == []


def test_a_topic_that_is_gone_meanwhile_stops_nothing() -> None:
    application = usual()
    record = planned(application)

    def comes(call: str, key: str) -> None:
        if call == "has put" and "/holds/" in key:
            application.logs.bounds = {TopicPartition("app.other", 3): (0, 1)}

    application.backend.before = comes
    assert executor(application).start(record.id).state == "done"
    [note] = read_notes(application.shelf, PLACE)
    assert note.left == "the topic is gone"


# -- kills -----------------------------------------------------------------------------------------


def scene() -> OperationScene:
    application = usual()
    oldest = application.shelf.entries()[0].stem
    hold(application.shelf, oldest, Hold("trim.of-last-week", "a trim rests on it", "ann", 7))
    made = OperationScene(
        "trim",
        survey(application.world()).request(),
        kinds=Kinds([Trim(application.opened)]),
        broker=application.broker,
        clock=application.clock,
        end=lambda: end(application),
    )
    return made


@pytest.mark.slow
def test_a_trim_that_is_killed_anywhere_is_resumed_to_the_same_end() -> None:
    tried = check_kills(scene, POINTS)
    assert {moment.point for moment in tried} >= set(POINTS)


@pytest.mark.slow
def test_a_trim_that_is_cancelled_before_it_deletes_leaves_nothing() -> None:
    granted = check_cancels(scene, POINTS, every=3)
    points = {moment.point for moment in granted}
    assert "trim.after_hold" in points
    assert not points & {"trim.before_delete", "trim.after_delete", "trim.after_note"}


@pytest.mark.slow
def test_a_trim_that_wakes_after_it_was_replaced_changes_nothing() -> None:
    assert check_zombies(scene, POINTS)
