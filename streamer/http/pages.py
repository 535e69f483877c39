"""Rows as JSON, gathered into pages of bounded size, work and time.

A page ends at its limit, or when it is large or took long; its cursor says where the next begins,
so whoever follows the cursors sees every row once however the pages were cut. Rows past their TTL
or retention at the task's stream time are absent, whether or not they were removed yet. A copy only
knows a time that was reached: it never leaves out what its owner shows, but may show what the owner
leaves out already and has yet to remove.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from streamer.errors import StreamerError
from streamer.http.answers import QueryError, plain
from streamer.http.catalog import StoreView, encoded
from streamer.http.copies import standing
from streamer.http.requests import cursor
from streamer.http.serving import ServedTask
from streamer.store.expiry import Expiry, is_past_ttl
from streamer.store.keys import payload, session_parts, timestamp, window_parts
from streamer.topology.stores import StoreKind

__all__ = ["Entry", "Form", "Page", "collect", "expired_before_ms", "is_visible", "show"]

PAGE_BYTES_MAX = 8 << 20
# 100,000 rows that are looked at and left out cost about half a second of one CPU.
EXAMINED_MAX = 100_000
PAGE_SECONDS_MAX = 2.0
# After so many rows a page steps aside, so that processing gets the interpreter: about 1 ms.
ROWS_PER_BREATH = 256
BREATH_SECONDS = 0.0005

_encode = msgspec.json.Encoder(enc_hook=plain).encode


@dataclass(frozen=True, slots=True)
class Form:
    """How rows are shown: keys and values decoded, or their bytes as hex or base64."""

    key_encoding: str = ""
    value_encoding: str = ""
    has_cursors: bool = False


class Entry(NamedTuple):
    """A row that was looked at; `stored` is None where there was nothing."""

    position: bytes
    stored_key: bytes
    stored: bytes | None
    task: ServedTask


@dataclass(slots=True)
class Page:
    """`next` is the cursor of the page that follows, None when this is the last."""

    rows: list[msgspec.Raw]
    next: str | None = None


def expired_before_ms(view: StoreView, task: ServedTask) -> int:
    """Windows that start, and sessions that end, before this are past their retention."""
    return Expiry(view.spec, task.database).bound_ms(task.time_of(view.name))


def is_visible(view: StoreView, entry: Entry) -> bool:
    if entry.stored is None:
        return False
    if not view.is_key_value:
        return True
    return not is_past_ttl(view.spec, timestamp(entry.stored), entry.task.stream_time_ms)


def show(view: StoreView, entry: Entry, form: Form, *, is_alone: bool = False) -> bytes:
    """The JSON of a row; with the state of its task when it `is_alone` in the answer."""
    assert entry.stored is not None
    key, times = _parts(view, entry.stored_key)
    row: dict[str, Any] = {"key": view.shown_key(key, form.key_encoding), **times}
    data = payload(entry.stored)
    try:
        if form.value_encoding:
            row["value"] = encoded(data, form.value_encoding)
        else:
            row["value"] = view.value.decode(data)
        row["timestamp_ms"] = timestamp(entry.stored)
        row["task"] = str(entry.task.task)
        if is_alone:
            row |= standing(entry.task)
        if form.has_cursors:
            row["cursor"] = cursor(entry.position)
        return _encode(row)
    except Exception as error:
        raise _unreadable(view, row["key"], error) from error


def _parts(view: StoreView, stored_key: bytes) -> tuple[bytes, dict[str, int]]:
    if view.spec.kind is StoreKind.WINDOW:
        start_ms, key = window_parts(stored_key)
        return key, {"start_ms": start_ms, "end_ms": start_ms + (view.spec.window_size_ms or 0)}
    if view.spec.kind is StoreKind.SESSION:
        key, start_ms, end_ms = session_parts(stored_key)
        return key, {"start_ms": start_ms, "end_ms": end_ms}
    return stored_key, {}


def _unreadable(view: StoreView, key: Any, error: Exception) -> StreamerError:
    return QueryError(
        500,
        f"the value of key {key!r} in store {view.name!r} cannot be shown as {view.value.name}:"
        f" {error}",
        hint="?value_encoding=base64 shows its bytes",
    )


def collect(
    view: StoreView,
    entries: Iterable[Entry],
    *,
    form: Form,
    limit: int,
    clock: Callable[[], float] = time.monotonic,
) -> Page:
    """The first visible rows of `entries`, at most `limit`."""
    page = Page([])
    size_bytes = 0
    position: bytes | None = None
    ends_at = clock() + PAGE_SECONDS_MAX
    for examined, entry in enumerate(entries):
        is_breath = examined and examined % ROWS_PER_BREATH == 0
        if is_breath:
            time.sleep(BREATH_SECONDS)
        is_full = len(page.rows) >= limit or size_bytes >= PAGE_BYTES_MAX
        is_long = examined >= EXAMINED_MAX or (is_breath and clock() > ends_at)
        # Never between two tasks' rows of one position: a cursor cannot tell them apart.
        if (is_full or is_long) and position is not None and entry.position != position:
            page.next = cursor(position)
            return page
        position = entry.position
        if is_visible(view, entry):
            shown = show(view, entry, form)
            page.rows.append(msgspec.Raw(shown))
            size_bytes += len(shown)
    return page
