"""Passing on what has closed (`emit="final"`), as much with one commit as that can bear.

What is left goes with the next commits, so that neither many windows that close together nor slow
steps behind them outlive the transaction. How far it has come is committed each time. What is
closed never changes and is kept until it was passed on, so the number of rows of one time tells
which they were, to whoever goes on from there.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from operator import itemgetter
from typing import Any

from streamer.store.closing import Closing
from streamer.topology.graph import Aggregate, Node, Process, Subtopology
from streamer.topology.reach import reaches_windows

__all__ = ["Closer", "Room", "may_split"]

RESULTS_MAX = 100_000
PAGE_ROWS = 5_000
# Pages grow from here: nobody knows yet how slow the steps behind are.
_FIRST_ROWS = 250
# Each may have a place beside the offsets, whose length brokers limit.
_FINALS_MAX = 50
_TIME = struct.Struct(">Q")
# A row by its key, which begins with its time.
_KEY = itemgetter(0)
Rows = Iterator[tuple[Any, ...]]


class Room:
    """How much a commit may still pass on, over all of its tasks."""

    __slots__ = ("_is_late", "_left", "_page")

    def __init__(self, is_late: Callable[[], bool] = lambda: False) -> None:
        self._left = RESULTS_MAX
        self._page = _FIRST_ROWS
        self._is_late = is_late

    def page(self) -> int:
        """How many results may come now; 0 where the rest is to wait for the next commit."""
        return 0 if self._is_late() else min(self._page, PAGE_ROWS, self._left)

    def took(self, count: int) -> None:
        self._left = max(self._left - count, 0)
        self._page = min(self._page * 2, PAGE_ROWS)


class Closer:
    """How far one aggregation has come. What is below `bound()` has closed.

    `splits` is whether it may take several commits. `at` goes back with an abort; None begins
    where all that has closed was passed on. `was_passed` tells of rows behind `at`, by the keys
    that order them, which were passed on nevertheless: those that a task had of several parents.
    """

    __slots__ = ("_bound", "_committed", "_cursor", "_splits", "_was_passed", "at", "is_left")

    def __init__(
        self,
        bound: Callable[[], int],
        at: Closing | None,
        *,
        splits: bool,
        was_passed: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._bound = bound
        self._splits = splits
        self._was_passed = was_passed
        self._cursor: bytes | None = None
        self.at = Closing(bound(), 0) if at is None else at
        self.committed()

    @property
    def place(self) -> Closing | None:
        """How far it has come; None where nothing is left of what has closed."""
        return self.at if self.at.time_ms < self._bound() else None

    def pages(self, scan: Callable[[bytes, bytes], Rows], room: Room) -> Iterator[list[Any]]:
        """Rows that have closed, in the order of their times; the caller passes on each page
        before it asks for the next. `scan` gives rows with keys of a range, keys first."""
        bound = self._bound()
        if bound <= self.at.time_ms:
            return
        start = self._cursor or _TIME.pack(self.at.time_ms)
        rows = scan(start, _TIME.pack(bound))
        if self._cursor is None:
            rows = islice(rows, self.at.rows, None)
        while size := room.page() if self._splits else PAGE_ROWS:
            page = list(islice(rows, size))
            if left := self._left(page):
                yield left
            if page:
                self._passed(page)
            room.took(len(page))
            if len(page) < size:
                self.at, self._cursor = Closing(bound, 0), None
                return

    def _left(self, page: list[Any]) -> list[Any]:
        was_passed = self._was_passed
        return page if was_passed is None else [row for row in page if not was_passed(row[0])]

    def _passed(self, page: list[Any]) -> None:
        last = page[-1][0]
        head = last[: _TIME.size]
        count = len(page) - bisect_left(page, head, key=_KEY)
        time_ms = _TIME.unpack(head)[0]
        if time_ms == self.at.time_ms:
            count += self.at.rows
        self.at, self._cursor = Closing(time_ms, count), last + b"\0"

    def committed(self) -> None:
        self._committed = self.at, self._cursor
        self.is_left = self.place is not None

    def abort(self) -> None:
        self.at, self._cursor = self._committed


def may_split(node: Aggregate, subtopology: Subtopology) -> bool:
    """Whether the results of one closing may come with several commits. Not where `process` may
    change their rows in between, nor where they reach another windowed aggregation: those of one
    commit have no order, so none makes another late, but those of the next commit come later."""
    nodes = subtopology.nodes
    finals = [one for one in nodes if isinstance(one, Aggregate) and one.emit == "final"]
    if len(finals) > _FINALS_MAX or any(
        isinstance(one, Process) and node.store.name in _names(one) for one in nodes
    ):
        return False
    return not reaches_windows(node, subtopology)


def _names(node: Node) -> set[str]:
    return {spec.name for spec in node.stores}
