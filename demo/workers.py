"""Worker processes, started as anybody starts them, and what they show over HTTP."""

from __future__ import annotations

import signal
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from streamer.sandbox.ports import free_ports
from streamer.sandbox.process import ServerProcess, tail

__all__ = ["APPLICATION", "Stored", "Worker"]

APPLICATION = "examples.profiles:app"
_PAGE_ROWS = 10_000


class Stored(NamedTuple):
    """A worker's share of a store."""

    tasks: set[str]
    rows: list[dict[str, Any]]


class Worker:
    """`streamer run` in a process of its own, with its log in a file. It dies with this one."""

    def __init__(
        self, name: str, *, bootstrap_servers: str, directory: Path, repository: str
    ) -> None:
        (self.port,) = free_ports(1)
        self.name = name
        self.is_killed = False
        self.log = directory / f"worker-{name}.log"
        arguments = {
            "--bootstrap-servers": bootstrap_servers,
            "--state-dir": str(directory / "state"),
            "--http-port": str(self.port),
            "--set": f"snapshot_repository={repository}",
        }
        command = [sys.executable, "-m", "streamer.cli.main", "run", APPLICATION]
        command += [text for pair in arguments.items() for text in pair]
        # Its only producer hears within a second of partitions that the topic is given.
        command += ["--set", "stray_quiet_ms=10000"]
        # Who looks on waits for a snapshot, beside an Airflow that leaves nothing over.
        command += ["--set", "snapshot_niceness=0", "--set", "snapshot_cpu_percent=100"]
        self._process = ServerProcess(command, log=self.log, dies_with_parent=signal.SIGTERM)
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def exit_status(self) -> int | None:
        return self._process.exit_status

    @property
    def end_of_log(self) -> str:
        return tail(self.log)

    def kill(self) -> None:
        """As a power cut would end it: nothing is said, nothing is finished."""
        self.is_killed = True
        self._process.send(signal.SIGKILL)

    def stop(self, timeout_s: float = 40.0) -> bool:
        """Whether it ended by itself, in time and with exit code 0."""
        if self.exit_status is not None:
            return self.exit_status == 0
        return self._process.stop(timeout_s) and self.exit_status == 0

    # -- over HTTP -----------------------------------------------------------------------------

    def tasks(self) -> dict[str, Any]:
        """Its tasks by id; empty while it does not answer."""
        found = self._get("/tasks")
        return {} if found is None else dict(found["tasks"])

    def profile(self, customer: str) -> dict[str, Any] | None:
        """One profile, wherever it is: a worker forwards what is not its own."""
        found = self._get(f"/stores/profiles/{urllib.parse.quote(customer)}")
        return None if found is None else found.get("value")

    def stored(self, store: str) -> Stored:
        """All committed rows of a store in this worker's tasks. Raises OSError."""
        found = Stored(set(), [])
        after: str | None = ""
        while after is not None:
            page = self._fetch(f"/stores/{store}?limit={_PAGE_ROWS}{after}", timeout_s=30.0)
            found.tasks.update(page["tasks"])
            found.rows.extend(page["rows"])
            after = page["next"] and f"&after={page['next']}"
        return found

    def _get(self, path: str) -> Any:
        try:
            return self._fetch(path, timeout_s=1.0)
        except (OSError, ValueError):
            return None

    def _fetch(self, path: str, *, timeout_s: float) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=timeout_s) as answer:
            return msgspec.json.decode(answer.read())
