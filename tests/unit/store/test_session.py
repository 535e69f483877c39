"""The open transaction of a session store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streamer.store.keys import row, session_key
from streamer.store.session import Session, SessionState
from streamer.topology.serde import Json
from streamer.topology.stores import Store, StoreKind
from tests.unit.engine.rig import MemoryDatabase

VALUE: Any = Json(int)
SPEC = replace(Store("s", bytes, VALUE).spec(), kind=StoreKind.SESSION, retention_ms=1_000)


def opened(*sessions: tuple[bytes, int, int, int]) -> tuple[SessionState, MemoryDatabase]:
    """Over committed sessions (key, start, end, value)."""
    database = MemoryDatabase([SPEC])
    rows = [
        (session_key(key, start, end), row(end, b"%d" % value, StoreKind.SESSION))
        for key, start, end, value in sessions
    ]
    database.write({"s": rows})
    return SessionState(SPEC, database, value=VALUE, recent_bytes_max=10_000), database


def found(state: SessionState, key: bytes, from_ms: int, now_ms: int = 100) -> list[Any]:
    return [(one.start_ms, one.end_ms, one.value) for one in state.sessions(key, from_ms, now_ms)]


def test_sessions_are_found_from_their_end_on() -> None:
    state, _ = opened((b"a", 1, 5, 1), (b"a", 20, 30, 2), (b"b", 20, 30, 3))
    assert found(state, b"a", 6) == [(20, 30, 2)]
    assert found(state, b"a", 5) == [(1, 5, 1), (20, 30, 2)]
    assert found(state, b"a", 50) == [(1, 5, 1), (20, 30, 2)]
    assert found(state, b"b", -7) == [(20, 30, 3)]


def test_keys_that_begin_alike_are_kept_apart() -> None:
    longer = b"a" + bytes(6) + b"\x00\x14"
    state, _ = opened((b"a", 1, 20, 1), (longer, 1, 20, 2), (b"", 1, 20, 3))
    assert found(state, b"a", 0) == [(1, 20, 1)]
    assert found(state, longer, 0) == [(1, 20, 2)]
    assert found(state, b"", 0) == [(1, 20, 3)]


def test_one_session_takes_the_place_of_those_it_joins() -> None:
    state, database = opened((b"a", 1, 5, 1), (b"a", 9, 12, 2), (b"a", 90, 95, 3))
    sessions = state.sessions(b"a", 0, 100)
    state.replace(b"a", sessions[:2], Session(1, 12, 7))
    assert found(state, b"a", 0) == [(1, 12, 7), (90, 95, 3)]
    assert state.changes() == [
        (session_key(b"a", 1, 5), None),
        (session_key(b"a", 9, 12), None),
        (session_key(b"a", 1, 12), row(12, b"7", StoreKind.SESSION)),
    ]
    database.write({"s": state.changes()})
    state.committed(state.changes())
    assert found(state, b"a", 0) == [(1, 12, 7), (90, 95, 3)]


def test_a_session_that_nobody_has_seen_leaves_no_trace() -> None:
    state, _ = opened()
    assert found(state, b"a", 0) == []
    state.replace(b"a", [], Session(5, 5, 1))
    state.replace(b"a", state.sessions(b"a", 0, 100), Session(5, 9, 2))
    assert state.changes() == [(session_key(b"a", 5, 9), row(9, b"2", StoreKind.SESSION))]


def test_an_abort_brings_back_the_committed_sessions() -> None:
    state, _ = opened((b"a", 1, 5, 1))
    state.replace(b"a", state.sessions(b"a", 0, 100), Session(1, 8, 2))
    state.abort()
    assert found(state, b"a", 0) == [(1, 5, 1)]
    assert state.changes() == []


def test_none_removes_a_session() -> None:
    state, _ = opened((b"a", 1, 5, 1))
    state.replace(b"a", state.sessions(b"a", 0, 100), Session(1, 5, None))
    assert found(state, b"a", 0) == []
    assert state.changes() == [(session_key(b"a", 1, 5), None)]


def test_ended_sessions_come_by_their_end_this_transaction_included() -> None:
    state, _ = opened((b"a", 1, 5, 1), (b"b", 2, 9, 2), (b"c", 3, 20, 3))
    state.replace(b"a", state.sessions(b"a", 0, 100), Session(1, 7, 4))
    state.sessions(b"d", 0, 100)
    state.replace(b"d", [], Session(6, 6, 5))
    expected = [
        (end.to_bytes(8, "big") + session_key(key, start, end), value)
        for key, start, end, value in [(b"d", 6, 6, 5), (b"a", 1, 7, 4), (b"b", 2, 9, 2)]
    ]
    assert list(state.ended((5).to_bytes(8, "big"), (20).to_bytes(8, "big"))) == expected
    # Behind one of them, and up to another.
    assert list(state.ended(expected[0][0] + b"\0", expected[2][0])) == expected[1:2]
