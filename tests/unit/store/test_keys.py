"""The layout of keys and rows: what is written today must be readable for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from streamer.store import keys
from streamer.topology.stores import Store, StoreKind

SPEC = Store("s", str, str, ttl=timedelta(milliseconds=6_400)).spec()
SESSION = replace(SPEC, kind=StoreKind.SESSION, ttl_ms=None, retention_ms=10)
TIMES = st.integers(0, 2**62)


def test_the_first_version_is_read_for_ever() -> None:
    """Samples of what version 1 wrote."""
    row = bytes.fromhex("01000001946ab8e3807b7d")
    assert (keys.timestamp(row), keys.payload(row)) == (1736957289344, b"{}")
    assert keys.row(1736957289344, b"{}") == row
    for kind, form in ((StoreKind.WINDOW, 0x11), (StoreKind.SESSION, 0x21)):
        assert keys.row(1736957289344, b"{}", kind) == bytes([form]) + row[1:]
        assert keys.rows(kind, [1736957289344], [b"{}"]) == [bytes([form]) + row[1:]]
        assert keys.kind_of(bytes([form])) is kind
    assert keys.kind_of(row) is StoreKind.KEY_VALUE
    assert [keys.kind_of(other) for other in (b"", b"\x02", b"\x31")] == [None, None, None]
    window = bytes.fromhex("000001946ab8e380616e6e")
    assert keys.window_parts(window) == (1736957289344, b"ann")
    assert keys.window_key(1736957289344, b"ann") == window
    session = bytes.fromhex("616e6e000001946ab8e7680000000000000007")
    assert keys.session_parts(session) == (b"ann", 7, 1736957290344)
    assert keys.session_key(b"ann", 7, 1736957290344) == session
    assert keys.index_key(SPEC, b"ann", keys.row(6_499, b"")) == bytes(6) + b"\x19\x00" + b"ann"
    assert keys.index_key(SESSION, session, b"") == session[3:11] + session


def test_a_time_before_1970_is_stored_as_zero() -> None:
    assert keys.timestamp(keys.row(-1, b"x")) == 0
    assert keys.rows(StoreKind.KEY_VALUE, [-1, 5], [b"x", None]) == [keys.row(0, b"x"), None]


@given(st.binary(max_size=20), TIMES, TIMES)
def test_keys_come_back_and_know_their_record_key(key: bytes, start: int, end: int) -> None:
    window, session = keys.window_key(start, key), keys.session_key(key, start, end)
    assert keys.window_parts(window) == (start, key)
    assert keys.session_parts(session) == (key, start, end)
    assert keys.partition_key(StoreKind.WINDOW, window) == key
    assert keys.partition_key(StoreKind.SESSION, session) == key
    assert keys.partition_key(StoreKind.KEY_VALUE, key) == key


@given(st.tuples(TIMES, st.binary(max_size=4)), st.tuples(TIMES, st.binary(max_size=4)))
def test_windows_lie_in_the_order_of_time(one: tuple[int, bytes], other: tuple[int, bytes]) -> None:
    assert (keys.window_key(*one) < keys.window_key(*other)) == (one < other)


@given(TIMES, st.integers(1, 10**9))
def test_a_bucket_holds_its_time_and_is_a_fraction_of_the_ttl(stamp: int, ttl: int) -> None:
    bucket = keys.ttl_bucket(stamp, ttl)
    assert bucket <= stamp < bucket + max(ttl // keys.TTL_BUCKETS, 1)
