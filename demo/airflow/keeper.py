"""Keeps the parts of a local Airflow: starts them, starts one that died again, ends all of them.

`python -m demo.airflow.keeper HOME [NICE]`. It runs in a session of its own, in which all of
Airflow's processes stay, and it ends, with all of them, by SIGTERM, or when its parent is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import msgspec

from demo.airflow import leftovers
from demo.airflow.parts import PARTS, STOP_S
from streamer.launch import launched

__all__ = ["main"]

_LOOK_S = 0.2
_DEATHS_MAX, _DEATHS_OVER_S = 5, 60.0


class Keeper:
    """One Airflow, in one directory, whose lock this process has inherited."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stopping = threading.Event()
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._deaths: deque[float] = deque()
        self._restarts = 0
        found = leftovers.read(home)
        assert found is not None, "the launcher writes it before it starts a keeper"
        self._state = msgspec.structs.replace(found, keeper=os.getpid())
        leftovers.write(home, self._state)

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping.set()

    def run(self) -> int:
        """Until it is told to stop; 1 where Airflow cannot be kept alive."""
        try:
            if not self._migrate():
                return 0 if self._is_over else 1
            for name in PARTS:
                self._start(name)
            self._tell()
            while not self._is_over:
                if not self._look():
                    return 1
                self._stopping.wait(_LOOK_S)
            return 0
        finally:
            leftovers.end(os.getpid(), STOP_S)

    @property
    def _is_over(self) -> bool:
        return self._stopping.is_set() or os.getppid() != self._state.launcher

    def _migrate(self) -> bool:
        """Make the database, or bring it to this release; once for each release."""
        stamp, release = self._home / "migrated", version("apache-airflow")
        if stamp.exists() and stamp.read_text() == release:
            return True
        child = self._spawn("migrate", ["db", "migrate"])
        while child.poll() is None and not self._is_over:
            time.sleep(_LOOK_S)
        if child.poll() != 0:
            _say(f"the database could not be made: `db migrate` ended with {child.poll()}")
            return False
        stamp.write_text(release)
        return True

    def _start(self, name: str) -> None:
        self._parts[name] = self._spawn(name, PARTS[name])

    def _spawn(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        with (self._home / f"{name}.log").open("ab") as output:
            return subprocess.Popen(
                launched([sys.executable, "-m", "airflow", *arguments], signal.SIGTERM),
                cwd=self._home,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                close_fds=False,  # the lock of the directory goes to all
            )

    def _look(self) -> bool:
        """Start again what has ended. False where that is no use."""
        for name, child in self._parts.items():
            status = child.poll()
            if status is None:
                continue
            now = time.monotonic()
            self._deaths.append(now)
            while now - self._deaths[0] > _DEATHS_OVER_S:
                self._deaths.popleft()
            if len(self._deaths) > _DEATHS_MAX:
                _say(f"{name} ended with {status}, and something did {_DEATHS_MAX} times before")
                return False
            _say(f"{name} ended with {status}: it is started again")
            self._restarts += 1
            self._start(name)
            self._tell()
            break
        return True

    def _tell(self) -> None:
        pids = {name: child.pid for name, child in self._parts.items()}
        state = msgspec.structs.replace(self._state, parts=pids, restarts=self._restarts)
        leftovers.write(self._home, state)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> int:
    keeper = Keeper(Path(sys.argv[1]))
    signal.signal(signal.SIGTERM, keeper.stop)
    # A shell's background job ignores it, and so would all that is started from here.
    signal.signal(signal.SIGINT, keeper.stop)
    if len(sys.argv) > 2:
        os.nice(int(sys.argv[2]))
    return keeper.run()


if __name__ == "__main__":
    sys.exit(main())
