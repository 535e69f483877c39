"""Rows of one key: its value, its windows, its sessions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from streamer.http.catalog import StoreView
from streamer.http.pages import Entry, expired_before_ms, is_visible
from streamer.http.serving import ServedTask
from streamer.store.keys import window_key, window_parts
from streamer.topology.stores import StoreKind

__all__ = ["TIME_END_MS", "Span", "rows_of_key", "values"]

# Reading so many points costs less than beginning a scan.
_POINTS_FREE = 64
_POINTS_AT_ONCE = 256
TIME_END_MS = 2**64 - 1
_AFTER_ALL = b"\xff" * 16


class Span(NamedTuple):
    """Times from `from_ms` up to, not including, `to_ms`; None is without end."""

    from_ms: int = 0
    to_ms: int | None = None

    @property
    def end_ms(self) -> int:
        return TIME_END_MS if self.to_ms is None else self.to_ms


def values(view: StoreView, task: ServedTask, keys: Sequence[bytes]) -> list[Entry | None]:
    """The visible row of each key, None where there is none."""
    found = task.database.get_many(view.name, list(keys))
    entries = [Entry(key, key, row, task) for key, row in zip(keys, found, strict=True)]
    return [entry if is_visible(view, entry) else None for entry in entries]


def rows_of_key(
    view: StoreView, task: ServedTask, key: bytes, *, span: Span, after: bytes | None
) -> Iterator[Entry]:
    """The windows of a key that start in the span, or its sessions that overlap with the span,
    from the oldest; `after` is the position of the last one already seen."""
    if view.spec.kind is StoreKind.SESSION:
        return _sessions(view, task, key, span=span, after=after)
    from_ms = max(span.from_ms, expired_before_ms(view, task))
    starts = _starts(view, task, _later(from_ms, key, after), span)
    if starts is not None:
        return _windows_at(view, task, key, starts)
    return _windows_between(view, task, key, span=Span(from_ms, span.to_ms), after=after)


def _later(from_ms: int, key: bytes, after: bytes | None) -> int:
    """The first start of the key's windows that lies behind the position `after`."""
    if after is None:
        return from_ms
    seen_ms, seen_key = window_parts(after)
    return max(from_ms, seen_ms + (seen_key >= key))


def _starts(view: StoreView, task: ServedTask, from_ms: int, span: Span) -> range | None:
    """Where the key's windows can begin, if that is known and cheaper than a scan of all keys."""
    advance_ms = view.spec.window_advance_ms
    if not advance_ms:
        return None
    to_ms = _after_newest(view, task) if span.to_ms is None else span.to_ms
    starts = range(-(-from_ms // advance_ms) * advance_ms, to_ms, advance_ms)
    # A range's len() fails above 2^63, so it is computed.
    count = max(0, -(-(to_ms - starts.start) // advance_ms))
    if count <= _POINTS_FREE or count <= task.database.approximate_rows(view.name):
        return starts
    return None


def _after_newest(view: StoreView, task: ServedTask) -> int:
    """A time at which no window has begun yet."""
    if not task.is_copy:
        # None begins after the newest record that was committed.
        return task.time_of(view.name) + 1
    # A copy does not know that time; but it has no windows other than those that are stored.
    for key, _row in task.database.scan(view.name, b"", None, reverse=True):
        return window_parts(key)[0] + 1
    return 0


def _windows_at(view: StoreView, task: ServedTask, key: bytes, starts: range) -> Iterator[Entry]:
    for first in range(0, len(starts), _POINTS_AT_ONCE):
        keys = [window_key(start, key) for start in starts[first : first + _POINTS_AT_ONCE]]
        rows = task.database.get_many(view.name, keys)
        for stored_key, stored in zip(keys, rows, strict=True):
            yield Entry(stored_key, stored_key, stored, task)


def _windows_between(
    view: StoreView, task: ServedTask, key: bytes, *, span: Span, after: bytes | None
) -> Iterator[Entry]:
    start, end = window_key(span.from_ms, b""), window_key(span.end_ms, b"")
    if after is not None:
        start = max(start, after + b"\0")
    for stored_key, stored in task.database.scan(view.name, start, end):
        is_own = stored_key[8:] == key
        yield Entry(stored_key, stored_key, stored if is_own else None, task)


def _sessions(
    view: StoreView, task: ServedTask, key: bytes, *, span: Span, after: bytes | None
) -> Iterator[Entry]:
    from_ms = max(span.from_ms, expired_before_ms(view, task))
    start = key + from_ms.to_bytes(8, "big")
    if after is not None:
        start = max(start, after + b"\0")
    for stored_key, stored in task.database.scan(view.name, start, key + _AFTER_ALL):
        # A longer key that begins with this one may lie in between.
        if len(stored_key) != len(key) + 16:
            yield Entry(stored_key, stored_key, None, task)
            continue
        if int.from_bytes(stored_key[-8:], "big") >= span.end_ms:
            return  # Sessions of a key do not overlap, so the later ones begin later still.
        yield Entry(stored_key, stored_key, stored, task)
