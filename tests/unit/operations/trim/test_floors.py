"""How far a log may be trimmed: each holder, what is not known, and what is no reason any more."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from streamer.control.operations import FORMAT as OPERATION_FORMAT
from streamer.control.operations import OperationRecord, StepRecord, encode, operation_key
from streamer.control.orders import FORMAT as ORDER_FORMAT
from streamer.control.orders import RebuildOrder
from streamer.control.plans import PLAN_FORMAT, Plan, PlannedStep
from streamer.errors import InternalTopicError, RepositoryUnavailableError
from streamer.ids import TaskId, TopicPartition
from streamer.operations.trim.floors import Floor, floors_of
from streamer.snapshot.claims import Hold, hold, lease
from tests.unit.operations.trim.rig import DAY_MS, PLACE, TASK, TOPIC, Application, usual

OTHER = TopicPartition("app-counts-changelog", 3)


def floor(application: Application) -> Floor:
    world = application.world()
    return floors_of(TASK, world.look([TASK]), world.rules)[PLACE]


def test_the_second_newest_verified_snapshot_is_the_floor() -> None:
    found = floor(usual())
    assert found.position == 500
    assert found.limit.kind == "snapshot"
    assert [one.position for one in found.holders] == [500, 800, 950]
    assert len(found.snapshots) == 2
    assert len(found.lost(500)) == 1
    assert found.usable_ms == 7 * DAY_MS


def test_a_state_whose_log_was_cut_can_be_brought_back_for_as_long_as_removals_are_kept() -> None:
    application = usual()
    assert floor(application).restorable_ms is None, "the log has everything"
    application.logs.bounds[PLACE] = 500, 1_000
    assert floor(application).restorable_ms == 7 * DAY_MS
    application.wait(6 * DAY_MS)
    application.snapshot(900, level=None)
    # Nobody has looked at the newest one.
    assert floor(application).restorable_ms == DAY_MS
    application.wait(2 * DAY_MS)
    assert floor(application).restorable_ms == 0
    application.snapshot(950, level="files")
    assert floor(application).restorable_ms == 7 * DAY_MS
    application.logs.settings[TOPIC].pop("delete.retention.ms")
    assert floor(application).restorable_ms is None


def test_a_copy_that_lags_holds_its_position() -> None:
    application = usual()
    application.gives("w2", role="standby")
    application.says("w2", 300, role="standby")
    found = floor(application)
    assert found.position == 300
    assert found.limit.owner == "worker w2 (standby)"
    assert found.limit.since_ms == application.clock.now_ms()


def test_a_task_that_is_being_restored_holds_what_it_has_saved() -> None:
    application = usual()
    application.says("w1", 120, state="restoring")
    assert floor(application).position == 120


def test_a_worker_that_is_gone_counts_by_its_last_word() -> None:
    application = usual()
    application.gives("w2", ended=True)
    application.says("w2", 240)
    found = floor(application)
    assert found.position == 240
    assert found.limit.owner == "worker w2 (gone, active)"
    assert "forgotten" in found.limit.frees


def test_a_copy_below_the_start_is_told_and_holds_nothing() -> None:
    application = usual()
    application.logs.bounds[PLACE] = 400, 1_000
    application.gives("w2", role="standby")
    application.says("w2", 300, role="standby")
    found = floor(application)
    assert found.position == 500
    assert [one.owner for one in found.holders if one.is_lost] == ["worker w2 (standby)"]
    assert "made anew from a snapshot" in found.holders[-1].reason


def test_a_restore_and_a_hold_keep_their_snapshot_s_position() -> None:
    application = usual()
    oldest = application.shelf.entries()[0].stem
    with lease(application.shelf, oldest, holder="host-b", beat_ms=0):
        found = floor(application)
        assert (found.position, found.limit.owner) == (200, "a restore by host-b")
    assert floor(application).position == 500
    hold(application.shelf, oldest, Hold("before-release", "the audit", "ann", 7))
    found = floor(application)
    assert (found.position, found.limit.owner) == (200, "hold before-release of ann")
    assert (found.limit.reason.endswith(": the audit"), found.limit.since_ms) == (True, 7)


def test_a_lease_that_ran_out_keeps_nothing() -> None:
    application = usual()
    oldest = application.shelf.entries()[0].stem
    with lease(application.shelf, oldest, holder="host-b", beat_ms=0):
        application.wait(application.place.claim_ms + 1)
        assert floor(application).position == 500


def test_the_hold_of_an_earlier_trim_lifts_no_floor_and_keeps_none_down() -> None:
    application = usual()
    oldest = application.shelf.entries()[0].stem
    hold(application.shelf, oldest, Hold("trim.0123", "a trim rests on it", "ann", 7))
    assert floor(application).position == 500


def nothing_goes(application: Application) -> Any:
    found = floor(application)
    assert found.position == found.log.start
    return found.limit


def unverified(application: Application) -> None:
    for key in application.disk.keys("/verified/")[1:]:
        del application.disk.objects[key]


def barely_verified(application: Application) -> None:
    application.rules = replace(application.rules, level="restored")


def old(application: Application) -> None:
    application.wait(3 * DAY_MS + DAY_MS // 2 + 1)
    application.says("w1", 950)


def of_another_topic(application: Application) -> None:
    application.logs.bounds[PLACE] = 0, 700


def unreadable(application: Application) -> None:
    for key in application.disk.keys("/snapshots/")[1:]:
        application.disk.change(key, b"nonsense")


def condemned(application: Application) -> None:
    for entry in application.shelf.entries()[:2]:
        application.shelf.condemn("snapshot", entry.stem)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (unverified, r"^1 of 2 that are needed \(.*nobody has verified it"),
        (barely_verified, r"^0 of 2 .*it is verified as contents, and restored is asked for"),
        (old, r"^0 of 2 .*84 h old, more than half of delete\.retention\.ms"),
        (unreadable, r"^1 of 2 .*its manifest cannot be read"),
        (condemned, r"^1 of 2 .*it is being deleted"),
    ],
)
def test_a_snapshot_that_may_not_be_rested_on_lifts_nothing(
    spoil: Callable[[Application], None], reason: str
) -> None:
    application = usual()
    spoil(application)
    limit = nothing_goes(application)
    assert limit.owner == "verified snapshots"
    assert re.search(reason, limit.reason), limit.reason


def test_a_disk_and_a_snapshot_beyond_the_end_are_of_another_topic() -> None:
    application = usual()
    of_another_topic(application)
    limit = nothing_goes(application)
    assert limit.kind == "unknown"
    owners = {one.owner for one in floor(application).holders if one.position == 0}
    assert owners == {"worker w1 (active)"}, "two snapshots are within the log"
    application.says("w1", 650)
    assert floor(application).position == 200


def test_a_topic_that_was_made_anew_is_known_by_its_id() -> None:
    application = usual()
    application.logs.ids[TOPIC] = "new"
    world = application.world()
    seen = world.look([TASK])
    [*snapshots] = seen.shelves[TASK].snapshots
    spoiled = tuple(replace(one, topic_ids={PLACE: "old"}) for one in snapshots)
    seen = replace(seen, shelves={TASK: replace(seen.shelves[TASK], snapshots=spoiled)})
    found = floors_of(TASK, seen, world.rules)[PLACE]
    assert found.position == 0
    assert "another topic" in found.limit.reason


# -- what is not known -----------------------------------------------------------------------------


def silent(application: Application) -> None:
    application.says("w1", None)


def unheard(application: Application) -> None:
    application.gives("w2", role="standby")


def restarted(application: Application) -> None:
    application.gives("w1", incarnation="t.0")


def nobody(application: Application) -> None:
    application.control.statuses.clear()
    application.control.assignments.clear()


def garbled(application: Application) -> None:
    application.control.refused["w9 in app.status"] = InternalTopicError("no JSON")


def without_repository(application: Application) -> None:
    application.has_repository = False


def away(application: Application) -> None:
    def fails(call: str, _key: str) -> None:
        raise RepositoryUnavailableError("the server does not answer")

    application.backend.before = fails


def garbled_lease(application: Application) -> None:
    stem = application.shelf.entries()[0].stem
    lease(application.shelf, stem, holder="host-b", beat_ms=0)
    [key] = application.disk.keys("/leases/")
    application.disk.change(key, b"nonsense")


def rebuilding(application: Application) -> None:
    application.control.orders.append(
        RebuildOrder(
            format=ORDER_FORMAT, operation="rebuild-1", task=str(TASK), worker="w2", source="s3"
        )
    )


def operating(application: Application, kind: str = "repartition", scope: str = "") -> None:
    plan = Plan(
        format=PLAN_FORMAT,
        kind=kind,
        steps=(PlannedStep(id="copy", summary="copy"),),
        scope=scope or "application",
    )
    record = OperationRecord(
        format=OPERATION_FORMAT,
        application="app",
        id=f"{kind}-1",
        kind=kind,
        plan=plan,
        plan_id=plan.id,
        state="failed",
        steps=(StepRecord(id="copy"),),
        epoch=1,
        started_ms=5,
    )
    application.control.table.put(operation_key(record.id), encode(record))


@pytest.mark.parametrize(
    ("spoil", "owner", "reason"),
    [
        (silent, "worker w1 (active)", "does not tell what its disk has"),
        (unheard, "worker w2", "has not told what its disk has"),
        (restarted, "worker w1", "has not told what its disk has"),
        (nobody, "the copies of the task", "no worker that is remembered tells"),
        (garbled, "w9 in app.status", "cannot be read"),
        (without_repository, "the repository", "snapshot_repository is not set"),
        (away, "the repository memory://disk", "the server does not answer"),
        (garbled_lease, "the repository memory://disk", "a lease of app 0_3 cannot be read"),
        (rebuilding, "worker w2", "operation rebuild-1 has it make its copy anew from s3"),
        (operating, "operation repartition-1", "repartition, failed"),
    ],
)
def test_what_is_not_known_holds_everything_back_under_its_name(
    spoil: Callable[[Application], None], owner: str, reason: str
) -> None:
    application = usual()
    spoil(application)
    found = floor(application)
    assert found.position == 0
    limits = {one.owner: one.reason for one in found.holders if one.position == 0}
    assert reason in limits[owner], limits


def test_operations_that_need_nothing_of_the_task_hold_nothing() -> None:
    application = usual()
    operating(application, "snapshot")
    operating(application, "trim")
    operating(application, "rebuild", "task/0_4")
    assert floor(application).position == 500
    operating(application, "rebuild", "task/0_3")
    assert floor(application).limit.owner == "operation rebuild-1"


# -- settings of the topic -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"cleanup.policy": "compact"}, "cleanup.policy=compact: Kafka refuses"),
        ({"cleanup.policy": "delete"}, "cleanup.policy=delete: "),
        ({"retention.ms": "60000"}, "retention.ms=60000: Kafka deletes by itself"),
    ],
)
def test_a_topic_that_is_not_as_it_must_be_is_told_with_the_command(
    settings: dict[str, str], reason: str
) -> None:
    application = usual()
    application.logs.settings[TOPIC] |= settings
    limit = nothing_goes(application)
    assert (limit.kind, limit.reason.startswith(reason)) == ("topic", True)
    assert f"--entity-name {TOPIC} --add-config 'cleanup.policy=[compact,delete]" in limit.frees


def test_settings_that_may_not_be_read_are_not_known() -> None:
    application = usual()
    del application.logs.settings[TOPIC]
    assert nothing_goes(application).frees == "grant DescribeConfigs on the topic"


# -- several logs ----------------------------------------------------------------------------------


def test_a_store_that_the_snapshots_do_not_have_is_kept_whole() -> None:
    application = usual()
    application.logs.bounds[OTHER] = 0, 90
    application.logs.settings[OTHER.topic] = application.logs.settings[TOPIC]
    status = application.control.statuses["w1"]
    report = status.tasks[str(TASK)]
    told = msgspec.structs.replace(report, durable={"totals": 950, "counts": 80})
    application.control.statuses["w1"] = msgspec.structs.replace(status, tasks={str(TASK): told})
    world = application.world()
    floors = floors_of(TASK, world.look([TASK]), world.rules)
    assert floors[PLACE].position == 500
    assert (floors[OTHER].position, floors[OTHER].limit.kind) == (0, "snapshot")


def test_a_snapshot_with_a_store_that_is_no_more_is_not_rested_on() -> None:
    application = Application()
    for at in (200, 500):
        application.snapshot(at, place=OTHER)
    application.gives("w1")
    application.says("w1", 950)
    assert "no changelog of the task any more" in nothing_goes(application).reason


def test_two_tasks_that_tell_of_one_log_are_in_doubt() -> None:
    application = usual()
    application.says("w1", 950)
    status = application.control.statuses["w1"]
    report = status.tasks[str(TASK)]
    application.control.statuses["w2"] = msgspec.structs.replace(
        status, worker="w2", tasks={"1_3": report}
    )
    assert nothing_goes(application).owner == "tasks 0_3, 1_3"


def test_a_cap_takes_a_part_of_the_log_at_a_time() -> None:
    application = usual()
    found = floor(application)
    half = replace(application.rules, percent_max=25)
    assert found.target(half) == 250
    assert found.target(half, is_capped=False) == 500
    assert found.target(replace(half, percent_max=90)) == 500


def test_tasks_without_state_are_no_business_of_a_trim() -> None:
    application = usual()
    world = application.world()
    assert world.tasks() == [TASK]
    assert world.tasks([4]) == []
    assert world.look([TaskId(2, 0)]).logs == {TaskId(2, 0): {}}


def test_topics_that_only_look_like_changelogs_are_told() -> None:
    application = usual()
    application.logs.bounds[TopicPartition("app-x-y-changelog", 0)] = 0, 5
    world = application.world()
    found = world.strangers(world.look(world.tasks()))
    assert TopicPartition("app-x-y-changelog", 0) in found
    assert PLACE not in found
