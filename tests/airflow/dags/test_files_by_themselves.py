"""What must hold of the files of DAGs and plugins, each as Airflow meets it in a new process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.conftest import ROOT
from tests.airflow.dags.alone import PATH, Ask, forking, python
from tests.thorough import thorough

NAMES = {path.stem for path in (ROOT / "dags").glob("*.py")}


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    with forking(tmp_path_factory.mktemp("forked") / "stderr.txt") as ask:
        yield ask


# What only repositories need: half a second more, in each process that reads a DAG's file.
HEAVY = {"boto3", "botocore", "fabric", "paramiko", "numpy", "fastapi"}

IMPORT = """
import json, sys, time
import airflow.sdk
airflow_s = time.process_time()
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
    {{
        "share": (time.process_time() - began) / airflow_s,
        "asked": asked,
        "heavy": heavy,
    }}
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
    # A fifth of it. Both are times of this process, which others on the machine do not take.
    assert told["share"] < 0.5, "of what Airflow's own import takes"


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


@thorough
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


def test_each_connection_has_its_own(forked: Ask) -> None:
    program = (
        f"{PATH} import {', '.join(sorted(NAMES))};"
        f"files = [{', '.join(sorted(NAMES))}];"
        "dags = {name: dag for file in files for name, dag in vars(file).items()"
        " if type(dag).__name__ == 'DAG'};"
        "print(json.dumps({name: [dag.dag_id, dag.default_args['conn_id'], sorted(dag.tags)]"
        " for name, dag in dags.items()}))"
    )
    two = {"AIRFLOW__STREAMER__CONNECTIONS": "streamer_default,other"}
    assert forked(program, **two) == {
        **{name: [name, "streamer_default", ["streamer", "streamer_default"]] for name in NAMES},
        **{f"{name}__other": [f"{name}__other", "other", ["other", "streamer"]] for name in NAMES},
    }


def test_schedules_are_turned_on_by_one_configuration(forked: Ask) -> None:
    program = (
        f"{PATH} import snapshot_stores, restore_drill;"
        "print(json.dumps([vars(snapshot_stores)['snapshot_stores'].schedule,"
        " vars(restore_drill)['restore_drill'].schedule]))"
    )
    assert forked(program, AIRFLOW__STREAMER__SCHEDULES="False") == [None, None]
    assert forked(program) == ["@hourly", "@weekly"]


def test_tasks_that_read_whole_snapshots_may_have_a_queue_of_their_own(
    forked: Ask,
) -> None:
    program = (
        f"{PATH} import snapshot_stores, restore_drill, repartition;"
        "dags = [vars(snapshot_stores)['snapshot_stores'],"
        " vars(restore_drill)['restore_drill'], vars(repartition)['repartition']];"
        "print(json.dumps({task.task_id: task.queue for dag in dags for task in dag.tasks}))"
    )
    found = forked(program, AIRFLOW__STREAMER__HEAVY_QUEUE="heavy")
    assert {name for name, queue in found.items() if queue == "heavy"} == {
        *("check", "restore"),
        *("copy", "prove", "switch"),
    }


def test_forms_offer_what_was_told_of_the_application(forked: Ask) -> None:
    """Lists are typed in, one a line: with examples Airflow's form takes nothing else there."""
    known = {"tasks": [f"0_{at}" for at in range(40)], "stores": ["totals"], "workers": ["w1"]}
    known["zones"] = ["az=a"]
    program = (
        f"{PATH} import rebuild_standby, snapshot_stores;"
        "both = [vars(snapshot_stores)['snapshot_stores'],"
        " vars(rebuild_standby)['rebuild_standby']];"
        "print(json.dumps([{one: dag.params.get_param(one).schema for one in dag.params}"
        " for dag in both]))"
    )
    told, rebuild = forked(
        program, AIRFLOW__STREAMER__CHOICES=json.dumps({"streamer_default": known})
    )
    assert "lists them; when this form was made: `totals`." in told["stores"]["description_md"]
    assert "`0_29` and 10 more." in told["tasks"]["description_md"]
    assert rebuild["worker"]["examples"] == ["w1"]
    assert rebuild["zone"]["examples"] == ["az=a"]
    assert not {"tasks", "stores"} & {one for one in told if "examples" in told[one]}
    told, _rebuild = forked(program, AIRFLOW__STREAMER__CHOICES="")
    assert "`streamer show stores --app APP` lists them." in told["stores"]["description_md"]


def test_limits_of_one_connection_are_those_of_its_form(forked: Ask) -> None:
    program = (
        f"{PATH} import trim_changelogs;"
        "print(json.dumps([vars(trim_changelogs)[name].params.get_param('bytes_max').schema"
        "['maximum'] for name in ('trim_changelogs', 'trim_changelogs__other')]))"
    )
    two = {
        "AIRFLOW__STREAMER__CONNECTIONS": "streamer_default,other",
        "AIRFLOW__STREAMER__TRIM_BYTES_MAX__OTHER": "1MiB",
    }
    assert forked(program, **two) == [10 << 30, 1 << 20]
