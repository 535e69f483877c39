"""How far an operation is: one line of a terminal that is written anew, plain lines elsewhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from streamer.control.operations import OperationRecord, ProgressRecord, StepRecord

__all__ = ["Counter", "Display", "progress_text", "size", "span", "step_line"]

T = TypeVar("T")

# A terminal is looked at all the time, a log is read later.
_TERMINAL_S = 0.2
_LOG_S = 10.0
# What ends sooner needs no word.
_FIRST_S = 1.0
_CLEAR = "\x1b[K"


def size(size_bytes: int) -> str:
    """`1.2 GiB`; whole below a KiB."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def span(seconds: int) -> str:
    """`42 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def progress_text(progress: ProgressRecord) -> str:
    """Phase, amounts, rates, what is left, and who makes it wait; "" where nothing was told."""
    parts = []
    if progress.of:
        parts.append(f"phase {progress.number} of {progress.of} {progress.phase}".rstrip())
    elif progress.phase:
        parts.append(progress.phase)
    for done, total, rate, shown in (
        (progress.bytes_done, progress.bytes_total, progress.bytes_per_s, size),
        (progress.records_done, progress.records_total, progress.records_per_s, _records),
    ):
        if done or total:
            percent = f" of {shown(total)} ({min(done, total) * 100 // total} %)" if total else ""
            parts.append(shown(done) + percent)
        if rate > 0:
            parts.append(f"{shown(rate)}/s")
    if progress.eta_s >= 0:
        parts.append(f"{span(progress.eta_s)} left")
    if progress.held_by:
        parts.append(f"waits for {progress.held_by}")
    return ", ".join(parts)


def step_line(record: OperationRecord) -> str:
    """`step 2 of 5 upload: phase 1 of 3 files, 1.2 GiB of 4.0 GiB (30 %), 85.2 MiB/s, 33 s left`"""
    active = [step for step in record.steps if step.state in ("running", "undoing")]
    if not active or record.is_finished:
        return f"operation {record.id} is {record.state}"
    step = active[0]
    number = record.steps.index(step) + 1
    doing = "undoing " if step.state == "undoing" else ""
    text = progress_text(step.progress) if step.progress is not None else ""
    line = f"{doing}step {number} of {len(record.steps)} {step.id}"
    return f"{line}: {text}" if text else line


class Display:
    """Shows records as they change. To be told of every change; it decides what is worth a line."""

    def __init__(self, stream: TextIO, *, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self._is_terminal = stream.isatty()
        self._shown: tuple[str, ...] = ()
        self._ended: set[tuple[str, str, int]] = set()
        self._at = -_LOG_S
        self._is_open = False

    def show(self, record: OperationRecord) -> None:
        """At once where a step begins or ends, else as often as somebody can read it."""
        for number, step in enumerate(record.steps, 1):
            name = (step.id, step.state, step.begun)
            if step.state in ("done", "undone") and step.begun and name not in self._ended:
                self._ended.add(name)
                self._line(_ended(step, number, len(record.steps)))
        what = (record.state, *(step.state for step in record.steps))
        pause_s = _TERMINAL_S if self._is_terminal else _LOG_S
        if what == self._shown and self._now() - self._at < pause_s:
            return
        self._shown, self._at = what, self._now()
        if self._is_terminal and not record.is_finished:
            width = max(shutil.get_terminal_size().columns - 1, 20)
            self._stream.write(f"\r{step_line(record)[:width]}{_CLEAR}")
            self._stream.flush()
            self._is_open = True
        else:
            self._line(step_line(record))

    def close(self) -> None:
        """Leave the last line as it is."""
        if self._is_open:
            self._stream.write("\n")
            self._stream.flush()
            self._is_open = False

    def _line(self, text: str) -> None:
        begin, end = ("\r", f"{_CLEAR}\n") if self._is_terminal else ("", "\n")
        self._stream.write(f"{begin}{text}{end}")
        self._stream.flush()
        self._is_open = False


class Counter:
    """Shows how many of some things are done while a command looks at many, in one line; nothing
    where it is quick. Any thread may tell."""

    def __init__(self, stream: TextIO, *, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self._is_terminal = stream.isatty()
        self._at = now() + (_FIRST_S if self._is_terminal else 0.0)
        self._is_open = False

    def of(self, what: str) -> Callable[[int, int], None]:
        """To be told how many of them are done, of how many."""

        def tells(done: int, total: int) -> None:
            pause_s = _TERMINAL_S if self._is_terminal else _LOG_S
            if self._now() - self._at < pause_s:
                return
            self._at = self._now()
            begin, end = ("\r", _CLEAR) if self._is_terminal else ("", "\n")
            self._stream.write(f"{begin}{done:,} of {total:,} {what}{end}")
            self._stream.flush()
            self._is_open = self._is_terminal

        return tells

    def each(self, things: Sequence[T], what: str) -> Iterator[T]:
        """Go through them, and show how many are done."""
        tells = self.of(what)
        for number, thing in enumerate(things, 1):
            yield thing
            tells(number, len(things))

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._is_open:
            self._stream.write(f"\r{_CLEAR}")
            self._stream.flush()


def _ended(step: StepRecord, number: int, of: int) -> str:
    spent = span(max(step.ended_ms - step.started_ms, 0) // 1000)
    undone = "is undone" if step.state == "undone" else "is done"
    return f"step {number} of {of} {step.id} {undone} after {spent}: {step.said}"


def _records(count: int) -> str:
    return f"{count:,} records"
