"""What is shown: one screen that is drawn anew on a terminal, plain lines everywhere else."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass, field
from typing import Protocol, TextIO

__all__ = ["Live", "Plain", "Screen", "View", "WorkerLine", "screen_for"]

_BAR = 24
_LINE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class WorkerLine:
    name: str
    pid: int
    state: str
    tasks: tuple[str, ...]
    address: str


@dataclass(slots=True)
class View:
    """The state of things. `done` are the events whose results are committed."""

    total: int
    written: int = 0
    done: int = 0
    per_second: int = 0
    workers: list[WorkerLine] = field(default_factory=list)
    profiles: list[str] = field(default_factory=list)

    @property
    def lag(self) -> int:
        return max(self.written - self.done, 0)


class Screen(Protocol):
    def say(self, text: str) -> None:
        """Something happened: a line that stays."""
        ...

    def show(self, view: View) -> None:
        """How things stand now; may be called as often as wanted."""
        ...

    def close(self) -> None: ...


def screen_for(stream: TextIO | None = None) -> Screen:
    stream = sys.stdout if stream is None else stream
    return Live(stream) if stream.isatty() else Plain(stream)


class Plain:
    """A line for each thing that happens, and one a second for how things stand."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._shown = 0.0

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", file=self._stream, flush=True)

    def show(self, view: View) -> None:
        now = time.monotonic()
        if now - self._shown < _LINE_EVERY_S:
            return
        self._shown = now
        workers = "  ".join(_owner(worker) for worker in view.workers)
        self.say(f"{_progress(view)}  {workers}".rstrip())

    def close(self) -> None:
        """Nothing to put right."""


class Live:
    """The block at the bottom is drawn over itself; what happened scrolls away above it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._block: list[str] = []
        self._height = 0

    def say(self, text: str) -> None:
        self._erase()
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", file=self._stream)
        self._draw()

    def show(self, view: View) -> None:
        self._erase()
        self._block = list(_lines(view))
        self._draw()

    def close(self) -> None:
        self._block = []
        self._height = 0

    def _erase(self) -> None:
        if self._height:
            self._stream.write(f"\x1b[{self._height}F\x1b[J")
            self._height = 0

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        for line in self._block:
            self._stream.write(line[:width] + "\n")
        self._height = len(self._block)
        self._stream.flush()


def _lines(view: View) -> list[str]:
    filled = _BAR * view.done // max(view.total, 1)
    lines = ["", f"  events    {'█' * filled}{'░' * (_BAR - filled)}  {_progress(view)}"]
    for worker in view.workers:
        tasks = " ".join(worker.tasks)
        state = f"{worker.state:<9}{tasks}"
        lines.append(f"  worker {worker.name}  pid {worker.pid:<7} {state:<48} {worker.address}")
    return [*lines, *(f"  profile   {profile}" for profile in view.profiles)]


def _progress(view: View) -> str:
    return f"{view.done:,} of {view.total:,}  {view.per_second:,}/s  lag {view.lag:,}"


def _owner(worker: WorkerLine) -> str:
    return f"{worker.name}: {' '.join(worker.tasks) or worker.state}"
