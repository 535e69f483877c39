"""Times and headers as records and rows can have them, checked where user code gives them."""

from __future__ import annotations

from typing import Any

from streamer.errors import ProcessingError
from streamer.store.cache import ANY_TIME_MS

__all__ = ["check_headers", "check_time"]


def check_time(where: str, timestamp_ms: Any) -> None:
    """Kafka takes a negative time for none at all, and has 63 bits for others. `where` is the call
    with `...` for what was given. Raises ProcessingError."""
    if not isinstance(timestamp_ms, int):
        wrong = f"a time is a whole number of milliseconds, not {type(timestamp_ms).__name__}"
    elif timestamp_ms < 0:
        wrong = "there is no negative time"
    elif timestamp_ms >= ANY_TIME_MS:
        wrong = "a time in milliseconds is less than 2^63"
    else:
        return
    raise ProcessingError(
        f"{where.replace('...', repr(timestamp_ms))}: {wrong}",
        hint="give milliseconds since 1970 as an int, 0 or more",
    )


def check_headers(where: str, headers: Any) -> None:
    """What the client library would refuse when the record is long gone. Raises ProcessingError."""
    if not isinstance(headers, list | tuple):
        wrong = f"headers are a list, not {type(headers).__name__}"
    else:
        others = [header for header in headers if not _is_header(header)]
        if not others:
            return
        wrong = f"{others[0]!r} is not a header"
    raise ProcessingError(
        f"{where.replace('...', repr(headers))}: {wrong}",
        hint='write a list of (str, bytes or None): headers=[("source", b"web")]',
    )


def _is_header(header: Any) -> bool:
    if not isinstance(header, tuple) or len(header) != 2:
        return False
    name, value = header
    return isinstance(name, str) and (value is None or isinstance(value, bytes))
