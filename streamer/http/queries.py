"""The queries of stores: one key, several keys, ranges; here or, for a key, at its owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from streamer.http.answers import Answer, QueryError, json_answer
from streamer.http.catalog import ENCODINGS, Catalog, StoreView
from streamer.http.forward import Call, Forwarder
from streamer.http.lookups import Span, rows_of_key, values
from streamer.http.pages import PAGE_BYTES_MAX, Form, Page, collect, show
from streamer.http.ranges import keys_between, merged, prefix_end, rows_between
from streamer.http.requests import Request, text_of
from streamer.http.routing import Places, Routing
from streamer.http.serving import ServedTask, Serving
from streamer.http.turns import Turns
from streamer.topology.stores import StoreKind

__all__ = ["LIMIT_DEFAULT", "LIMIT_MAX", "Queries"]

LIMIT_DEFAULT, LIMIT_MAX = 100, 10_000
_FORM = ("key_encoding", "value_encoding")
_PAGING = ("limit", "after", "cursors")


class _Keys(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[Any]


class _Rows(msgspec.Struct):
    rows: list[dict[str, msgspec.Raw] | None]


class Queries:
    """Answers requests whose path begins with /stores/. Raises QueryError for all others."""

    def __init__(
        self, serving: Serving, turns: Turns, forwarder: Forwarder, *, registry: Mapping[str, Any]
    ) -> None:
        self._serving = serving
        self._turns = turns
        self._forwarder = forwarder
        self._catalog = Catalog(serving.topology, registry)
        self._routing = Routing(serving)

    # -- one key -------------------------------------------------------------------------------

    def one(self, request: Request) -> Answer:
        """GET /stores/{store}/{key}"""
        view = self._view(request)
        times = () if view.is_key_value else ("from", "to", *_PAGING)
        request.expect((*_FORM, "local", *times))
        form = _form(request)
        key = view.key_bytes(request.parts[2], form.key_encoding)
        places = self._places(request, view, [key])
        if places.elsewhere:
            (owner,) = places.elsewhere
            with self._turns.outside():
                return self._forwarder.send((owner, "GET", request.target, b""))
        (task,) = places.tasks.values()
        if not view.is_key_value:
            return self._of_key(request, view, key, task=task, form=form)
        (entry,) = values(view, task, [key])
        if entry is None:
            shown = view.shown_key(key, form.key_encoding)
            raise QueryError(
                404,
                f"store {view.name!r} has no key {shown!r}",
                hint="it was never set, was removed, or is past the store's ttl",
                details=_standing(task),
            )
        return Answer(200, show(view, entry, form, is_alone=True))

    def _of_key(
        self, request: Request, view: StoreView, key: bytes, *, task: ServedTask, form: Form
    ) -> Answer:
        limit = request.number("limit", LIMIT_DEFAULT, high=LIMIT_MAX)
        entries = rows_of_key(view, task, key, span=_span(request), after=request.after())
        with self._turns.long():
            page = collect(view, entries, form=form, limit=limit)
        shown = view.shown_key(key, form.key_encoding)
        return _page(page, store=view.name, key=shown, **_standing(task))

    # -- several keys --------------------------------------------------------------------------

    def many(self, request: Request) -> Answer:
        """POST /stores/{store}"""
        view = self._view(request)
        request.expect((*_FORM, "local"))
        form = _form(request)
        if not view.is_key_value:
            raise QueryError(
                400,
                f"store {view.name!r} is a {view.spec.kind.value} store: it is read key by key",
                hint=f"GET /stores/{view.name}/KEY?from=...&to=...",
            )
        keys = [view.key_of_json(key, form.key_encoding) for key in _body(request)]
        places = self._places(request, view, keys)
        rows: list[msgspec.Raw | None] = [None] * len(keys)
        for task, indexes in places.here.items():
            self._fill(view, places.tasks[task], indexes, keys=keys, rows=rows, form=form)
        if places.elsewhere:
            refusal = self._fetch(view, places, keys=keys, rows=rows, form=form)
            if refusal is not None:
                return refusal
        return json_answer({"store": view.name, "rows": rows})

    def _fill(
        self,
        view: StoreView,
        task: ServedTask,
        indexes: Sequence[int],
        *,
        keys: Sequence[bytes],
        rows: list[msgspec.Raw | None],
        form: Form,
    ) -> None:
        size_bytes = 0
        for first in range(0, len(indexes), 256):
            self._turns.breathe(first)
            part = indexes[first : first + 256]
            found = values(view, task, [keys[index] for index in part])
            for index, entry in zip(part, found, strict=True):
                if entry is not None:
                    shown = show(view, entry, form, is_alone=True)
                    rows[index] = msgspec.Raw(shown)
                    size_bytes += len(shown)
            if size_bytes > PAGE_BYTES_MAX:
                raise QueryError(
                    413, f"the rows exceed {PAGE_BYTES_MAX} bytes", hint="ask for fewer keys"
                )

    def _fetch(
        self,
        view: StoreView,
        places: Places,
        *,
        keys: Sequence[bytes],
        rows: list[msgspec.Raw | None],
        form: Form,
    ) -> Answer | None:
        """Fill in the rows that others have. Returns the answer of one that refused."""
        query = urlencode({"key_encoding": "hex", "value_encoding": form.value_encoding})
        target = f"/stores/{view.name}?{query}"
        calls: list[Call] = []
        for owner, indexes in places.elsewhere.items():
            body = msgspec.json.encode({"keys": [keys[index].hex() for index in indexes]})
            calls.append((owner, "POST", target, body))
        with self._turns.outside():
            answers = self._forwarder.send_all(calls)
        for answer, indexes in zip(answers, places.elsewhere.values(), strict=True):
            if answer.status != 200:
                return answer
            fetched = msgspec.json.decode(answer.body, type=_Rows).rows
            for index, row in zip(indexes, fetched, strict=True):
                if row is not None:
                    shown = view.shown_key(keys[index], form.key_encoding)
                    row["key"] = msgspec.Raw(json_answer(shown).body)
                    rows[index] = msgspec.Raw(msgspec.json.encode(row))
        return None

    # -- ranges --------------------------------------------------------------------------------

    def range(self, request: Request) -> Answer:
        """GET /stores/{store}: over this worker's tasks; `missing` names the others."""
        view = self._view(request)
        request.expect((*_FORM, *_PAGING, "start", "end", "prefix", "from", "to"))
        form = _form(request)
        limit = request.number("limit", LIMIT_DEFAULT, high=LIMIT_MAX)
        after = request.after()
        missing = self._routing.missing(view)
        tasks = self._routing.here(view)
        if view.is_key_value:
            _refuse(request, view, ("from", "to"), instead="start=, end= or prefix=")
            start, end = _bounds(request, view, form)
            entries = keys_between(view, start, end, after=after)
        else:
            _refuse(request, view, ("start", "end", "prefix"), instead="from= and to=")
            entries = rows_between(view, _span(request), after=after)
        with self._turns.long():
            page = collect(view, merged(tasks, entries), form=form, limit=limit)
        standing = {
            str(one.task): {"stream_time_ms": one.stream_time_ms, "lag_records": one.lag_records}
            for one in tasks
        }
        return _page(page, store=view.name, tasks=standing, missing=missing)

    # -- all stores ----------------------------------------------------------------------------

    def stores(self, request: Request) -> Answer:
        """GET /stores"""
        request.expect(())
        tasks = sorted(self._serving.tasks(), key=lambda one: one.task)
        return json_answer(
            {"stores": [_described(view, tasks) for view in self._catalog.views.values()]}
        )

    def _view(self, request: Request) -> StoreView:
        return self._catalog.find(text_of(request.parts[1], "the store's name"))

    def _places(self, request: Request, view: StoreView, keys: list[bytes]) -> Places:
        places = self._routing.places(view, keys, is_strict=request.is_forwarded)
        if request.flag("local") and places.owned:
            owner, task = next(iter(places.owned.items()))
            raise QueryError(
                421,
                f"task {task} is at another worker: {owner}",
                hint="ask that worker, or leave out local=1 to have the request forwarded",
                details={"task": str(task), "owner": owner},
            )
        return places


