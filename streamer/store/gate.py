"""A gate through which every call to a database passes, so that it can be closed under readers.

The binding's objects must not be closed while a call runs, and an iterator that is alive keeps the
database locked after its close. So calls are counted, a scan's iterator sits in a `Cursor` that the
database can empty, and whoever comes after the close gets an error that says why.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from streamer.errors import StreamerError

__all__ = ["Cursor", "Gate"]


class Cursor:
    """A scan's place in the database; `iterator` is None once the database was closed.

    `start` bounds a scan that runs backwards, and is None for one that runs forwards. `end` is kept
    because the binding's iterator points into it (rocksdict 0.3.29): freed, it would end anywhere.
    """

    __slots__ = ("__weakref__", "end", "iterator", "start")

    def __init__(self, iterator: Any, start: bytes | None, end: bytes | None) -> None:
        self.iterator = iterator
        self.start = start
        self.end = end

    def step(self, count: int) -> list[tuple[bytes, bytes]]:
        """The next rows, fewer than `count` only at the end. Call it inside the gate."""
        rows: list[tuple[bytes, bytes]] = []
        iterator, start = self.iterator, self.start
        try:
            move = iterator.next if start is None else iterator.prev
            while len(rows) < count and iterator.valid():
                key = iterator.key()
                if start is not None and key < start:
                    return rows
                rows.append((key, iterator.value()))
                move()
            # A damaged block ends an iteration like the last row does; only this tells.
            iterator.status()
        finally:
            # An iterator held by a traceback would keep the database locked after its close.
            iterator = move = None
        return rows


class Gate:
    """Counts who is inside; `with gate:` raises what `closed_error` makes once it is shut."""

    def __init__(self, closed_error: Callable[[], StreamerError]) -> None:
        self._closed_error = closed_error
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._is_shut = False
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()

    def __enter__(self) -> None:
        with self._changed:
            if self._is_shut:
                raise self._closed_error()
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._changed:
            self._inside -= 1
            if self._is_shut:
                self._changed.notify_all()

    def keep(self, cursor: Cursor) -> None:
        """Have `shut` empty the cursor. Call it inside the gate."""
        with self._changed:
            self._cursors.add(cursor)

    def shut(self) -> bool:
        """Let nobody in any more, wait until all are out, empty the cursors. False the second
        time."""
        with self._changed:
            if self._is_shut:
                return False
            self._is_shut = True
            while self._inside:
                self._changed.wait()
            for cursor in list(self._cursors):
                cursor.iterator = None
            return True
