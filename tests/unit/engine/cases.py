"""Random aggregations over random records, and what they must give: a model without batches,
caches or bytes, written from the documentation rather than from the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from streamer import (
    App,
    Count,
    First,
    HoppingWindows,
    Last,
    Max,
    Min,
    SessionWindows,
    Store,
    Stream,
    Sum,
    TumblingWindows,
)
from streamer.topology.windows import Windowed

Input = tuple[str | None, "Event | None", int, tuple[tuple[str, bytes | None], ...]]
Output = tuple[Any, Any, int]


@dataclass(frozen=True)
class Event:
    n: int
    tag: str = ""

    @property
    def is_odd(self) -> bool:
        return self.n % 2 == 1


@dataclass(frozen=True)
class Case:
    """An application with one aggregation: what is folded, how, and when results come."""

    steps: tuple[tuple[str, int], ...] = ()
    kind: str = "kv"
    how: str = "append"
    emit: str = "every"
    size: int = 10
    advance: int = 10
    grace: int = 0
    ttl: int | None = None
    retention: int | None = None

    @property
    def kept(self) -> int:
        """How long a row stays, beyond its window's start, its session's end or its time."""
        if self.kind == "session":
            if self.emit == "final":
                return self.size + self.grace
            return max(self.retention or self.size, 2 * self.size + self.grace)
        return self.size + max(self.size if self.retention is None else self.retention, self.grace)


# -- the functions of users ------------------------------------------------------------------------


def appended(_key: Any, event: Event, total: list[int]) -> list[int]:
    return [*total, event.n]


def appended_in_place(_key: Any, event: Event, total: list[int]) -> list[int]:
    total.append(event.n)
    return total


def appended_or_removed(_key: Any, event: Event, total: list[int]) -> list[int] | None:
    return None if event.n % 4 == 0 else [*total, event.n]


def joined(_key: Any, one: list[int], other: list[int]) -> list[int]:
    return one + other


def reduced(one: Event, other: Event) -> Event:
    return Event((one.n * 3 + other.n) % 1009, (one.tag + other.tag)[-6:])


BUILT_IN = {
    "count": Count(),
    "total": Sum("n"),
    "odd": Sum("is_odd"),
    "least": Min("n"),
    "most": Max("n"),
    "first": First("tag"),
    "last": Last("tag"),
}
FOLDS: dict[str, Callable[..., Any]] = {
    "append": appended,
    "in_place": appended_in_place,
    "remove": appended_or_removed,
}


# -- the application -------------------------------------------------------------------------------


def build(case: Case, application_id: str = "case") -> App:
    app = App(application_id)
    stream = prefix(app.stream("in", key=str, value=Event), case.steps)
    table = _aggregated(stream.group_by_key(), case)
    table.to("out")
    table.stream().map_values(_described, value=Any).to("described")
    return app


def prefix(stream: Stream, steps: Sequence[tuple[str, int]]) -> Stream:
    for name, number in steps:
        stream = _STEPS[name](stream, number)
    return stream


def _filter(stream: Stream, number: int) -> Stream:
    return stream.filter(lambda _key, event: event is None or event.n % number != 0)


def _map_values(stream: Stream, number: int) -> Stream:
    return stream.map_values(lambda event: _more(event, number, ""), value=Event)


def _flat(stream: Stream, number: int) -> Stream:
    return stream.flat_map_values(lambda event: _copies(event, number), value=Event)


def _branch(stream: Stream, number: int) -> Stream:
    even, odd = stream.branch(
        lambda _key, event: event is not None and event.n % number == 0, lambda _key, _event: True
    )
    return odd.map_values(lambda event: _more(event, 0, "o"), value=Event).merge(even)


_STEPS = {"filter": _filter, "map_values": _map_values, "flat": _flat, "branch": _branch}


def _more(event: Event | None, number: int, tag: str) -> Event | None:
    return None if event is None else Event(event.n + number, event.tag + tag)


def _copies(event: Event | None, count: int) -> list[Event | None]:
    if event is None:
        return [None]
    return [Event(event.n + number, event.tag) for number in range((event.n + count) % 3)]


def _described(value: Any) -> str:
    return repr(plain(value))


def _aggregated(grouped: Any, case: Case) -> Any:
    store: Any = "store"
    options: dict[str, Any] = {}
    if case.kind == "kv":
        ttl = None if case.ttl is None else timedelta(milliseconds=case.ttl)
        store = Store("store", ttl=ttl)
    else:
        grouped = grouped.windowed_by(_windows(case))
        if case.retention is not None:
            options["retention"] = timedelta(milliseconds=case.retention)
    options |= {"store": store, "emit": case.emit}
    if case.how == "count":
        return grouped.count(**options)
    if case.how == "reduce":
        return grouped.reduce(reduced, **options)
    if case.how == "built_in":
        return grouped.aggregate(BUILT_IN, **options)
    if case.kind == "session":
        options["merge"] = joined
    return grouped.aggregate(list, FOLDS[case.how], value=list[int], **options)


def _windows(case: Case) -> Any:
    size, grace = timedelta(milliseconds=case.size), timedelta(milliseconds=case.grace)
    if case.kind == "tumbling":
        return TumblingWindows(size, grace=grace)
    if case.kind == "hopping":
        return HoppingWindows(size, timedelta(milliseconds=case.advance), grace=grace)
    return SessionWindows(size, grace=grace)


# -- the model -------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value without its class, to compare built-in results with."""
    if hasattr(value, "__struct_fields__"):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    return value