def _form(request: Request) -> Form:
    return Form(
        key_encoding=request.choice("key_encoding", ("", *ENCODINGS)),
        value_encoding=request.choice("value_encoding", ("", *ENCODINGS)),
        has_cursors=request.flag("cursors"),
    )


def _span(request: Request) -> Span:
    span = Span(request.time("from") or 0, request.time("to"))
    if span.to_ms is not None and span.from_ms > span.to_ms:
        raise QueryError(
            400, f"from={span.from_ms} is later than to={span.to_ms}", hint="exchange them"
        )
    return span


def _bounds(request: Request, view: StoreView, form: Form) -> tuple[bytes, bytes | None]:
    given = request.parameters
    if "prefix" in given:
        if "start" in given or "end" in given:
            raise QueryError(400, "prefix= excludes start= and end=", hint="give one of both")
        prefix = view.prefix_bytes(given["prefix"], form.key_encoding)
        return prefix, prefix_end(prefix)
    start = view.key_bytes(given["start"], form.key_encoding) if "start" in given else b""
    end = view.key_bytes(given["end"], form.key_encoding) if "end" in given else None
    if end is not None and start > end:
        raise QueryError(
            400,
            f"start= lies after end= in the order of store {view.name!r}, which is that of bytes",
            hint="numbers below zero lie after all others, for their sign is their first bit",
        )
    return start, end


