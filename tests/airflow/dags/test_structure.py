"""What must hold of every DAG, whatever it does."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

from tests.airflow.conftest import ROOT

NAMES = {path.stem for path in (ROOT / "dags").glob("*.py")}
SCHEDULED = {
    "snapshot_stores": "@hourly",
    "trim_changelogs": "@daily",
    "rebalance_zones": "*/15 * * * *",
    "restore_drill": "@weekly",
}
DOCUMENT = ROOT / "docs" / "airflow.md"


def tasks(bag: Any) -> list[Any]:
    return [task for dag in bag.dags.values() for task in dag.tasks]


def kind_of(task: Any) -> type:
    """The operator's class, of a mapped one too."""
    found: type = getattr(task, "operator_class", type(task))
    return found


def given_to(task: Any, name: str) -> Any:
    arguments = getattr(task, "partial_kwargs", None)
    if arguments is None:
        return getattr(task, name, None)
    return arguments.get(name, getattr(task.expand_input, "value", {}).get(name))


def test_there_is_one_of_each_file(bag: Any) -> None:
    assert set(bag.dags) == NAMES
    for dag in bag.dags.values():
        assert set(dag.tags) == {"streamer", "streamer_default"}
        # Mapped ones take it from there when they run.
        assert dag.default_args["conn_id"] == "streamer_default"
        assert {given_to(task, "conn_id") for task in dag.tasks} <= {"streamer_default", None}


def test_what_waits_has_a_time_and_no_run_is_cut_off(bag: Any) -> None:
    """A run that is cut off skips its teardown too."""
    from streamer_airflow.operators.operation import OperationOperator

    for dag in bag.dags.values():
        assert dag.dagrun_timeout is None
        if any(issubclass(kind_of(task), OperationOperator) for task in dag.tasks):
            assert 0 < dag.params["work_hours"] <= 24, dag.dag_id


def test_every_task_has_a_page_a_connection_and_two_more_tries(bag: Any) -> None:
    from streamer_airflow.operators.approval import PlanApproval
    from streamer_airflow.operators.operation import StreamerOperator

    for task in tasks(bag):
        assert issubclass(kind_of(task), StreamerOperator | PlanApproval), task
        assert task.retries >= 2, task
        assert task.retry_delay.total_seconds() > 0


def test_every_destructive_task_has_an_approval_upstream_to_which_it_is_bound(bag: Any) -> None:
    from airflow.providers.standard.operators.hitl import ApprovalOperator

    from streamer_airflow.operators.operation import OperationOperator
    from streamer_airflow.operators.rebalance import RebalanceOperator

    found = []
    for task in tasks(bag):
        kind = kind_of(task)
        operates = issubclass(kind, OperationOperator)
        is_trim = operates and given_to(task, "kind") == "trim"
        if not (is_trim or issubclass(kind, RebalanceOperator)):
            continue
        above = task.get_flat_relatives(upstream=True)
        approvals = [one for one in above if issubclass(kind_of(one), ApprovalOperator)]
        assert [one.task_id for one in approvals] == ["approve"], task
        assert given_to(task, "approved").operator is approvals[0]
        assert given_to(approvals[0], "defaults") == ["Reject"]
        found.append(task.dag.dag_id)
    assert set(found) == {"trim_changelogs", "rebalance_zones"}


@pytest.mark.parametrize("name", ["repartition", "revert_repartition"])
def test_a_repartition_is_asked_for_by_the_plan_and_again_before_the_switch(
    bag: Any, name: str
) -> None:
    """There is no way back after it, and nothing of it is taken from an earlier word."""
    from streamer.operations.repartition.steps import STEPS

    dag = bag.dags[name]
    bound = {"copy": "approve", "prove": "approve"}
    bound |= {"switch": "approve_switch", "finish": "approve_switch"}
    for stage, approval in bound.items():
        assert dag.get_task(stage).approved.operator is dag.get_task(approval), stage
        assert approval in {one.task_id for one in dag.get_task(stage).get_flat_relatives(True)}
    for stage in ("approve", "approve_switch"):
        assert (dag.get_task(stage).mode, dag.get_task(stage).defaults) == ("", ["Reject"])
    assert dag.get_task("approve_switch").approved.operator is dag.get_task("approve")
    assert dag.get_task("approve_switch").step == "switch"
    assert tuple(step for stage in bound for step in dag.get_task(stage).steps) == STEPS


def test_a_replay_is_asked_for_by_the_plan_and_again_with_what_differs(bag: Any) -> None:
    from streamer.operations.replay.steps import STEPS

    dag = bag.dags["replay"]
    bound = dict.fromkeys(("replay", "copy", "prove"), "approve")
    bound |= dict.fromkeys(("switch", "finish"), "approve_switch")
    for name, approval in bound.items():
        assert dag.get_task(name).approved.operator is dag.get_task(approval), name
        assert approval in {one.task_id for one in dag.get_task(name).get_flat_relatives(True)}
    for name in ("approve", "approve_switch"):
        assert (dag.get_task(name).mode, dag.get_task(name).defaults) == ("", ["Reject"])
    assert dag.get_task("approve_switch").differences.operator is dag.get_task("diff")
    assert dag.get_task("approve_switch").step == "switch"
    assert tuple(step for name in bound for step in dag.get_task(name).steps) == STEPS
    # What takes an operation back does not wait for what ends with it.
    assert "read_again" not in {one.task_id for one in dag.get_task("settle").upstream_list}