def step(how: str, event: Event, before: Any) -> Any:
    if how == "count":
        return (before or 0) + 1
    if how == "reduce":
        return event if before is None else reduced(before, event)
    if how == "built_in":
        one = dict(count=1, total=event.n, odd=event.n % 2, least=event.n, most=event.n)
        new = {**one, "first": event.tag, "last": event.tag}
        return new if before is None else combine(how, before, new)
    return FOLDS["append" if how == "in_place" else how](None, event, before or [])


def combine(how: str, one: Any, other: Any) -> Any:
    if how == "built_in":
        return {
            "count": one["count"] + other["count"],
            "total": one["total"] + other["total"],
            "odd": one["odd"] + other["odd"],
            "least": min(one["least"], other["least"]),
            "most": max(one["most"], other["most"]),
            "first": one["first"],
            "last": other["last"],
        }
    if how == "reduce":
        return reduced(one, other)
    return one + other


def after_steps(records: Sequence[Input], steps: Sequence[tuple[str, int]]) -> list[list[Input]]:
    """For each record what is left of it behind the steps."""
    return [_stepped([record], steps) for record in records]


def _stepped(rows: list[Input], steps: Sequence[tuple[str, int]]) -> list[Input]:
    for name, number in steps:
        if name == "filter":
            rows = [row for row in rows if row[1] is None or row[1].n % number != 0]
        elif name == "map_values":
            rows = [(row[0], _more(row[1], number, ""), *row[2:]) for row in rows]
        elif name == "flat":
            rows = [(row[0], one, *row[2:]) for row in rows for one in _copies(row[1], number)]
        elif name == "branch":
            rows = [
                row
                if row[1] is not None and row[1].n % number == 0
                else (row[0], _more(row[1], 0, "o"), *row[2:])
                for row in rows
            ]
    return rows


