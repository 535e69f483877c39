from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamer.cli import run
from streamer.cli.main import main, parser
from streamer.cli.options import resolved
from streamer.config import Config
from streamer.topology.app import App


@pytest.mark.parametrize(
    ("settings", "slot", "port", "server"),
    [
        ({"http_port": 8080}, 0, 8080, ""),
        ({"http_port": 8080}, 2, 8082, ""),
        ({"http_port": 0}, 2, 0, ""),
        ({"http_port": -1}, 2, -1, ""),
        ({"http_port": 8080, "application_server": "host-1:80"}, 3, 8083, "host-1:83"),
    ],
)
def test_each_process_has_a_port_of_its_own(
    settings: dict[str, object], slot: int, port: int, server: str
) -> None:
    config = Config(application_id="spend", **settings)  # type: ignore[arg-type]
    made = run._of_slot(config, slot)
    assert (made.http_port, made.application_server) == (port, server)


def test_a_child_gets_the_configuration_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text("poll_ms = 7\nmax_poll_records = 5\n")
    asked = ["run", "shop:app", "--processes", "3", "--config", "mine.toml", "--zone", "az=1"]
    parent = parser().parse_args([*asked, "--set", "poll_ms=8", "--set", "zone=az=2", "--debug"])
    command = run._command(parent)
    assert command[:4] == [sys.executable, "-m", "streamer.cli.main", "run"]
    child = parser().parse_args([*command[3:], "--slot", "2"])
    assert (child.target, child.slot, child.processes, child.debug) == ("shop:app", 2, 1, True)
    app = App("spend")
    assert resolved(app, child) == resolved(app, parent)
    assert resolved(app, child).config.zone == "az=2"
    assert resolved(app, child).config.poll_ms == 8


def test_several_processes_cannot_share_a_worker_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    Path("run_module.py").write_text(
        "from streamer.topology.app import App\napp = App('spend')\napp.stream('a').to('b')\n"
    )
    assert main(["run", "run_module:app", "--processes", "2", "--worker-id", "w1"]) == 2
    assert "worker_id 'w1' cannot be that of several processes" in capsys.readouterr().err
