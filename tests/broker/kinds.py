"""What `applications/kinds.py` must have written, by plain folds of each key's records.

A record is late by the time of the feeder, which all tasks have come to when it is written: so it
is late whichever task has its key.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.broker.applications.folding import group
from tests.broker.applications.kinds import GAP_MS, TTL_MS, WINDOW_MS
from tests.broker.workers import Application

Series = dict[Any, list[Any]]


@dataclass
class Key:
    """One key's records so far. `sessions` are (start, end) and how many records."""

    count: int = 0
    newest_ms: int = -1
    recent: int = 0
    sessions: dict[tuple[int, int], int] = field(default_factory=dict)


@dataclass
class Results:
    """By key, or by key and window, what was passed on in its order."""

    amounts: Series = field(default_factory=lambda: defaultdict(list))
    windows: Series = field(default_factory=lambda: defaultdict(list))
    sessions: Series = field(default_factory=lambda: defaultdict(list))
    recent: Series = field(default_factory=lambda: defaultdict(list))
    totals: dict[str, tuple[int, int]] = field(default_factory=dict)
    groups: dict[str, tuple[int, int]] = field(default_factory=dict)


def expected(made: Application, late: str) -> Results:
    """Records with a header `late` come too late for all windows."""
    found, keys = Results(), dict[str, Key]()
    for record in made.kafka.read(made.topic("in")):
        key, amount = (record.key or b"").decode(), json.loads(record.value or b"")
        at_ms = record.timestamp_ms
        one = keys.setdefault(key, Key())
        found.amounts[key].append(amount)
        for sums, name in ((found.totals, key), (found.groups, group(key, amount))):
            count, total = sums.get(name, (0, 0))
            sums[name] = (count + 1, total + amount)
        is_kept = one.newest_ms + TTL_MS > max(at_ms, one.newest_ms)
        one.recent = one.recent + 1 if is_kept else 1
        one.newest_ms = max(one.newest_ms, at_ms)
        found.recent[key].append(one.recent)
        if late not in [name for name, _value in record.headers]:
            start_ms = at_ms - at_ms % WINDOW_MS
            series = found.windows[key, start_ms]
            series.append(len(series) + 1)
            _extend(one, key, at_ms, found.sessions)
    return found


def _extend(one: Key, key: str, at_ms: int, passed_on: Series) -> None:
    """A record joins the sessions that it is near to; those are told to be gone."""
    near = [(start, end) for start, end in one.sessions if start - GAP_MS <= at_ms <= end + GAP_MS]
    count = 1 + sum(one.sessions.pop(each) for each in near)
    start = min([at_ms, *(start for start, _end in near)])
    end = max([at_ms, *(end for _start, end in near)])
    for each in near:
        if each != (start, end):
            passed_on[key, *each].append(None)
    one.sessions[start, end] = count
    passed_on[key, start, end].append(count)


def written(made: Application) -> Results:
    """The same from the output topics. Sums of a key must grow from record to record."""
    found = Results()
    for record in made.kafka.read(made.topic("windows")):
        (start_ms,) = struct.unpack(">q", (record.key or b"")[-8:])
        found.windows[(record.key or b"")[:-8].decode(), start_ms].append(_value(record.value))
    for record in made.kafka.read(made.topic("sessions")):
        end_ms, start_ms = struct.unpack(">qq", (record.key or b"")[-16:])
        key = (record.key or b"")[:-16].decode()
        found.sessions[key, start_ms, end_ms].append(_value(record.value))
    for record in made.kafka.read(made.topic("recent")):
        found.recent[(record.key or b"").decode()].append(_value(record.value))
    for name, sums in (("totals", found.totals), ("groups", found.groups)):
        for record in made.kafka.read(made.topic(name)):
            key, row = (record.key or b"").decode(), _value(record.value)
            assert row["count"] > sums.get(key, (0, 0))[0], f"{key}: {row} after {sums[key]}"
            sums[key] = (row["count"], row["sum"])
    return found


def versions(made: Application, found: Results) -> Series:
    """Of each key, the versions of its row that its records met; their amounts become results."""
    met: Series = defaultdict(list)
    for record in made.kafka.read(made.topic("joined")):
        key = (record.key or b"").decode()
        amount, version = _value(record.value)
        found.amounts[key].append(amount)
        met[key].append(version)
    return met


def _value(raw: bytes | None) -> Any:
    return None if raw is None else json.loads(raw)