@dataclass
class Model:
    """State by Windowed or key: value and time. `results` of the open transaction, in order where
    every result is passed on."""

    case: Case
    state: dict[Any, tuple[Any, int]] = field(default_factory=dict)
    results: list[Output] = field(default_factory=list)
    changed: dict[Any, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    # The task's where rows go by it (TTL); of windows and sessions that of what reaches them.
    stream_time: int = -1
    closed: set[Any] = field(default_factory=set)
    committed: set[Any] = field(default_factory=set)

    def run(self, record: Input) -> None:
        if self.case.kind == "kv":
            self.stream_time = max(self.stream_time, record[2])
        for key, event, stamp, _headers in _stepped([record], self.case.steps):
            if self.case.kind != "kv" and key is not None:
                self.stream_time = max(self.stream_time, stamp)
            if key is None or event is None:
                self.drop("null_key" if key is None else "null_value")
            elif self.case.kind == "session":
                self._session(key, event, stamp)
            else:
                for place in self._places(key, stamp):
                    self._fold(place, event, stamp)

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def _places(self, key: str, stamp: int) -> list[Any]:
        case = self.case
        if case.kind == "kv":
            return [key]
        advance = case.size if case.kind == "tumbling" else case.advance
        starts = [s for s in range(0, stamp + 1, advance) if s <= stamp < s + case.size]
        open_ = [s for s in starts if s + case.size + case.grace > self.stream_time]
        for _ in range(len(starts) - len(open_)):
            self.drop("late")
        return [Windowed(key, s, s + case.size) for s in open_]

    def _fold(self, place: Any, event: Event, stamp: int) -> None:
        value, before = self.state.get(place, (None, -1))
        ttl = self.case.ttl if self.case.kind == "kv" else None
        if ttl is not None and before >= 0 and before + ttl <= self.stream_time:
            value, before = None, -1
        self._set(place, step(self.case.how, event, value), max(before, stamp))

    def _set(self, place: Any, value: Any, stamp: int) -> None:
        if value is None:
            self.state.pop(place, None)
        else:
            self.state[place] = (value, stamp)
        self.changed[place] = stamp
        if self.case.emit == "every":
            self.results.append((place, value, stamp))

    def _session(self, key: str, event: Event, stamp: int) -> None:
        case = self.case
        near = sorted(
            (
                one
                for one in self.state
                if one.key == key
                and one.start_ms - case.size <= stamp <= one.end_ms + case.size
                and one.end_ms + case.kept >= self.stream_time
            ),
            key=lambda one: (one.end_ms, one.start_ms),
        )
        start = min([stamp, *(one.start_ms for one in near)])
        end = max([stamp, *(one.end_ms for one in near)])
        if end + case.size + case.grace < self.stream_time:
            self.drop("late")
            return
        value = None
        for one in near:
            before = self.state[one][0]
            value = before if value is None else combine(case.how, value, before)
        session = Windowed(key, start, end)
        for one in near:
            if one != session:
                self._set(one, None, one.end_ms)
                if one not in self.committed:
                    del self.changed[one]
        self._set(session, step(case.how, event, value), end)

    def commit(self) -> list[Output]:
        """The results of the transaction; expired rows are gone behind it."""
        if self.case.emit == "commit":
            self.results = [
                (place, *self.state.get(place, (None, stamp)))
                for place, stamp in self.changed.items()
            ]
        elif self.case.emit == "final":
            self.results = [
                (place, *self.state[place])
                for place in self.state
                if self._is_closed(place) and place not in self.closed
            ]
            self.closed.update(place for place, _value, _stamp in self.results)
        results, self.results, self.changed = self.results, [], {}
        self.state = {
            place: row for place, row in self.state.items() if not self._is_past(place, row[1])
        }
        self.committed = set(self.state)
        return results

    def _is_closed(self, place: Windowed) -> bool:
        if self.case.kind == "session":
            return place.end_ms + self.case.size + self.case.grace < self.stream_time
        return place.end_ms + self.case.grace <= self.stream_time

    def _is_past(self, place: Any, stamp: int) -> bool:
        case = self.case
        if case.kind == "kv":
            return case.ttl is not None and stamp + case.ttl <= self.stream_time
        if case.kind == "session":
            kept = max(case.retention or case.size, 2 * case.size + case.grace)
            return bool(place.end_ms + kept < self.stream_time)
        return bool(place.start_ms + case.kept <= self.stream_time)
