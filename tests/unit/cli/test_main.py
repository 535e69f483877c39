from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.cli.main import main
from streamer.errors import ConfigError

APP = """
from streamer.topology.app import App
app = App("spend", poll_ms=50, kafka={"sasl.password": "hunter2", "linger.ms": 7})
app.stream("purchases").to("copies")
"""
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    Path("main_module.py").write_text(APP, encoding="utf-8")
    yield
    sys.modules.pop("main_module", None)


def test_settings_show_value_and_origin_and_hide_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMER_KAFKA__LINGER_MS", "8")
    arguments = ["settings", "main_module:app", "--zone", "az=1", "--set", "poll_ms=60", "--json"]
    assert main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["setting"]: (row["value"], row["origin"]) for row in rows} == {
        "zone": ("az=1", "--set zone"),
        "poll_ms": (60, "--set poll_ms"),
        "kafka.linger.ms": ("8", "environment STREAMER_KAFKA__LINGER_MS"),
        "kafka.sasl.password": ("(hidden)", "App(...)"),
    }


def test_settings_as_a_table_with_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "main_module:app", "--all", "--set", "http_port=8080"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["setting", "value", "origin"]
    assert ["poll_ms", "50", "App(...)"] in lines
    assert ["max_poll_records", "1000", "default"] in lines
    assert [line[:2] for line in lines if line[0] == "http_port"] == [["http_port", "8080"]]
    assert ["zone", "-", "default"] in lines


def test_settings_check_the_options_of_each_store(capsys: pytest.CaptureFixture[str]) -> None:
    Path("main_module.py").write_text(
        "from streamer import App, Store\napp = App('spend')\n"
        "app.table('in', key=str, store=Store('totals', rocksdb={'block_sise': 1}))\n"
    )
    assert main(["settings", "main_module:app"]) == 2
    assert "store totals: RocksDB has no option 'block_sise'" in capsys.readouterr().err


def test_an_error_is_a_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "main_module:ap"]) == 2
    assert capsys.readouterr().err == (
        "streamer: main_module:ap: module main_module has no ap\nhint: write main_module:app\n"
    )


def test_debug_shows_where_an_error_came_from() -> None:
    with pytest.raises(ConfigError):
        main(["settings", "main_module:ap", "--debug"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--set", "pol_ms=1"],
            "--set pol_ms: unknown setting pol_ms\nhint: did you mean poll_ms?",
        ),
        (["--zone", "eu"], "zone 'eu' is not a list of name=value"),
        (["--set", "kafka.acks=1"], "kafka setting acks cannot be set"),
        (["--set", "kafka.linger.mss=1"], "did you mean linger.ms?"),
        (["--config", "gone.toml"], "--config: there is no file gone.toml"),
        (
            ["--set", "rocksdb.compresion=zstd"],
            "rocksdb: RocksDB has no option 'compresion' that can be set\n"
            "hint: did you mean compression?",
        ),
        (["--set", "rocksdb.write_buffer_size=4QiB"], "it takes bytes, such as 4MiB"),
        (["--set", "rocksdb.write_buffer_size=4QiB"], "--set rocksdb.write_buffer_size: rocksdb: "),
        (["--set", "bootstrap_servers=localhost:99999"], "has 'localhost:99999', which is not"),
        (
            ["--set", "schema_registry.urll=http://localhost:8081"],
            "--set schema_registry.urll: schema_registry has no setting 'urll'\n"
            "hint: did you mean url?",
        ),
        (
            ["--set", "internal_topics.cleanup.policy=delete"],
            "--set internal_topics.cleanup.policy: internal_topics: cleanup.policy=delete is not",
        ),
        (["--set", "internal_topics.retention.ms=5"], "retention.ms=5 would delete state"),
    ],
)
@pytest.mark.parametrize("command", ["settings", "run"])
def test_a_wrong_setting_ends_with_2_before_anything_starts(
    command: str, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "main_module:app", *more]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "the following arguments are required: MODULE:APP"),
        (["run", "main_module:app", "--processes", "0"], "not a number of processes"),
        (["sandbox"], "ACTION"),
        (["sandbox", "up", "--port", "70000"], "'70000' is not a port"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["topology", "main_module:app", "--json", "--mermaid"], "not allowed with"),
    ],
)
def test_wrong_usage_ends_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_no_command_prints_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out = capsys.readouterr().out
    assert all(f"    {name} " in out for name in ("run", "topology", "settings", "sandbox"))


def test_help_loads_no_client_library() -> None:
    code = (
        "import sys\nfrom streamer.cli.main import main\n"
        "try: main(['run', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'confluent_kafka', 'rocksdict', 'prometheus_client', 'starlette', 'msgspec'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=30, check=True
    )
    assert done.stdout.decode().splitlines()[-1] == "[]"


@pytest.mark.slow
def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m streamer.cli.main settings main_module:app --all | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command],
        env={"PYTHONPATH": f"{ROOT}:{Path.cwd()}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == b""
