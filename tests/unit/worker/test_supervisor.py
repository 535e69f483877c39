"""Several workers of one host: they end with the process that started them, which replaces those
that end by themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

WAIT_S = 80.0
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
may_end = sys.argv[2:] == ["may_end"]
sys.exit(run_processes([sys.executable, "-c", sys.argv[1]], config, 2, may_end=may_end))
"""
# Ends at once with what stands in the file of its slot, and works where there is none.
ENDING = """
import os, pathlib, signal, sys, time
place = pathlib.Path(sys.argv[sys.argv.index("--slot") + 1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with place.with_suffix(".starts").open("a") as file:
    print(os.getpid(), time.monotonic(), file=file, flush=True)
code = place.with_suffix(".code")
if code.exists():
    sys.exit(int(code.read_text()))
time.sleep(60)
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


@pytest.mark.slow
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


class Host:
    """A supervisor of two `ENDING` processes."""

    def __init__(self, directory: Path, *, may_end: bool = False, **codes: int) -> None:
        self.directory = directory
        for slot, code in codes.items():
            self.fail(int(slot.removeprefix("slot_")), code)
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    f"import logging; logging.basicConfig()\n{SUPERVISOR}",
                    ENDING,
                    *(["may_end"] if may_end else []),
                ],
                cwd=directory,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
                stderr=log,
            )

    def fail(self, slot: int, code: int) -> None:
        (self.directory / f"{slot}.code").write_text(str(code))

    def starts(self, slot: int) -> list[tuple[int, float]]:
        """Process id and time of each start."""
        file = self.directory / f"{slot}.starts"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(pid), float(at)) for pid, at in (line.split() for line in lines)]

    def wait_starts(self, slot: int, count: int) -> list[tuple[int, float]]:
        deadline = time.monotonic() + WAIT_S
        while len(found := self.starts(slot)) < count:
            assert time.monotonic() < deadline, f"{found}\n{self.log.read_text()}"
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_a_stop_after_that_is_clean(tmp_path: Path) -> None:
    host = Host(tmp_path)
    try:
        [(first, _)] = host.wait_starts(1, 1)
        [(sibling, _)] = host.wait_starts(0, 1)
        os.kill(first, signal.SIGKILL)
        host.wait_starts(1, 2)
        assert "worker 1 has ended with code -9: starting it again in 1 s" in host.log.read_text()
        assert host.starts(0) == [(sibling, host.starts(0)[0][1])]
        assert _is_alive(sibling)
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(WAIT_S) == 0
    finally:
        host.close()


@pytest.mark.slow
def test_one_that_ends_again_and_again_is_started_ever_later(tmp_path: Path) -> None:
    host = Host(tmp_path, slot_1=1)
    try:
        times = [at for _, at in host.wait_starts(1, 3)]
        first, second = (later - earlier for earlier, later in pairwise(times))
        assert first >= 1
        assert second >= 2
        # Stopped while it waits: what it ended with is no longer of interest.
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(WAIT_S) == 0
        assert len(host.starts(0)) == 1
    finally:
        host.close()


@pytest.mark.slow
def test_where_none_is_left_it_ends_with_their_code(tmp_path: Path) -> None:
    host = Host(tmp_path, slot_0=1, slot_1=7)
    try:
        assert host.process.wait(WAIT_S) == 7
        assert "none is left" in host.log.read_text()
    finally:
        host.close()


@pytest.mark.slow
def test_a_wrong_configuration_ends_all_at_once(tmp_path: Path) -> None:
    host = Host(tmp_path, slot_1=2)
    try:
        assert host.process.wait(WAIT_S) == 2
        assert "worker 1 refuses to start (code 2): ending" in host.log.read_text()
        assert len(host.starts(1)) == 1
        assert not any(_is_alive(pid) for pid, _ in host.starts(0))
    finally:
        host.close()


@pytest.mark.slow
def test_those_that_may_end_are_not_started_again_once_they_have_done_their_work(
    tmp_path: Path,
) -> None:
    host = Host(tmp_path, may_end=True, slot_0=0, slot_1=1)
    try:
        host.wait_starts(1, 2)
        host.fail(1, 0)
        assert host.process.wait(WAIT_S) == 0
        assert len(host.starts(0)) == 1
    finally:
        host.close()