def _refuse(request: Request, view: StoreView, names: Sequence[str], *, instead: str) -> None:
    for name in names:
        if name in request.parameters:
            kind = view.spec.kind.value
            raise QueryError(
                400,
                f"{name}= is not for store {view.name!r}, a {kind} store",
                hint=f"use {instead}",
            )


def _body(request: Request) -> list[Any]:
    try:
        keys = msgspec.json.decode(request.body, type=_Keys).keys
    except msgspec.MsgspecError as error:
        raise QueryError(
            400, f"the body is not as expected: {error}", hint='send {"keys": ["ann", "bob"]}'
        ) from error
    if len(keys) > LIMIT_MAX:
        raise QueryError(
            400, f"{len(keys)} keys are too many", hint=f"at most {LIMIT_MAX} in one request"
        )
    return keys


def _standing(task: ServedTask) -> dict[str, Any]:
    return {
        "task": str(task.task),
        "stream_time_ms": task.stream_time_ms,
        "lag_records": task.lag_records,
    }


def _page(page: Page, **head: Any) -> Answer:
    return json_answer({**head, "rows": page.rows, "next": page.next})


def _described(view: StoreView, tasks: Sequence[ServedTask]) -> dict[str, Any]:
    spec = view.spec
    own = [one for one in tasks if one.task.subtopology == view.subtopology]
    times: dict[str, Any] = {"ttl_ms": spec.ttl_ms} if view.is_key_value else {}
    if spec.kind is StoreKind.WINDOW:
        times |= {
            "window_size_ms": spec.window_size_ms,
            "window_advance_ms": spec.window_advance_ms,
        }
    if not view.is_key_value:
        times["retention_ms"] = spec.retention_ms
    return {
        "name": spec.name,
        "kind": spec.kind.value,
        "key": spec.key.name,
        "value": spec.value.name,
        **times,
        "tasks": [
            {
                **_standing(one),
                "state": one.state,
                "approximate_rows": one.database.approximate_rows(spec.name),
            }
            for one in own
        ],
    }
