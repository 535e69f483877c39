"""Several workers of one host end with the process that started them, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WAIT_S = 20.0
# A worker that tells its process id, and when it is asked to stop.
WORKER = """
import os, pathlib, signal, sys, time
place = pathlib.Path(sys.argv[sys.argv.index("--slot") + 1])
def stop(number, _frame):
    place.with_suffix(".stopped").write_text(signal.Signals(number).name)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
place.with_suffix(".new").write_text(str(os.getpid()))
place.with_suffix(".new").rename(place.with_suffix(".pid"))
time.sleep(60)
"""
SUPERVISOR = """
import sys
from streamer.config import Config
from streamer.worker.supervisor import run_processes
config = Config(application_id="app")
sys.exit(run_processes([sys.executable, "-c", sys.argv[1]], config, 2))
"""


def _wait_for(*files: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while not all(file.exists() for file in files):
        assert time.monotonic() < deadline, f"not all there: {files}"
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_stop_when_their_supervisor_ends(tmp_path: Path, number: signal.Signals) -> None:
    root = Path(__file__).parents[3]
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, WORKER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    pids: list[int] = []
    try:
        _wait_for(tmp_path / "0.pid", tmp_path / "1.pid")
        pids = [int((tmp_path / f"{slot}.pid").read_text()) for slot in (0, 1)]
        assert all(map(_is_alive, pids))
        supervisor.send_signal(number)
        supervisor.wait(WAIT_S)
        _wait_for(tmp_path / "0.stopped", tmp_path / "1.stopped")
        assert (tmp_path / "0.stopped").read_text() == "SIGTERM"
        deadline = time.monotonic() + WAIT_S
        while any(map(_is_alive, pids)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(map(_is_alive, pids))
    finally:
        supervisor.kill()
        supervisor.wait()
        for pid in filter(_is_alive, pids):
            os.kill(pid, signal.SIGKILL)
