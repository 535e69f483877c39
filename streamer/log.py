"""Log lines that people and machines read: key=value text, or one JSON object per line.

Messages are sentences in the present; what varies goes into fields, and the task in whose name
the code runs is added to every line:

    log.info("restored from the changelog", extra=fields(records=8204))
    at=2026-01-01T00:00:00.000Z level=info from=restore task=0_3 msg="restored ..." records=8204
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

__all__ = ["configure", "fields", "task_context"]

_FIELDS = "streamer_fields"
_PLAIN = re.compile(r"[^\s\"=\\]+")
_task: ContextVar[str] = ContextVar("streamer_task", default="")


def configure(
    level: str = "INFO", log_format: str = "text", *, stream: TextIO | None = None
) -> None:
    """Send all logging of the process to `stream` (standard error). Calling again replaces it."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each.formatter, _Line)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """Fields of one line, for the `extra` argument of the logging calls."""
    return {_FIELDS: values}


@contextmanager
def task_context(task: object) -> Iterator[None]:
    """Every line logged inside, also by user code, carries the task."""
    token = _task.set(str(task))
    try:
        yield
    finally:
        _task.reset(token)


class _Line(logging.Formatter):
    """Collects what a line holds; its children write it down."""

    def parts(self, record: logging.LogRecord) -> dict[str, Any]:
        at = datetime.fromtimestamp(record.created, UTC)
        parts: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "from": record.name.removeprefix("streamer."),
        }
        if task := _task.get():
            parts["task"] = task
        parts["msg"] = record.getMessage()
        parts.update(getattr(record, _FIELDS, {}))
        return parts

    def trace(self, record: logging.LogRecord) -> str:
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        stack = self.formatStack(record.stack_info) if record.stack_info else ""
        return "\n".join(text for text in (trace, stack) if text)


class _Text(_Line):
    def format(self, record: logging.LogRecord) -> str:
        line = " ".join(f"{name}={_quoted(value)}" for name, value in self.parts(record).items())
        trace = self.trace(record)
        return f"{line}\n{trace}" if trace else line


class _Json(_Line):
    def format(self, record: logging.LogRecord) -> str:
        parts = self.parts(record)
        if trace := self.trace(record):
            parts["exception"] = trace
        return json.dumps(parts, default=str, ensure_ascii=False)


def _quoted(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
