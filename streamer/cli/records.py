"""Records as lines of text: what `streamer sandbox produce` reads and `read` prints.

Text is `KEY<TAB>VALUE`. JSON is an object per line, with which a record without a key or without
a value can be written, and one with a time or headers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from streamer.errors import ConfigError
from streamer.record import Headers, Record

__all__ = ["as_json", "as_text", "parsed"]

_FIELDS = ("key", "value", "timestamp_ms", "headers")
# `read --json` prints them; they are Kafka's to choose.
_IGNORED = ("partition", "offset")


def parsed(lines: Iterable[str], *, as_json: bool, now_ms: int) -> list[Record]:
    """The records of all lines; empty lines are left out. Raises ConfigError with the line."""
    read = _from_json if as_json else _from_text
    found = []
    for number, line in enumerate(lines, 1):
        text = line.removesuffix("\r")
        if text.strip():
            found.append(read(text, f"line {number}", now_ms))
    return found


def as_text(record: Record) -> str:
    """`KEY<TAB>VALUE` on one line; `null` for what a record lacks."""
    return "\t".join(_shown(part) for part in (record.key, record.value))


def as_json(record: Record) -> str:
    """One JSON object; bytes that are no text come as \\xNN."""
    return json.dumps(
        {
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "key": _text(record.key),
            "value": _text(record.value),
            "headers": [[name, _text(value)] for name, value in record.headers],
        },
        ensure_ascii=False,
    )


def _from_text(text: str, place: str, now_ms: int) -> Record:
    key, tab, value = text.partition("\t")
    if not tab:
        raise ConfigError(
            f"{place} has no TAB between key and value: {text[:60]!r}",
            hint="write KEY<TAB>VALUE; with --json a record may lack its key",
        )
    return Record(key.encode(), value.encode(), now_ms)


def _from_json(text: str, place: str, now_ms: int) -> Record:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{place} is not JSON: {error}", hint=_example()) from error
    if not isinstance(given, dict) or not given.keys() <= {*_FIELDS, *_IGNORED}:
        raise ConfigError(
            f"{place} is not an object with {', '.join(_FIELDS)}: {text[:60]!r}", hint=_example()
        )
    stamp = given.get("timestamp_ms", now_ms)
    if not isinstance(stamp, int) or isinstance(stamp, bool) or stamp < 0:
        raise ConfigError(f"{place}: timestamp_ms is {stamp!r}, not milliseconds since 1970")
    headers = _headers(given.get("headers") or [], place)
    return Record(_bytes(given.get("key")), _bytes(given.get("value")), stamp, headers)


def _headers(given: Any, place: str) -> Headers:
    try:
        return [(str(name), _bytes(value)) for name, value in given]
    except (TypeError, ValueError):
        raise ConfigError(
            f"{place}: headers are {given!r}", hint='write them as [["name", "value"], ...]'
        ) from None


def _bytes(part: Any) -> bytes | None:
    """Text as it is, anything else as JSON."""
    if part is None:
        return None
    return (part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)).encode()


def _text(part: bytes | None) -> str | None:
    return None if part is None else part.decode("utf-8", "backslashreplace")


def _shown(part: bytes | None) -> str:
    text = _text(part)
    if text is None:
        return "null"
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def _example() -> str:
    return 'such as {"key": "ann", "value": {"cents": 250}}'
