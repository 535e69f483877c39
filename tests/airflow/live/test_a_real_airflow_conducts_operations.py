"""Through its REST API, as its UI does: connection, forms, approvals, and what dies meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from demo.airflow import Api, ApiError, LocalAirflow, Run, Runs
from demo.airflow.connection import body, check
from demo.airflow.runs import Approval
from streamer.control.operations import OperationRecord
from streamer.ids import TopicPartition
from tests.airflow.live.conftest import Conducted
from tests.broker.conftest import wait_until
from tests.thorough import thorough

# Two runs of DAGs in an Airflow of its own has the demonstration, which `make test` runs.
pytestmark = [pytest.mark.broker, pytest.mark.long, thorough]

RUN_S = 600.0
TASKS = ["0_0", "0_1"]


def operation_of(conducted: Conducted, before: set[str], kind: str) -> OperationRecord:
    """The one operation that came of a run."""
    found = [one for key, one in conducted.operations().items() if key not in before]
    assert [one.kind for one in found] == [kind], [one.id for one in found]
    return found[0]


def succeed(runs: Runs, run: Run, asks: Callable[[Approval], str] | None = None) -> None:
    state = runs.follow(run, timeout=RUN_S, asks=asks)
    if state != "success":
        failed = [one for one in runs.tasks(run) if one.state in ("failed", "up_for_retry")]
        logs = "\n".join(f"--- {one}\n{runs.log(run, one)[-3000:]}" for one in failed)
        raise AssertionError(f"{run} is {state}: {runs.tasks(run)}\n{logs}")


# -- who may -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/dags", "/connections", "/dags/snapshot_stores/dagRuns"])
def test_nobody_looks_without_a_login(airflow: LocalAirflow, path: str) -> None:
    with pytest.raises(ApiError) as refused:
        airflow.api("").get(path)
    assert refused.value.status == 401


def test_nobody_triggers_without_a_login(airflow: LocalAirflow) -> None:
    with pytest.raises(ApiError) as refused:
        Runs(airflow.api("")).trigger("snapshot_stores")
    assert refused.value.status == 401


def test_a_wrong_password_is_refused(airflow: LocalAirflow) -> None:
    with pytest.raises(ApiError) as refused:
        Api(airflow.url, "admin", "admin").get("/dags")
    assert refused.value.status == 401


def test_a_viewer_looks_and_triggers_nothing(airflow: LocalAirflow) -> None:
    viewer = airflow.api("viewer")
    assert viewer.get("/dags/snapshot_stores")["dag_id"] == "snapshot_stores"
    with pytest.raises(ApiError) as refused:
        Runs(viewer).trigger("snapshot_stores")
    assert refused.value.status == 403


# -- the connection ----------------------------------------------------------------------------


def test_the_button_tests_the_connection(airflow: LocalAirflow, conducted: Conducted) -> None:
    works, told = check(airflow.api(), body(conducted.config))
    assert works, told


def test_the_button_says_what_is_wrong(airflow: LocalAirflow, conducted: Conducted) -> None:
    wrong = body(replace(conducted.config, application_id="nobody-knows"), "another")
    works, told = check(airflow.api(), wrong)
    assert not works
    assert "no worker of nobody-knows has ever run there" in told


# -- runs --------------------------------------------------------------------------------------


def test_snapshots_are_made_by_a_form_and_the_operation_tells_how(
    runs: Runs, conducted: Conducted
) -> None:
    before = set(conducted.operations())
    run = runs.trigger("snapshot_stores", {"tasks": ["0_1"], "level": "contents"})
    succeed(runs, run)

    done = operation_of(conducted, before, "snapshot")
    assert (done.state, run.id in done.why) == ("done", True)
    made = {one.task: one.stem for one in conducted.snapshots.manifests()}
    assert list(made) == ["0_1"]
    assert conducted.snapshots.notes() == {made["0_1"]: "contents"}


def test_a_form_that_makes_no_sense_is_refused_before_anything_runs(runs: Runs) -> None:
    with pytest.raises(ApiError) as refused:
        runs.trigger("snapshot_stores", {"tasks": ["the first"]})
    assert refused.value.status in (400, 422)
    assert "the first" in str(refused.value)


def test_a_trim_waits_for_an_approval_and_cuts_what_was_shown(
    runs: Runs, conducted: Conducted
) -> None:
    # What came since the snapshots of the test before.
    conducted.process(11)
    starts = starts_of(conducted)

    before = set(conducted.operations())
    rejected = runs.trigger("trim_changelogs", {"approval": "ask"})
    assert runs.follow(rejected, timeout=RUN_S, asks=lambda _approval: "Reject") == "failed"
    assert starts_of(conducted) == starts
    assert set(conducted.operations()) == before, "what was rejected leaves no plan"

    asked: list[str] = []

    def approve(approval: Approval) -> str:
        assert starts_of(conducted) == starts, "nothing goes before somebody has said so"
        asked.extend(re.findall(r"Plan \| `(\w+)`", approval.body))
        return "Approve"

    succeed(runs, runs.trigger("trim_changelogs", {"approval": "ask"}), approve)

    done = operation_of(conducted, before, "trim")
    assert done.state == "done"
    assert asked, "somebody was asked"
    assert done.plan_id.startswith(asked[-1]), "and what was shown last is what was done"
    now = starts_of(conducted)
    assert now != starts
    assert all(now[place] >= starts[place] for place in starts)


def test_a_run_that_is_marked_as_failed_fails_and_leaves_nothing(
    airflow: LocalAirflow, runs: Runs, conducted: Conducted
) -> None:
    conducted.process(12)
    starts, before = starts_of(conducted), set(conducted.operations())
    run = runs.trigger("trim_changelogs", {"approval": "ask"})
    wait_until(lambda: bool(runs.approvals(run)), timeout=RUN_S, what="a question")
    airflow.api().patch(run.path, {"state": "failed"})

    def is_over() -> bool:
        settled = {one.state for one in runs.tasks(run) if one.task == "settle"}
        return settled <= {"failed", "success"} and runs.state(run) in ("failed", "success")

    wait_until(is_over, timeout=RUN_S, what="the end of a run that was marked as failed")
    assert {one.task: one.state for one in runs.tasks(run)} == {
        "plan": "success",
        "approve": "failed",
        "apply": "skipped",
        "settle": "failed",
    }
    assert runs.state(run) == "failed"
    assert set(conducted.operations()) == before
    assert starts_of(conducted) == starts


def test_a_key_that_the_form_does_not_have_changes_nothing(
    runs: Runs, conducted: Conducted
) -> None:
    starts, before = starts_of(conducted), set(conducted.operations())
    run = runs.trigger("trim_changelogs", {"aproval": "ask"})
    assert runs.follow(run, timeout=RUN_S) == "failed"
    assert {one.state for one in runs.tasks(run) if one.task == "plan"} == {"failed"}
    assert set(conducted.operations()) == before
    assert starts_of(conducted) == starts


def starts_of(conducted: Conducted) -> dict[TopicPartition, int]:
    application = conducted.application
    places = [
        TopicPartition(application.changelog(store), number)
        for store in ("totals", "closed", "every")
        for number in range(2)
    ]
    return application.kafka.requests.starts(places)


# -- what dies while an operation runs ---------------------------------------------------------


def under_way(conducted: Conducted, before: set[str]) -> bool:
    """Whether the workers were asked, and have not answered yet."""
    found = [one for key, one in conducted.operations().items() if key not in before]
    return any(step.id == "wait" and step.state == "running" for one in found for step in one.steps)


def assert_done_once(conducted: Conducted, before: set[str]) -> None:
    done = operation_of(conducted, before, "snapshot")
    assert done.state == "done"
    made = [one.task for one in conducted.snapshots.manifests() if one.made_for == done.id]
    assert made == TASKS


def test_an_operation_outlives_the_scheduler_and_the_process_of_its_task(
    runs: Runs,
    conducted: Conducted,
    kill_a_task: Callable[[Run], str],
    kill_a_part: Callable[[str], None],
) -> None:
    before = set(conducted.operations())
    with conducted.frozen():
        run = runs.trigger("snapshot_stores")
        wait_until(lambda: under_way(conducted, before), timeout=360, what="a step that waits")
        kill_a_part("scheduler")
        assert kill_a_task(run) == "make"
    succeed(runs, run)
    assert_done_once(conducted, before)
    assert max(one.attempt for one in runs.tasks(run) if one.task == "make") >= 2


def test_an_operation_outlives_the_triggerer(
    runs: Runs, conducted: Conducted, kill_a_part: Callable[[str], None]
) -> None:
    before = set(conducted.operations())
    with conducted.frozen():
        run = runs.trigger("snapshot_stores")
        wait_until(
            lambda: any(one.state == "deferred" for one in runs.tasks(run)),
            timeout=480,
            what="a task that waits in the triggerer",
        )
        assert under_way(conducted, before)
        kill_a_part("triggerer")
    succeed(runs, run)
    assert_done_once(conducted, before)
