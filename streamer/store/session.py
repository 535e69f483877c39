"""The open transaction of a session store: sessions of a key, merged and replaced.

A session is one row, keyed by record key, end and start. The sessions of a key that a record may
touch end no earlier than the record's time less the gap; only those are read, and more of the past
is read when an older record comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any

from streamer.store.cache import (
    Database,
    Found,
    KeyValueState,
    check_keys,
    merged,
    undecodable,
)
from streamer.store.keys import payload, session_key, session_parts
from streamer.topology.serde import Bytes, Serde
from streamer.topology.stores import StoreSpec

__all__ = ["Session", "SessionState"]

_ROWS_AT_ONCE = 1_000


@dataclass(slots=True)
class Session:
    start_ms: int
    end_ms: int
    value: Any


class SessionState(KeyValueState):
    """Sessions by record key above the rows of `KeyValueState`."""

    def __init__(
        self, spec: StoreSpec, database: Database, *, value: Serde[Any], recent_bytes_max: int
    ) -> None:
        super().__init__(spec, database, value=value, recent_bytes_max=recent_bytes_max)
        self._sessions: dict[bytes, list[Session]] = {}
        self._read_from: dict[bytes, int] = {}
        self._decode_key = None if spec.key.decode is Bytes.decode else spec.key.decode

    def sessions(self, key: bytes, from_ms: int, stream_time_ms: int) -> list[Session]:
        """The key's sessions that end at or after `from_ms`, oldest first. Sessions of this
        transaction are always among them. `stream_time_ms` bounds the ends that can exist.

        Raises UnreadableKeysError for a key that the store's serde cannot decode.
        """
        from_ms = max(from_ms, 0)
        known = self._read_from.get(key)
        if known is None:
            if self._decode_key is not None:
                check_keys((key,), self._decode_key)
            self._sessions[key] = self._read(key, from_ms, stream_time_ms + 1)
            self._read_from[key] = from_ms
        elif from_ms < known:
            self._sessions[key] = self._read(key, from_ms, known) + self._sessions[key]
            self._read_from[key] = from_ms
        return self._sessions[key]

    def _read(self, key: bytes, from_ms: int, to_ms: int) -> list[Session]:
        start = key + from_ms.to_bytes(8, "big")
        end = key + to_ms.to_bytes(8, "big")
        found = []
        for stored_key, stored in self._database.scan(self.spec.name, start, end):
            # Another key may begin with this key's bytes and lie in between.
            if len(stored_key) != len(key) + 16:
                continue
            _key, start_ms, end_ms = session_parts(stored_key)
            try:
                value = self._serde.decode(payload(stored))
            except Exception as error:
                raise undecodable(self.spec, key, error) from error
            self._loaded[stored_key] = stored
            self.values[stored_key] = value
            found.append(Session(start_ms, end_ms, value))
        return found

    def replace(self, key: bytes, merged: list[Session], session: Session) -> None:
        """Put one session in the place of those that it merges (none: a new session). A session
        whose value is None is gone. The time of a row is its session's end."""
        self._dirty = None
        for old in merged:
            self._remove(session_key(key, old.start_ms, old.end_ms), old.end_ms)
        stored_key = session_key(key, session.start_ms, session.end_ms)
        self.values[stored_key] = session.value
        self._stamps.note(stored_key, session.end_ms, is_absent=False)
        left = [old for old in self._sessions[key] if not any(old is other for other in merged)]
        if session.value is not None:
            left.append(session)
            left.sort(key=lambda one: (one.end_ms, one.start_ms))
        self._sessions[key] = left

    def restore(self, key: bytes, session: Session, encoded: bytes) -> None:
        """Give a session the value back that these bytes hold."""
        session.value = self._serde.decode(encoded)
        self.values[session_key(key, session.start_ms, session.end_ms)] = session.value

    def _remove(self, stored_key: bytes, end_ms: int) -> None:
        if stored_key in self._loaded:
            self.values[stored_key] = None
            self._stamps.note(stored_key, end_ms, is_absent=False)
        else:
            # Made and merged away between two commits: nobody has ever seen it.
            self.values.pop(stored_key, None)
            self._stamps.put_back(stored_key, None, is_removed=False)

    def ended(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, Any]]:
        """Sessions whose end and row key, one behind the other, lie in [start, end), as of this
        call and in that order, this transaction included. Stored rows are read as the iterator
        goes on."""
        own: list[Found] = [
            (key[-16:-8] + key, self.values[key], stamp)
            for key, stamp in self._stamps.times.items()
            if start <= key[-16:-8] + key < end
        ]
        own.sort(key=itemgetter(0))
        index = self._database.scan(self.spec.name, start, end, index=True)
        found = merged(self._rows(index), own, self._serde.decode)
        return ((index_key, value) for index_key, value, _end_ms in found)

    def _rows(self, index: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """The rows that entries of the index point to, by their entries."""
        while entries := [index_key for index_key, _none in islice(index, _ROWS_AT_ONCE)]:
            keys = [index_key[8:] for index_key in entries]
            rows = self._database.get_many(self.spec.name, keys)
            for index_key, row in zip(entries, rows, strict=True):
                if row is not None:
                    yield index_key, row

    def _begin(self) -> None:
        super()._begin()
        self._sessions = {}
        self._read_from = {}
