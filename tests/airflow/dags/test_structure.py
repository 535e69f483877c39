"""What must hold of every DAG, whatever it does."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.conftest import HOME, ROOT

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
        is_trim = issubclass(kind, OperationOperator) and given_to(task, "kind") == "trim"
        if not (is_trim or issubclass(kind, RebalanceOperator)):
            continue
        above = task.get_flat_relatives(upstream=True)
        approvals = [one for one in above if issubclass(kind_of(one), ApprovalOperator)]
        assert [one.task_id for one in approvals] == ["approve"], task
        assert given_to(task, "approved").operator is approvals[0]
        assert given_to(approvals[0], "defaults") == ["Reject"]
        found.append(task.dag.dag_id)
    assert set(found) == {"trim_changelogs", "rebalance_zones"}


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


def test_limits_of_one_connection_are_those_of_its_form() -> None:
    program = (
        f"{PATH} import trim_changelogs;"
        "print(json.dumps([vars(trim_changelogs)[name].params.get_param('bytes_max').schema"
        "['maximum'] for name in ('trim_changelogs', 'trim_changelogs__other')]))"
    )
    two = {
        "AIRFLOW__STREAMER__CONNECTIONS": "streamer_default,other",
        "AIRFLOW__STREAMER__TRIM_BYTES_MAX__OTHER": "1MiB",
    }
    assert python(program, **two) == [10 << 30, 1 << 20]


def test_an_operation_that_can_be_left_half_done_is_settled_by_a_teardown(bag: Any) -> None:
    from streamer_airflow.operators.operation import OperationOperator
    from streamer_airflow.operators.settle import SettleOperator

    for dag in bag.dags.values():
        operating = [one for one in dag.tasks if issubclass(kind_of(one), OperationOperator)]
        settling = [one for one in dag.tasks if issubclass(kind_of(one), SettleOperator)]
        assert bool(operating) == bool(settling)
        for one in settling:
            assert one.is_teardown
            assert {each.task_id for each in operating} <= one.upstream_task_ids
            assert {given_to(each, "kind") for each in operating} == {one.kind}


def test_each_runs_one_at_a_time_and_makes_up_for_nothing(bag: Any) -> None:
    for dag in bag.dags.values():
        assert (dag.max_active_runs, dag.catchup) == (1, False)
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


# -- in processes of their own ---------------------------------------------------------------------


def python(program: str, **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=HOME,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


PATH = f"import json, sys; sys.path[:0] = {[str(ROOT / 'plugins'), str(ROOT / 'dags')]!r};"

# What only repositories need: half a second more, in each process that reads a DAG's file.
HEAVY = {"boto3", "botocore", "fabric", "paramiko", "numpy", "fastapi"}

IMPORT = """
import json, sys, time
import airflow.sdk
# Operators of the standard provider and the exceptions of tasks are Airflow's own.
import airflow.providers.standard.operators.hitl, airflow.triggers.base, croniter
asked = []
def hear(event, given):
    if event in ("socket.connect", "socket.getaddrinfo", "sqlite3.connect", "subprocess.Popen"):
        asked.append([event, str(given)])
sys.addaudithook(hear)
sys.path[:0] = [{plugins!r}, {dags!r}]
from airflow.sdk import BaseHook, Connection, Variable
def refuse(*given, **named):
    asked.append(["looked up", str(given)])
    raise LookupError(given)
BaseHook.get_connection = Connection.get = Variable.get = refuse
before = set(sys.modules)
began = time.process_time()
import {names}
heavy = sorted({{name.partition(".")[0] for name in set(sys.modules) - before}} & {heavy!r})
print(json.dumps(
    {{"cpu_s": time.process_time() - began, "asked": asked, "heavy": heavy}}
))
"""


def test_importing_them_asks_nobody_and_is_quick() -> None:
    program = IMPORT.format(
        plugins=str(ROOT / "plugins"),
        dags=str(ROOT / "dags"),
        names=", ".join(sorted(NAMES)),
        heavy=HEAVY,
    )
    told = python(program)
    assert told["asked"] == []
    assert told["heavy"] == []
    # A third of it on a quiet machine. Of its own time, which others on the machine do not take.
    assert told["cpu_s"] < 2.0, "beyond Airflow itself"


PLUGINS = """
import json, sys
sys.path.insert(0, {plugins!r})
from airflow import plugins_manager
plugins_manager._get_plugins()
own = [
    name
    for name, module in list(sys.modules.items())
    if (getattr(module, "__file__", None) or "").startswith({plugins!r})
]
print(json.dumps(own))
"""


def test_no_module_is_known_by_its_bare_name() -> None:
    """Airflow imports every file below plugins/ by its bare name, unless .airflowignore says no."""
    found = python(PLUGINS.format(plugins=str(ROOT / "plugins")))
    bare = [name for name in found if name.partition(".")[0] not in ("streamer_airflow",)]
    assert set(bare) <= {"streamer_airflow_plugin"}


def test_the_trap_is_there_without_the_file(tmp_path: Path) -> None:
    package = tmp_path / "plugins" / "any_package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "trapped.py").write_text("x = 1\n")
    program = PLUGINS.format(plugins=str(tmp_path / "plugins"))
    where = {"AIRFLOW__CORE__PLUGINS_FOLDER": str(tmp_path / "plugins")}
    assert "trapped" in python(program, **where)
    (tmp_path / "plugins" / ".airflowignore").write_text(
        (ROOT / "plugins" / ".airflowignore").read_text()
    )
    assert "trapped" not in python(program, **where)


PROVIDER = """
import json
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
hooks = {name: hook.hook_class_name for name, hook in manager.hooks.items() if hook}
fields = [name for name in manager.connection_form_widgets if "extra__streamer__" in name]
print(json.dumps([hooks.get("streamer"), fields, "streamer" in manager.field_behaviours,
    manager.extra_links_class_names]))
