"""The queries of stores: one key, several keys, ranges; here or, for a key, at its owner, or from a
copy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from streamer.errors import StreamerError
from streamer.http.answers import Answer, QueryError, json_answer, refused
from streamer.http.catalog import ENCODINGS, Catalog, StoreView
from streamer.http.copies import copy_headers, standing
from streamer.http.forward import Call, Forwarder
from streamer.http.lookups import Span, rows_of_key, values
from streamer.http.pages import Entry, Form, Page, collect, show
from streamer.http.ranges import keys_between, merged, prefix_end, rows_between, watched
from streamer.http.requests import Request, text_of
from streamer.http.routing import Place, Places, Routing
from streamer.http.serving import ServedTask, Serving
from streamer.http.several import Several
from streamer.http.turns import Turns
from streamer.ids import TaskId
from streamer.topology.stores import StoreKind

__all__ = ["AGAIN_SECONDS_MAX", "LIMIT_DEFAULT", "LIMIT_MAX", "Queries"]

LIMIT_DEFAULT, LIMIT_MAX = 100, 10_000
# An exchange of roles takes less than a second, and what is known of it is as old at most.
AGAIN_SECONDS_MAX = 2.0
_AGAIN_SECONDS = 0.1
_FORM = ("key_encoding", "value_encoding")
_PAGING = ("limit", "after", "cursors")


class _Keys(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[Any]


_keys_decoder = msgspec.json.Decoder(_Keys)


class Queries:
    """Answers requests whose path begins with /stores/. Raises QueryError for all others."""

    def __init__(
        self, serving: Serving, turns: Turns, forwarder: Forwarder, *, registry: Mapping[str, Any]
    ) -> None:
        self._serving = serving
        self._turns = turns
        self._forwarder = forwarder
        self._catalog = Catalog(serving.topology, registry)
        self._routing = Routing(serving, forwarder.silence.is_silent)

    # -- one key -------------------------------------------------------------------------------

    def one(self, request: Request) -> Answer:
        """GET /stores/{store}/{key}"""
        view = self._view(request)
        times = () if view.is_key_value else ("from", "to", *_PAGING)
        request.expect((*_FORM, "local", "max_lag", *times))
        is_local = request.flag("local")
        key = view.key_bytes(request.parts[2], _form(request).key_encoding)

        def ask(places: Places) -> Answer:
            return self._one(request, view, key, places, is_local=is_local)

        return self._patiently(request, view, ask)

    def _one(
        self, request: Request, view: StoreView, key: bytes, places: Places, *, is_local: bool
    ) -> Answer:
        (task,) = places.tasks_of([key])
        refusal: Answer | None = None
        here = places.here(task)
        if here is not None:
            try:
                return self._read(request, view, key, here)
            except StreamerError as error:
                refusal = refused(error)
        others = places.others(task, is_local=is_local)
        for number, place in enumerate(others, 1):
            if place.here is not None:
                try:
                    return self._read(request, view, key, place.here)
                except StreamerError as error:
                    answer = refused(error)
            else:
                answer = self._ask(request, view, place, is_last=number == len(others))
                # Whatever is wrong with a copy, the next may be well.
                if answer.status < 500 or (answer.status != 503 and place.limit is None):
                    return answer
            # What the owner says tells more than what those say that are asked in its place.
            refusal = refusal or answer
        return refusal or refused(places.refusal(task))

    def _ask(self, request: Request, view: StoreView, place: Place, *, is_last: bool) -> Answer:
        call = Call(
            place.address,
            "GET",
            request.target,
            limit=place.limit,
            is_last=is_last,
            is_page=not view.is_key_value,
        )
        with self._turns.outside():
            return self._forwarder.send(call)

    def _read(self, request: Request, view: StoreView, key: bytes, task: ServedTask) -> Answer:
        form = _form(request)
        headers = copy_headers([task.behind] if task.is_copy else [])
        if not view.is_key_value:
            limit = request.number("limit", LIMIT_DEFAULT, high=LIMIT_MAX)
            entries = rows_of_key(view, task, key, span=_span(request), after=request.after())
            with self._turns.long():
                page = collect(view, entries, form=form, limit=limit)
            shown = view.shown_key(key, form.key_encoding)
            head = {"store": view.name, "key": shown, "task": str(task.task), **standing(task)}
            return _page(page, head, headers=headers)
        (entry,) = values(view, task, [key])
        if entry is None:
            shown = view.shown_key(key, form.key_encoding)
            raise QueryError(
                404,
                f"store {view.name!r} has no key {shown!r}",
                hint="it was never set, was removed, or is past the store's ttl",
                details={"task": str(task.task), **standing(task)},
                headers=headers,
            )
        return Answer(200, show(view, entry, form, is_alone=True), headers=headers)

    def _patiently(
        self,
        request: Request,
        view: StoreView,
        ask: Callable[[Places], Answer],
    ) -> Answer:
        """Look again for a while where copies are kept and yet nobody answers: a worker closes its
        copy to run the task, and what is known of the others may be a second old."""
        deadline = time.monotonic() + AGAIN_SECONDS_MAX
        while True:
            places = self._routing.places(view, request)
            answer = ask(places)
            if answer.status != 503 or time.monotonic() > deadline or not places.may_be_exchanged:
                return answer
            with self._turns.outside():
                time.sleep(_AGAIN_SECONDS)

    # -- several keys --------------------------------------------------------------------------

    def many(self, request: Request) -> Answer:
        """POST /stores/{store}"""
        view = self._view(request)
        request.expect((*_FORM, "local", "max_lag"))
        form = _form(request)
        if not view.is_key_value:
            raise QueryError(
                400,
                f"store {view.name!r} is a {view.spec.kind.value} store: it is read key by key",
                hint=f"GET /stores/{view.name}/KEY?from=...&to=...",
            )
        keys = [view.key_of_json(key, form.key_encoding) for key in _body(request)]

        def ask(places: Places) -> Answer:
            several = Several(view, places, keys=keys, form=form, request=request)
            return several.answer(self._turns, self._forwarder)

        return self._patiently(request, view, ask)

    # -- ranges --------------------------------------------------------------------------------

    def range(self, request: Request) -> Answer:
        """GET /stores/{store}: over this worker's tasks; `missing` names the others."""
        view = self._view(request)
        request.expect((*_FORM, *_PAGING, "max_lag", "start", "end", "prefix", "from", "to"))
        after = request.after()
        if view.is_key_value:
            _refuse(request, view, ("from", "to"), instead="start=, end= or prefix=")
            start, end = _bounds(request, view, _form(request))
            entries = keys_between(view, start, end, after=after)
        else:
            _refuse(request, view, ("start", "end", "prefix"), instead="from= and to=")
            entries = rows_between(view, _span(request), after=after)
        places = self._routing.places(view, request)
        failed: list[ServedTask] = []
        left_out: set[TaskId] = set()
        while True:
            tasks = places.readable(left_out)
            try:
                page = self._collect(request, view, merged(tasks, watched(entries, failed)))
                break
            except StreamerError as error:
                broken = {one.task for one in failed if one.is_copy} - left_out
                if not broken or isinstance(error, QueryError):
                    raise
                # A copy is closed when its worker begins to run the task; then others have it.
                left_out |= broken
        return _range(view, page, tasks, places=places)

    def _collect(self, request: Request, view: StoreView, entries: Iterable[Entry]) -> Page:
        limit = request.number("limit", LIMIT_DEFAULT, high=LIMIT_MAX)
        with self._turns.long():
            return collect(view, entries, form=_form(request), limit=limit)

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
        keys = _keys_decoder.decode(request.body).keys
    except msgspec.MsgspecError as error:
        raise QueryError(
            400, f"the body is not as expected: {error}", hint='send {"keys": ["ann", "bob"]}'
        ) from error
    if len(keys) > LIMIT_MAX:
        raise QueryError(
            400, f"{len(keys)} keys are too many", hint=f"at most {LIMIT_MAX} in one request"
        )
    return keys


def _page(page: Page, head: dict[str, Any], *, headers: dict[str, str]) -> Answer:
    return json_answer({**head, "rows": page.rows, "next": page.next}, headers=headers)


def _range(view: StoreView, page: Page, tasks: Sequence[ServedTask], *, places: Places) -> Answer:
    """A page, with what it covers, what it does not, and which of it are copies."""
    head: dict[str, Any] = {
        "store": view.name,
        "tasks": {str(one.task): standing(one) for one in tasks},
        "missing": places.missing({one.task for one in tasks}),
    }
    if head["missing"] and places.wish.limit is not None:
        # What a copy of these may lack: whoever finds their owners silent can ask with it.
        head["max_lag"] = places.wish.limit
    copies = {str(one.task): one.behind for one in tasks if one.is_copy}
    if copies:
        head["standbys"] = copies
    return _page(page, head, headers=copy_headers(copies.values()))


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
                "task": str(one.task),
                "stream_time_ms": one.stream_time_ms,
                "lag_records": one.lag_records,
                "state": one.state,
                "approximate_rows": one.database.approximate_rows(spec.name),
            }
            for one in own
        ],
    }
