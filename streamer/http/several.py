"""Several keys in one request: each task where it can be read, all of them at once.

Places are tried in rounds. In each, one place of every task that is still waiting is asked, those
of one worker in one call; so the request takes as long as its slowest task, not as all together.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from streamer.errors import StreamerError
from streamer.http.answers import Answer, QueryError, answer_of, json_answer, refused
from streamer.http.catalog import StoreView
from streamer.http.copies import copy_headers
from streamer.http.forward import Call, Forwarder
from streamer.http.lookups import values
from streamer.http.pages import PAGE_BYTES_MAX, Form, show
from streamer.http.requests import Request
from streamer.http.routing import Place, Places
from streamer.http.serving import ServedTask
from streamer.http.turns import Turns
from streamer.ids import TaskId

__all__ = ["Several"]

_KEYS_AT_ONCE = 256


class _Rows(msgspec.Struct):
    """What another worker answers: `unread` tells the error of each task that it cannot read."""

    rows: list[dict[str, msgspec.Raw] | None]
    standbys: dict[str, int] = {}
    unread: dict[str, msgspec.Raw] = {}


_rows_decoder = msgspec.json.Decoder(_Rows)


class Several:
    """One request for several keys of a key-value store."""

    def __init__(
        self, view: StoreView, places: Places, *, keys: list[bytes], form: Form, request: Request
    ) -> None:
        self._view = view
        self._places = places
        self._keys = keys
        self._form = form
        self._request = request
        self._indexes = places.tasks_of(keys)
        self._rows: list[msgspec.Raw | None] = [None] * len(keys)
        self._copies: dict[str, int] = {}
        self._refusals: dict[TaskId, Answer] = {}

    def answer(self, turns: Turns, forwarder: Forwarder) -> Answer:
        """Raises QueryError for what would be wrong everywhere, or with local=1 elsewhere."""
        waiting = self._read_here(turns)
        if self._request.is_forwarded:
            unread = {str(task): msgspec.Raw(self._refusal(task).body) for task in waiting}
            return self._said(unread)
        while waiting:
            calls: dict[tuple[str, int | None], list[TaskId]] = {}
            for task, places in list(waiting.items()):
                if not places:
                    return self._refusal(task)
                place = places.pop(0)
                if place.here is None:
                    calls.setdefault((place.address, place.limit), []).append(task)
                elif self._fill(task, place.here, turns):
                    del waiting[task]
            with turns.outside():
                asked = [self._call(*place, calls[place], waiting) for place in calls]
                answers = forwarder.send_all(asked)
            for tasks, answer in zip(calls.values(), answers, strict=True):
                if answer.status not in (200, 503):
                    return answer
                for task in self._take(tasks, answer):
                    del waiting[task]
        return self._said({})

    def _read_here(self, turns: Turns) -> dict[TaskId, list[Place]]:
        """Read what is here. Returns the tasks that are not, with the places to try."""
        is_local = self._request.flag("local")
        here = {task: self._places.here(task) for task in self._indexes}
        waiting = {
            task: self._places.others(task, is_local=is_local)
            for task, found in here.items()
            if found is None
        }
        for task, found in here.items():
            if found is not None and not self._fill(task, found, turns):
                waiting[task] = self._places.others(task, is_local=is_local)
        return waiting

    def _fill(self, task: TaskId, found: ServedTask, turns: Turns) -> bool:
        """Read a task here. Returns False, and keeps nothing, when that failed."""
        indexes, size_bytes = self._indexes[task], 0
        try:
            for first in range(0, len(indexes), _KEYS_AT_ONCE):
                turns.breathe(first)
                part = indexes[first : first + _KEYS_AT_ONCE]
                entries = values(self._view, found, [self._keys[index] for index in part])
                for index, entry in zip(part, entries, strict=True):
                    if entry is not None:
                        shown = show(self._view, entry, self._form, is_alone=True)
                        self._rows[index] = msgspec.Raw(shown)
                        size_bytes += len(shown)
                if size_bytes > PAGE_BYTES_MAX:
                    raise QueryError(
                        413, f"the rows exceed {PAGE_BYTES_MAX} bytes", hint="ask for fewer keys"
                    )
        except StreamerError as error:
            self._refusals.setdefault(task, refused(error))
            for index in indexes:
                self._rows[index] = None
            return False
        if found.is_copy:
            self._copies[str(task)] = found.behind or 0
        return True

    def _call(
        self,
        address: str,
        limit: int | None,
        tasks: Sequence[TaskId],
        waiting: dict[TaskId, list[Place]],
    ) -> Call:
        """The request for some tasks' keys to a worker."""
        keys = [self._keys[index].hex() for task in tasks for index in self._indexes[task]]
        query = {"key_encoding": "hex", "value_encoding": self._form.value_encoding}
        max_lag = self._request.text("max_lag")
        if max_lag is not None:
            query["max_lag"] = max_lag
        return Call(
            address,
            "POST",
            f"/stores/{self._view.name}?{urlencode(query)}",
            msgspec.json.encode({"keys": keys}),
            limit=limit,
            is_last=not all(waiting[task] for task in tasks),
            is_page=len(keys) > _KEYS_AT_ONCE,
        )

    def _take(self, tasks: Sequence[TaskId], answer: Answer) -> list[TaskId]:
        """Take the rows of a worker's answer. Returns the tasks that it has read."""
        if answer.status != 200:
            for task in tasks:
                self._refusals.setdefault(task, answer)
            return []
        fetched = _rows_decoder.decode(answer.body)
        rows = iter(fetched.rows)
        done = []
        for task in tasks:
            own = [next(rows) for _index in self._indexes[task]]
            unread = fetched.unread.get(str(task))
            if unread is not None:
                refusal = Answer(503, bytes(unread), headers={"Retry-After": "1"})
                self._refusals.setdefault(task, refusal)
                continue
            for index, row in zip(self._indexes[task], own, strict=True):
                self._rows[index] = None if row is None else self._shown(index, row)
            done.append(task)
        self._copies |= fetched.standbys
        return done

    def _shown(self, index: int, row: dict[str, msgspec.Raw]) -> msgspec.Raw:
        """Another worker's row with its key as the client wants it."""
        key = self._view.shown_key(self._keys[index], self._form.key_encoding)
        row["key"] = msgspec.Raw(json_answer(key).body)
        return msgspec.Raw(msgspec.json.encode(row))

    def _refusal(self, task: TaskId) -> Answer:
        return self._refusals.get(task) or answer_of(self._places.refusal(task))

    def _said(self, unread: dict[str, msgspec.Raw]) -> Answer:
        told = {"standbys": self._copies, "unread": unread}
        return json_answer(
            {
                "store": self._view.name,
                "rows": self._rows,
                **{name: found for name, found in told.items() if found},
            },
            headers=copy_headers(self._copies.values()),
        )
