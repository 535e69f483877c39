"""Rows of many keys: this worker's tasks merged into one order.

key-value   by key bytes       [start, end), or all that begin with a prefix
window      by start, key      windows that start in [from, to)
session     by end, key        sessions that overlap with [from, to)
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter

from streamer.errors import StreamerError
from streamer.http.catalog import StoreView
from streamer.http.lookups import Span
from streamer.http.pages import Entry, expired_before_ms
from streamer.http.serving import ServedTask
from streamer.store.keys import window_key
from streamer.topology.stores import StoreKind

__all__ = ["keys_between", "merged", "prefix_end", "rows_between", "watched"]

Entries = Callable[[ServedTask], Iterator[Entry]]

_ROWS_AT_ONCE = 128


def prefix_end(prefix: bytes) -> bytes | None:
    """The first bytes after all that begin with the prefix, None when there is no end."""
    short = prefix.rstrip(b"\xff")
    return short[:-1] + bytes([short[-1] + 1]) if short else None


def merged(tasks: Sequence[ServedTask], entries: Entries) -> Iterator[Entry]:
    """The entries of all tasks in the order of their positions."""
    return heapq.merge(*(entries(task) for task in tasks), key=attrgetter("position"))


def watched(entries: Entries, failed: list[ServedTask]) -> Entries:
    """The same entries; a task whose database fails meanwhile is added to `failed`."""

    def watching(task: ServedTask) -> Iterator[Entry]:
        try:
            yield from entries(task)
        except StreamerError:
            failed.append(task)
            raise

    return watching


def keys_between(
    view: StoreView, start: bytes, end: bytes | None, *, after: bytes | None
) -> Entries:
    """Entries of a key-value store."""
    first = start if after is None else max(start, after + b"\0")

    def entries(task: ServedTask) -> Iterator[Entry]:
        for key, stored in task.database.scan(view.name, first, end):
            yield Entry(key, key, stored, task)

    return entries


def rows_between(view: StoreView, span: Span, *, after: bytes | None) -> Entries:
    """Entries of a window or session store."""
    if view.spec.kind is StoreKind.SESSION:
        return lambda task: _sessions(view, task, span=span, after=after)
    return lambda task: _windows(view, task, span=span, after=after)


def _windows(
    view: StoreView, task: ServedTask, *, span: Span, after: bytes | None
) -> Iterator[Entry]:
    start = window_key(max(span.from_ms, expired_before_ms(view, task)), b"")
    if after is not None:
        start = max(start, after + b"\0")
    for key, stored in task.database.scan(view.name, start, window_key(span.end_ms, b"")):
        yield Entry(key, key, stored, task)


def _sessions(
    view: StoreView, task: ServedTask, *, span: Span, after: bytes | None
) -> Iterator[Entry]:
    """By the time index, whose keys are a session's end and then its row's key."""
    start = window_key(max(span.from_ms, expired_before_ms(view, task)), b"")
    if after is not None:
        start = max(start, after + b"\0")
    index = task.database.scan(view.name, start, None, index=True)
    while batch := [key for key, _none in islice(index, _ROWS_AT_ONCE)]:
        inside = [key[8:] for key in batch if int.from_bytes(key[-8:], "big") < span.end_ms]
        rows = dict(zip(inside, task.database.get_many(view.name, inside), strict=True))
        for key in batch:
            yield Entry(key, key[8:], rows.get(key[8:]), task)
