"""A fleet of light workers, a process for each zone, as seen from outside: who has what.

See ``bench.systems.fleet_zone`` for what runs in the processes.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from bench.measure import ROOT, MeasureError, bound

SETTLED_S, LIMIT_S = 3.0, 180.0
CHILD = [sys.executable, "-m", "bench.systems.fleet_zone"]


class Told(msgspec.Struct):
    """What one worker says that it has now."""

    at: float
    worker: str
    tasks: list[str]
    copies: list[str]


@dataclass
class Fleet:
    """What the workers have said of themselves so far."""

    tasks: int
    said: queue.SimpleQueue[tuple[str, Told]] = field(default_factory=queue.SimpleQueue)
    has: dict[str, tuple[str, list[str], list[str]]] = field(default_factory=dict)
    last_at: float = 0.0
    curve: list[tuple[float, float]] = field(default_factory=list)

    def hear(self, timeout_s: float) -> None:
        """Take in what a worker says next, if any does within this time."""
        try:
            process, told = self.said.get(timeout=timeout_s)
        except queue.Empty:
            return
        self.last_at = told.at
        self.has[told.worker] = (process, told.tasks, told.copies)
        self.curve.append((self.last_at, self.share))

    def lose(self, process: str) -> None:
        """The workers of a process are gone, and what they had."""
        self.has = {name: each for name, each in self.has.items() if each[0] != process}

    @property
    def share(self) -> float:
        """Of all tasks, those that have an owner."""
        return len({task for _, tasks, _ in self.has.values() for task in tasks}) / self.tasks

    @property
    def is_whole(self) -> bool:
        """Each task has one owner, and one copy elsewhere."""
        owned = [task for _, tasks, _ in self.has.values() for task in tasks]
        copied = [task for _, _, copies in self.has.values() for task in copies]
        return len(owned) == len(set(owned)) == len(copied) == len(set(copied)) == self.tasks

    def settle(self, children: dict[str, subprocess.Popen[str]]) -> float:
        """Wait until it is whole and stays so; returns the moment of the last change.

        Raises MeasureError when that takes too long, or when workers end.
        """
        deadline = time.monotonic() + LIMIT_S
        whole_since: float | None = None
        while whole_since is None or time.monotonic() - whole_since < SETTLED_S:
            before = self.last_at
            self.hear(0.2)
            if not self.is_whole:
                whole_since = None
            elif whole_since is None or self.last_at != before:
                whole_since = time.monotonic()
            if time.monotonic() > deadline:
                raise MeasureError(f"not whole after {LIMIT_S:.0f} s: {self.share:.0%} have owners")
            for name, child in children.items():
                if child.poll() is not None:
                    raise MeasureError(f"the workers of {name} ended with code {child.returncode}")
        return self.last_at


Start = Callable[[str, dict[str, object], Fleet], "subprocess.Popen[str]"]


@contextmanager
def processes() -> Iterator[Start]:
    """Starts processes of light workers; all end with the block."""
    running: list[subprocess.Popen[str]] = []

    def start(name: str, zone: dict[str, object], fleet: Fleet) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [*bound(), *CHILD, json.dumps(zone)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        running.append(child)
        threading.Thread(target=_listen, args=(name, child, fleet), daemon=True).start()
        return child

    try:
        yield start
    finally:
        for child in running:
            child.kill()
            child.wait()


def _listen(name: str, child: subprocess.Popen[str], fleet: Fleet) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        fleet.said.put((name, msgspec.json.decode(line, type=Told)))
