"""A request, taken apart: path, parameters, body. Wrong input is answered with 400 and the reason.

Text in paths and parameters may stand for bytes, so it stays bytes (with %XX resolved) until the
store's serde is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes

from streamer.config.names import nearest
from streamer.http.answers import QueryError

__all__ = ["FORWARDED", "Request", "cursor", "forwarded", "text_of", "time_ms"]

# Set by a worker that asks another one, as the owner or as one that has a copy.
FORWARDED = "X-Streamer-Forwarded"
_AS_OWNER, _AS_COPY = "owner", "copy:"
_CURSOR = "0x"
_DIGITS_MAX = 18

_PLUS = re.compile(r"(\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (\d\d:?\d\d)$")
# Long.MAX_VALUE, which Kafka's users write for "no end"; times are stored in 8 bytes.
_TIME_MAX_MS = 2**63 - 1


def cursor(position: bytes) -> str:
    """The text of a place in an order of bytes. Texts order as the places do; none is empty."""
    return _CURSOR + position.hex()


def forwarded(copy_limit: int | None) -> dict[str, str]:
    """The header of a request to the owner, or for a copy that lacks at most so many records."""
    return {FORWARDED: _AS_OWNER if copy_limit is None else f"{_AS_COPY}{copy_limit}"}


def text_of(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise QueryError(
            400,
            f"{what} is not UTF-8",
            hint="bytes are written with ?key_encoding=hex or ?key_encoding=base64",
        ) from None


def time_ms(text: str, name: str) -> int:
    """Milliseconds since 1970 of an ISO-8601 time (UTC unless it says otherwise) or a number."""
    text = text.strip()
    try:
        # In a query string an unescaped + is a space: 10:00+02:00 arrives as "10:00 02:00".
        value = int(text) if text.isdecimal() else _moment_ms(_PLUS.sub(r"\1+\2", text))
    except ValueError:
        value = -1
    if not 0 <= value <= _TIME_MAX_MS:
        raise QueryError(
            400,
            f"{name}={text!r} is not a time",
            hint="write milliseconds since 1970, or a time such as 2026-01-31T12:00:00Z",
        )
    return value


def _moment_ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


@dataclass(frozen=True, slots=True)
class Request:
    """`target` is path and query as they came; `parts` is the path split, at most three.

    `copy_limit`: it was forwarded here for a copy that lacks at most so many records.
    """

    method: str
    target: str
    parts: tuple[bytes, ...]
    parameters: dict[str, bytes]
    body: bytes = b""
    is_forwarded: bool = False
    copy_limit: int | None = None

    @classmethod
    def parse(
        cls, method: str, target: str, *, body: bytes = b"", forwarded: str | None = None
    ) -> Request:
        """`forwarded` is the header of that name."""
        # Whatever is not ASCII came as raw bytes, which the standard library reads as Latin-1.
        raw = target.encode("latin-1", "replace")
        path, _, query = raw.partition(b"?")
        pieces = path.removeprefix(b"/").split(b"/", 2)
        return cls(
            method=method,
            target=target,
            parts=tuple(unquote_to_bytes(piece) for piece in pieces),
            parameters=_parameters(query),
            body=body,
            is_forwarded=forwarded is not None,
            copy_limit=_copy_limit(forwarded or ""),
        )

    def expect(self, names: Iterable[str]) -> None:
        """Refuse parameters of other names: a misspelt one must not be ignored."""
        known = set(names)
        for name in self.parameters:
            if name not in known:
                guess = nearest(name, known)
                hint = f"did you mean {guess}?" if guess else "known: " + ", ".join(sorted(known))
                raise QueryError(400, f"unknown parameter {name!r}", hint=hint)

    def text(self, name: str) -> str | None:
        given = self.parameters.get(name)
        return None if given is None else text_of(given, name)

    def flag(self, name: str) -> bool:
        return self.choice(name, ("", "0", "1", "false", "true")) in ("1", "true")

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """The parameter, empty when it is absent."""
        given = self.text(name) or ""
        if given and given not in choices:
            possible = ", ".join(filter(None, choices))
            raise QueryError(400, f"{name}={given!r} is not possible", hint=f"possible: {possible}")
        return given

    def number(self, name: str, default: int, *, high: int) -> int:
        given = self.text(name)
        if given is None:
            return default
        if not (given.isascii() and given.isdecimal() and 1 <= int(given[:20]) <= high):
            raise QueryError(
                400,
                f"{name}={given!r} is not a number from 1 to {high}",
                hint="ask for more with the cursor in `next`: ?after=CURSOR",
            )
        return int(given)

    def records(self, name: str) -> int | None:
        """A number of records, None when it is absent."""
        given = self.text(name)
        if given is None:
            return None
        if not (given.isascii() and given.isdecimal() and len(given) <= _DIGITS_MAX):
            raise QueryError(
                400,
                f"{name}={given!r} is not a number of records",
                hint="write a whole number, such as 1000",
            )
        return int(given)

    def time(self, name: str) -> int | None:
        given = self.text(name)
        return None if given is None else time_ms(given, name)

    def after(self) -> bytes | None:
        """Where an earlier page ended."""
        given = self.text("after")
        if given is None:
            return None
        try:
            if given.startswith(_CURSOR):
                return bytes.fromhex(given.removeprefix(_CURSOR))
        except ValueError:
            pass
        raise QueryError(
            400, f"after={given!r} is not a cursor", hint="give `next` of the page before"
        )


def _copy_limit(header: str) -> int | None:
    limit = header.removeprefix(_AS_COPY)
    is_limit = limit != header and limit.isascii() and limit.isdecimal()
    return int(limit[:_DIGITS_MAX]) if is_limit else None


def _parameters(query: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for piece in filter(None, query.split(b"&")):
        name, _, value = piece.replace(b"+", b" ").partition(b"=")
        text = unquote_to_bytes(name).decode("utf-8", "replace")
        if text in found:
            raise QueryError(400, f"parameter {text!r} is given twice", hint="give it once")
        found[text] = unquote_to_bytes(value)
    return found
