"""How far an operation is: one line of a terminal that is written anew, plain lines elsewhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO, TypeVar

from streamer.operations.words import progress_text, size, span, step_line

if TYPE_CHECKING:
    from streamer.control.operations import OperationRecord, StepRecord

__all__ = ["Counter", "Display", "progress_text", "size", "span", "step_line"]

T = TypeVar("T")

# A terminal is looked at all the time, a log is read later.
_TERMINAL_S = 0.2
_LOG_S = 10.0
# What ends sooner needs no word.
_FIRST_S = 1.0
_CLEAR = "\x1b[K"


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
