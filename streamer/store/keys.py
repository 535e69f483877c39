"""The layout of keys and rows at rest. A changelog record's value is the row, byte for byte.

    row      form (1) | timestamp ms (8, big-endian) | the value's serde bytes
             form: the kind of the store (high half: 0 key-value, 1 window, 2 session) and the
             version of the row (low half), so that a changelog says what its keys are
    key      key-value: the key's serde bytes
             window:    window start ms (8) | key        time first: expiry is one range, and the
                                                         windows that are written lie side by side
             session:   key | session end ms (8) | session start ms (8)
    index    time ms (8) | key of the row it points to   (TTL and session stores only)

Numbers are big-endian and never negative, so that bytes order as numbers do. The partition key of
a row is the record key it belongs to, which is all that a split needs to know.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from streamer.topology.serde import Bytes
from streamer.topology.stores import StoreKind, StoreSpec

__all__ = [
    "ROW_FORMS",
    "ROW_HEAD_BYTES",
    "ROW_TIME",
    "ROW_VERSION",
    "index_key",
    "key_decoder",
    "kind_of",
    "partition_key",
    "payload",
    "row",
    "rows",
    "session_key",
    "session_parts",
    "timestamp",
    "ttl_bucket",
    "window_key",
    "window_parts",
]

ROW_VERSION = 1
ROW_FORMS = {
    StoreKind.KEY_VALUE: 0x00 | ROW_VERSION,
    StoreKind.WINDOW: 0x10 | ROW_VERSION,
    StoreKind.SESSION: 0x20 | ROW_VERSION,
}
_KINDS = {form: kind for kind, form in ROW_FORMS.items()}
ROW_HEAD_BYTES = 9
# Where the time stands in a row: its bytes order as times do.
ROW_TIME = slice(1, ROW_HEAD_BYTES)
_HEAD = struct.Struct(">BQ")
_TIME = struct.Struct(">Q")
_TIMES = struct.Struct(">QQ")

# An update moves a row's place in the time index only when it enters a new bucket, so that a hot
# key does not leave a stale index entry per commit. 64 buckets bound the delay of expiry to 1.6 %.
TTL_BUCKETS = 64


def row(timestamp_ms: int, value: bytes, kind: StoreKind = StoreKind.KEY_VALUE) -> bytes:
    return _HEAD.pack(ROW_FORMS[kind], timestamp_ms if timestamp_ms > 0 else 0) + value


def rows(
    kind: StoreKind, timestamps: Sequence[int], values: Sequence[bytes | None]
) -> list[bytes | None]:
    """The rows of many values of one store; None stays None."""
    pack, form = _HEAD.pack, ROW_FORMS[kind]
    return [
        None if value is None else pack(form, stamp if stamp > 0 else 0) + value
        for stamp, value in zip(timestamps, values, strict=True)
    ]


def kind_of(stored: bytes) -> StoreKind | None:
    """The kind of store that a row was written by; None for a form that is not known here."""
    return _KINDS.get(stored[0]) if stored else None


def timestamp(stored: bytes) -> int:
    return int.from_bytes(stored[1:ROW_HEAD_BYTES], "big")


def payload(stored: bytes) -> bytes:
    return stored[ROW_HEAD_BYTES:]


def window_key(start_ms: int, key: bytes) -> bytes:
    return _TIME.pack(start_ms) + key


def window_parts(stored_key: bytes) -> tuple[int, bytes]:
    """(window start ms, key)"""
    return int.from_bytes(stored_key[:8], "big"), stored_key[8:]


def session_key(key: bytes, start_ms: int, end_ms: int) -> bytes:
    return key + _TIMES.pack(end_ms, start_ms)


def session_parts(stored_key: bytes) -> tuple[bytes, int, int]:
    """(key, session start ms, session end ms)"""
    end_ms, start_ms = _TIMES.unpack(stored_key[-16:])
    return stored_key[:-16], start_ms, end_ms


def partition_key(kind: StoreKind, stored_key: bytes) -> bytes:
    """The record key that a row belongs to: what a partitioner hashes."""
    if kind is StoreKind.WINDOW:
        return stored_key[8:]
    if kind is StoreKind.SESSION:
        return stored_key[:-16]
    return stored_key


def key_decoder(spec: StoreSpec) -> Callable[[bytes], Any] | None:
    """What decodes the record key of a row's key; None where any bytes are one."""
    decode = spec.key.decode
    if decode is Bytes.decode:
        return None
    if spec.kind is StoreKind.KEY_VALUE:
        return decode
    return lambda stored_key: decode(partition_key(spec.kind, stored_key))


def ttl_bucket(timestamp_ms: int, ttl_ms: int) -> int:
    width = max(ttl_ms // TTL_BUCKETS, 1)
    return timestamp_ms // width * width


def index_key(spec: StoreSpec, stored_key: bytes, stored: bytes) -> bytes:
    """The time index entry of a row, for stores that have an index."""
    if spec.kind is StoreKind.SESSION:
        return stored_key[-16:-8] + stored_key
    assert spec.ttl_ms is not None
    return _TIME.pack(ttl_bucket(timestamp(stored), spec.ttl_ms)) + stored_key
