"""`LocalAirflow`: a whole Airflow on loopback, with SQLite and few processes. Times are seconds.

    with LocalAirflow() as airflow:
        airflow.api().get("/dags")

Without a directory everything is temporary and goes with the last stop; with one it stays, with its
passwords and its port. Its processes end when this one does, whatever ended it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Self

from demo.airflow import leftovers
from demo.airflow.environment import ROOT, environment, secrets_of
from demo.airflow.leftovers import PREFIX, State
from demo.airflow.parts import PARTS, STOP_S
from demo.airflow.rest import Api, ApiError
from streamer.errors import OperationRefusedError, SandboxError
from streamer.sandbox.directory import hold
from streamer.sandbox.ports import free_ports
from streamer.sandbox.process import ServerProcess, tail

__all__ = ["LocalAirflow"]

# The first start compiles what is installed; on a busy machine of two cores that takes minutes.
START_S = 600.0
_LOOK_S = 1.0


class LocalAirflow:
    """One Airflow. `port` 0 means the one it had before, or a free one.

    `settings` are further ones of Airflow as `section.option`. `nice` lowers the priority of all
    of its processes. `base` is the environment to start from.
    """

    def __init__(
        self,
        home: str | Path | None = None,
        *,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        nice: int = 0,
        base: Mapping[str, str] | None = None,
    ) -> None:
        self._given = Path(home).absolute() if home is not None else None
        self._home = self._given
        self._port = port
        self._settings = dict(settings or {})
        self._nice = nice
        self._base = dict(os.environ if base is None else base)
        self._lock: IO[str] | None = None
        self._process: ServerProcess | None = None
        self.passwords: dict[str, str] = {}
        self.ended_leftovers = 0

    @property
    def home(self) -> Path:
        if self._home is None:
            raise OperationRefusedError("Airflow has no directory yet", hint="call start()")
        return self._home

    @property
    def url(self) -> str:
        """Known from the first start on."""
        if not self._port:
            raise OperationRefusedError("Airflow has no port yet", hint="call start()")
        return f"http://127.0.0.1:{self._port}"

    @property
    def restarts(self) -> int:
        """How often a part that had ended was started again."""
        state = leftovers.read(self.home)
        return state.restarts if state is not None else 0

    def pid(self, part: str) -> int:
        """The process of `api-server`, `scheduler`, `dag-processor` or `triggerer`; 0 before it is
        there."""
        assert part in PARTS, part
        state = leftovers.read(self.home)
        return state.parts.get(part, 0) if state is not None else 0

    def api(self, user: str = "admin") -> Api:
        """The REST API as one of `passwords` sees it; with "" as anybody sees it."""
        return Api(self.url, user, self.passwords[user] if user else "")

    def start(self, *, timeout: float = START_S) -> Self:
        """Returns when all parts are healthy. Raises SandboxError, with the end of their logs."""
        self.begin()
        return self.wait(timeout=timeout)

    def begin(self) -> None:
        """Start it, and do not wait. Raises SandboxError where that is not possible."""
        if self._process is not None and self._process.exit_status is None:
            raise OperationRefusedError(f"Airflow runs already, at {self.url}")
        self._hold_home()
        atexit.register(self.stop)
        try:
            self._begin()
        except BaseException:
            self.stop()
            raise

    def wait(self, *, timeout: float = START_S) -> Self:
        """Until all parts are healthy, after `begin`."""
        deadline = time.monotonic() + timeout
        while not self.is_healthy:
            self.check()
            if time.monotonic() > deadline:
                raise self._failed(f"it was not healthy within {timeout:g} s")
            time.sleep(_LOOK_S)
        return self

    @property
    def is_healthy(self) -> bool:
        """All parts are there, and this is the Airflow that was started here."""
        found = Api(self.url, timeout_s=5).health()
        wanted = {"metadatabase", "scheduler", "triggerer", "dag_processor"}
        healthy = {name for name, status in found.items() if status == "healthy"}
        if not wanted <= healthy:
            return False
        try:
            self.api().get("/version")
            self.api().get("/dags", limit=1)
        except ApiError:
            return False
        return True

    def wait_for_dags(self, wanted: Collection[str], *, timeout: float = 120.0) -> None:
        """Until they can be triggered. Raises SandboxError, with what keeps them from it."""
        api = self.api()
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            known = {dag["dag_id"] for dag in api.get("/dags", limit=100)["dags"]}
            if known >= set(wanted):
                return
            broken = api.get("/importErrors")["import_errors"]
            if broken:
                first = broken[0]
                raise SandboxError(f"{first['filename']} cannot be read:\n{first['stack_trace']}")
            if time.monotonic() > deadline:
                missing = ", ".join(sorted(set(wanted) - known))
                raise SandboxError(f"Airflow has no DAG {missing} after {timeout:g} s")
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """Stop all of it; a temporary directory goes. May be called twice."""
        atexit.unregister(self.stop)
        if self._process is not None:
            if self._process.exit_status is None:
                self._process.stop(STOP_S + 15)
            # A keeper that was ended by force has left the others to us.
            leftovers.end(self._process.pid, 0)
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._given is None and self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def logs(self, lines: int = 15) -> str:
        """The end of what each part has logged."""
        found = []
        for name in ("keeper", "migrate", *PARTS):
            text = tail(self.home / f"{name}.log", lines=lines)
            if text:
                found.append(f"--- {name}\n{text}")
        return "\n".join(found)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _hold_home(self) -> None:
        if self._given is None:
            self.ended_leftovers = leftovers.remove_abandoned()
            if self._home is None:
                self._home = Path(tempfile.mkdtemp(prefix=PREFIX))
        else:
            self._given.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.ended_leftovers = leftovers.end_leftovers(self._given)
        if self._lock is None:
            self._lock = hold(self.home)

    def _begin(self) -> None:
        home = self.home
        before = leftovers.read(home)
        if not self._port and before is not None and _is_free(before.port):
            self._port = before.port
        self._port = self._port or free_ports(1)[0]
        if not _is_free(self._port):
            raise SandboxError(
                f"port {self._port} is taken: another program listens there",
                hint="stop it, or name another port",
            )
        secret = secrets_of(home)
        self.passwords = dict(secret.passwords)
        variables = environment(home, self._port, secret, base=self._base, settings=self._settings)
        variables["PYTHONPATH"] = str(ROOT)  # of the keeper alone
        leftovers.write(home, State(launcher=os.getpid(), port=self._port))
        assert self._lock is not None
        self._process = ServerProcess(
            [sys.executable, "-m", "demo.airflow.keeper", str(home), str(self._nice)],
            log=home / "keeper.log",
            dies_with_parent=signal.SIGTERM,
            inherits=[self._lock.fileno()],
            environment=variables,
        )
        self._process.start()

    def check(self) -> None:
        """Raises SandboxError where it has ended, with the ends of its logs; it is stopped then."""
        assert self._process is not None, "not started"
        status = self._process.exit_status
        if status is not None:
            raise self._failed(f"it ended with status {status}")

    def _failed(self, problem: str) -> SandboxError:
        logs = self.logs()
        self.stop()
        return SandboxError(f"Airflow does not run: {problem}. The ends of its logs:\n{logs}")


def _is_free(port: int) -> bool:
    """Whether nobody listens there. Connections of one that has stopped do not count."""
    if not port:
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