"""


def test_airflow_finds_the_connection_type_its_form_and_the_link() -> None:
    hook, fields, has_behaviour, links = python(PROVIDER)
    assert hook == "streamer_airflow.hooks.application.ApplicationHook"
    assert "extra__streamer__repository_secret_key" in fields
    assert has_behaviour
    assert "streamer_airflow.links.OperationLink" in links


def test_each_connection_has_its_own() -> None:
    program = (
        f"{PATH} import {', '.join(sorted(NAMES))};"
        f"files = [{', '.join(sorted(NAMES))}];"
        "dags = {name: dag for file in files for name, dag in vars(file).items()"
        " if type(dag).__name__ == 'DAG'};"
        "print(json.dumps({name: [dag.dag_id, dag.default_args['conn_id'], sorted(dag.tags)]"
        " for name, dag in dags.items()}))"
    )
    two = {"AIRFLOW__STREAMER__CONNECTIONS": "streamer_default,other"}
    assert python(program, **two) == {
        **{name: [name, "streamer_default", ["streamer", "streamer_default"]] for name in NAMES},
        **{f"{name}__other": [f"{name}__other", "other", ["other", "streamer"]] for name in NAMES},
    }


def test_schedules_are_turned_on_by_one_configuration() -> None:
    program = (
        f"{PATH} import snapshot_stores, restore_drill;"
        "print(json.dumps([vars(snapshot_stores)['snapshot_stores'].schedule,"
        " vars(restore_drill)['restore_drill'].schedule]))"
    )
    assert python(program, AIRFLOW__STREAMER__SCHEDULES="False") == [None, None]
    assert python(program) == ["@hourly", "@weekly"]


def test_tasks_that_read_whole_snapshots_may_have_a_queue_of_their_own() -> None:
    program = (
        f"{PATH} import snapshot_stores, restore_drill;"
        "dags = [vars(snapshot_stores)['snapshot_stores'],"
        " vars(restore_drill)['restore_drill']];"
        "print(json.dumps({task.task_id: task.queue for dag in dags for task in dag.tasks}))"
    )
    found = python(program, AIRFLOW__STREAMER__HEAVY_QUEUE="heavy")
    assert {name for name, queue in found.items() if queue == "heavy"} == {"check", "restore"}


def test_forms_offer_what_was_told_of_the_application() -> None:
    """Lists are typed in, one a line: with examples Airflow's form takes nothing else there."""
    known = {"tasks": [f"0_{at}" for at in range(40)], "stores": ["totals"], "workers": ["w1"]}
    program = (
        f"{PATH} import rebuild_standby, snapshot_stores;"
        "both = [vars(snapshot_stores)['snapshot_stores'],"
        " vars(rebuild_standby)['rebuild_standby']];"
        "print(json.dumps([{one: dag.params.get_param(one).schema for one in dag.params}"
        " for dag in both]))"
    )
    told, rebuild = python(
        program, AIRFLOW__STREAMER__CHOICES=json.dumps({"streamer_default": known})
    )
    assert "lists them; when this form was made: `totals`." in told["stores"]["description_md"]
    assert "`0_29` and 10 more." in told["tasks"]["description_md"]
    assert rebuild["worker"]["examples"] == ["w1"]
    assert not {"tasks", "stores"} & {one for one in told if "examples" in told[one]}
    told, _rebuild = python(program, AIRFLOW__STREAMER__CHOICES="")
    assert "`streamer show stores --app APP` lists them." in told["stores"]["description_md"]