def test_what_goes_without_a_person_is_bounded_by_the_deployment(bag: Any) -> None:
    """Whoever may trigger fills the form in: each of its limits has one of the configuration."""
    from streamer_airflow.limits import LIMITS

    found = set()
    for dag, names in {
        "trim_changelogs": {"bytes_max": "trim_bytes_max"},
        "rebalance_zones": {
            "bytes_max": "rebalance_bytes_max",
            "tasks_max": "rebalance_tasks_max",
        },
    }.items():
        for field, option in names.items():
            schema = bag.dags[dag].params.get_param(field).schema
            assert schema["maximum"] == LIMITS[option]
            assert f"`[streamer] {option}`" in schema["description_md"]
            found.add(option)
    assert found == set(LIMITS)
    approve = bag.dags["trim_changelogs"].get_task("approve")
    assert (approve.limits, approve.asks) == ({"bytes_max": "trim_bytes_max"}, ("beyond_cap",))


def test_an_operation_that_can_be_left_half_done_is_settled_by_a_teardown(bag: Any) -> None:
    from streamer_airflow.operators.operation import OperationOperator
    from streamer_airflow.operators.settle import SettleOperator

    for dag in bag.dags.values():
        operating = [one for one in dag.tasks if issubclass(kind_of(one), OperationOperator)]
        settling = [one for one in dag.tasks if issubclass(kind_of(one), SettleOperator)]
        assert bool(operating) == bool(settling)
        for one in settling:
            # Else a run that somebody marks as failed would end as a success.
            assert one.is_teardown
            assert one.on_failure_fail_dagrun
            assert {each.task_id for each in operating} <= one.upstream_task_ids
            assert {given_to(each, "kind") for each in operating} == {one.kind}


def test_scheduled_runs_wait_for_each_other_and_others_are_refused_by_the_lock(bag: Any) -> None:
    for name, dag in bag.dags.items():
        assert not dag.catchup
        assert (dag.max_active_runs == 1) == (name in SCHEDULED)
        if name == "replay":
            # Nothing schedules it, and Airflow's dialog for backfills makes runs of its intervals.
            assert dag.timetable.summary == "on demand (0 0 * * *)"
        else:
            assert dag.schedule == SCHEDULED.get(dag.dag_id)


def test_each_page_says_what_to_do_and_the_command_that_does_the_same(bag: Any) -> None:
    guide = DOCUMENT.read_text()
    for dag in bag.dags.values():
        name = dag.dag_id
        assert dag.doc_md.startswith("# ")
        same = dag.doc_md.partition("same from the")[2]
        commands = re.findall(r"`(streamer [a-z][^`]*)`", same)
        assert commands, name
        for task in dag.tasks:
            assert f"`{task.task_id}`" in dag.doc_md, (name, task.task_id)
        section = guide.partition(f"## `{name}`")[2].partition("\n## ")[0]
        assert section, f"docs/airflow.md has no section on {name}"
        for task in dag.tasks:
            assert f"`{task.task_id}`" in section, (name, task.task_id)
        for command in commands:
            assert " ".join(command.split()[:3]) in section, (name, command)


def test_commands_that_are_named_exist(bag: Any) -> None:
    from streamer.cli.main import parser

    root = parser()
    for dag in bag.dags.values():
        forms = [dag.params.get_param(name).schema["description_md"] for name in dag.params]
        for command in re.findall(r"`streamer ([a-z][^`]*)`", "\n".join([dag.doc_md, *forms])):
            words = re.split(r"\s+", command)
            filled = [{"ID": "x", "TOPIC/PARTITION": "t/0", "APP": "app"}.get(w, w) for w in words]
            root.parse_args(filled)


def test_forms_have_titles_sections_and_help(bag: Any) -> None:
    for dag in bag.dags.values():
        for name in dag.params:
            schema = dag.params.get_param(name).schema
            for each in ("title", "section", "description_md"):
                assert schema.get(each), (dag.dag_id, name, each)


def test_scheduled_ones_have_a_form_that_is_filled_in(bag: Any) -> None:
    for dag in bag.dags.values():
        if dag.schedule is not None:
            dag.params.validate()


@pytest.mark.parametrize(
    ("dag", "name", "bad"),
    [
        ("rebuild_standby", "tasks", []),
        ("rebuild_standby", "tasks", ["0-3"]),
        ("rebuild_standby", "source", "tape"),
        ("rebuild_standby", "zone", "eu-1"),
        ("snapshot_stores", "repository", "ftp://x"),
        ("trim_changelogs", "bytes_max", -1),
        ("trim_changelogs", "bytes_max", (10 << 30) + 1),
        ("trim_changelogs", "partitions", ["0"]),
        ("rebalance_zones", "bytes_max", (50 << 30) + 1),
        ("rebalance_zones", "tasks_max", 51),
        ("rebalance_zones", "spread_percent_max", 1001),
        ("restore_drill", "sample", 0),
        ("restore_drill", "directory", "relative"),
        ("cancel_operation", "operation", ""),
        ("repartition", "tasks_of", []),
        ("repartition", "tasks_of", ["purchases"]),
        ("repartition", "tasks_of", ["purchases=0"]),
        ("repartition", "mode", "split"),
        ("revert_repartition", "reverts", "all of them"),
    ],
)
def test_forms_refuse_what_makes_no_sense(bag: Any, dag: str, name: str, bad: Any) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        bag.dags[dag].params.get_param(name).resolve(bad)


def test_files_hold_no_logic() -> None:
    for path in (ROOT / "dags").glob("*.py"):
        tree = ast.parse(path.read_text())
        kinds = {type(node) for node in ast.walk(tree)}
        assert not kinds & {ast.If, ast.For, ast.While, ast.Try, ast.Lambda, ast.ClassDef}, path
