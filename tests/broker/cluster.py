"""Worker processes of one application, for scenarios about the cluster."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamer.config import Config
from tests.broker.workers import PATIENCE_S

Event = dict[str, Any]
SESSION_MS = 3_000


class WorkerProcess:
    """One child process and everything that it told."""

    def __init__(self, settings: dict[str, object], log: Path) -> None:
        self.worker = str(settings["worker_id"])
        self.events: list[Event] = []
        self._told = threading.Condition()
        self._log = log.open("ab")
        script = Path(__file__).with_name("cluster_worker.py")
        self.child = subprocess.Popen(
            [sys.executable, str(script), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        threading.Thread(target=self._hear, daemon=True).start()

    @property
    def tasks(self) -> list[str]:
        return list(self.events[-1]["tasks"]) if self.events else []

    @property
    def is_controller(self) -> bool:
        return bool(self.events and self.events[-1]["is_controller"])

    def wait(
        self, is_it: Callable[[Event], object], *, since: int = 0, timeout: float = PATIENCE_S
    ) -> Event:
        """The last event, from the one numbered `since` on, that is the one; waits for it."""
        deadline = time.monotonic() + timeout
        with self._told:
            while True:
                for event in reversed(self.events[since:]):
                    if is_it(event):
                        return event
                left = deadline - time.monotonic()
                assert left > 0, f"{self.worker} told {self.events[-3:]}"
                self._told.wait(left)

    def order(self, command: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()

    def do(self, command: str, *events: str, timeout: float = PATIENCE_S) -> Event:
        """Order it and wait for one of these events."""
        since = len(self.events)
        self.order(command)
        return self.wait(lambda event: event["event"] in events, since=since, timeout=timeout)

    def send(self, number: signal.Signals) -> None:
        self.child.send_signal(number)

    def kill(self) -> float:
        """As the machine would; the moment of it."""
        self.child.kill()
        self.child.wait(240)
        return time.time()

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.kill()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                pipe.close()
        self._log.close()

    def _hear(self) -> None:
        assert self.child.stdout is not None
        try:
            for line in self.child.stdout:
                with self._told:
                    self.events.append(json.loads(line))
                    self._told.notify_all()
        except ValueError:
            return  # closed at the end of the scenario


class Cluster:
    """An application's workers; every one is gone when the scenario ends."""

    def __init__(
        self, broker: str, application: str, *, results: str, log: Path, tasks: int = 6
    ) -> None:
        self.settings: dict[str, object] = {
            "application_id": application,
            "bootstrap_servers": broker,
            "session_timeout_ms": SESSION_MS,
            "heartbeat_interval_ms": 500,
            "status_interval_ms": 1_000,
            "results": results,
            "tasks": tasks,
        }
        self.every = [f"0_{number}" for number in range(tasks)]
        self.processes: list[WorkerProcess] = []
        self._log = log

    @property
    def config(self) -> Config:
        """For clients that look at the cluster from outside."""
        own = {k: v for k, v in self.settings.items() if k not in ("results", "tasks")}
        return Config(**own)  # type: ignore[arg-type]

    def start(self, worker: str) -> WorkerProcess:
        process = WorkerProcess({**self.settings, "worker_id": worker}, self._log)
        self.processes.append(process)
        return process

    def start_two(self) -> tuple[WorkerProcess, WorkerProcess]:
        """(the controller, the other one), with the tasks shared between them."""
        pair = self.start("w1"), self.start("w2")
        self.wait_shared(*pair)
        first, second = pair
        if not first.is_controller:
            first, second = second, first
        first.wait(lambda event: event["is_controller"])
        return first, second

    def wait_shared(self, *processes: WorkerProcess, timeout: float = PATIENCE_S) -> None:
        """Until these own every task, each once, evenly."""
        deadline = time.monotonic() + timeout
        while not self._is_shared(processes):
            told = {one.worker: one.tasks for one in processes}
            assert time.monotonic() < deadline, f"not shared: {told}"
            time.sleep(0.02)

    def close(self) -> None:
        for process in self.processes:
            process.close()

    def _is_shared(self, processes: tuple[WorkerProcess, ...]) -> bool:
        sizes = [len(each.tasks) for each in processes]
        owned = sorted(task for each in processes for task in each.tasks)
        return owned == self.every and max(sizes) - min(sizes) <= 1


@contextmanager
def cluster_of(broker: str, application: str, *, results: str, log: Path) -> Iterator[Cluster]:
    cluster = Cluster(broker, application, results=results, log=log)
    try:
        yield cluster
    except BaseException:
        print(log.read_text() if log.exists() else "")
        raise
    finally:
        cluster.close()
