"""The demonstration as a user starts it, in its smallest form: the history itself, once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.thorough import thorough

pytestmark = [pytest.mark.long, pytest.mark.timeout(2_700)]

ROOT = Path(__file__).parents[2]


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """The demo with its own place for temporary files."""
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def leftovers(directory: Path) -> list[str]:
    """Files that are left, and processes that were started for them or have one of them open."""
    processes = [
        line
        for entry in Path("/proc").glob("[0-9]*")
        if str(directory) in (line := _text(entry)) or _has_open(entry, directory)
    ]
    return [*map(str, directory.iterdir()), *processes]


def _text(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _has_open(entry: Path, directory: Path) -> bool:
    """Those of Airflow go by names of their own choice."""
    try:
        links = [os.readlink(link) for link in (entry / "fd").iterdir()]
    except OSError:
        return False
    return any(link.startswith(f"{directory}/") for link in links)


def test_the_demo_ends_with_equal_profiles_and_leaves_nothing(tmp_path: Path) -> None:
    demo = start(tmp_path, "--copies", "1", "--per-second", "5000")
    try:
        shown, _ = demo.communicate(timeout=2_400)
    finally:
        demo.kill()

    assert demo.returncode == 0, shown
    summary = dict(re.findall(r"^  (\w[\w ]*?)  +(\S.*)$", shown, re.MULTILINE))
    assert summary["events"] == "69,659"
    assert summary["compared"].startswith("23,570 profiles, 55,580 windows, ")
    assert summary["verdict"] == "equal, every one of them"
    assert 0 < float(summary["takeover"].split()[0]) < 60
    assert "SIGKILL to worker" in shown
    assert "Airflow is at http://127.0.0.1:" in shown
    for dag in ("snapshot_stores", "trim_changelogs"):
        assert summary[dag].startswith("success, "), shown
    assert re.fullmatch(
        r"6 tasks after \d+ s, then 3 tasks after \d+ s, under [\d,]+ more purchases",
        summary["repartitioned"],
    ), shown
    assert summary["compared again"].startswith("23,570 profiles, "), shown
    assert not leftovers(tmp_path)


@thorough
def test_ctrl_c_stops_everything_that_the_demo_started(tmp_path: Path) -> None:
    demo = start(tmp_path, "--copies", "1", "--per-second", "5000")
    assert demo.stdout is not None
    seen = []
    try:
        for line in demo.stdout:
            seen.append(line)
            if "both workers run their tasks" in line:
                break
        assert any("workers" in entry for entry in seen), seen
        assert leftovers(tmp_path)
        began = time.monotonic()
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=240)
    finally:
        demo.kill()
    assert demo.returncode == 130
    assert time.monotonic() - began < 45
    assert not leftovers(tmp_path)
