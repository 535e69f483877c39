"""Documents as answers: made once for all who look, and sent again only when they have changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
from fastapi import Request, Response, status

from streamer.overview.follow import View

__all__ = ["Answers", "answer"]

# Of each connection the state and what a few people have opened.
_KEPT = 64

_encoder = msgspec.json.Encoder()


class Answers:
    """The documents of one version of each view, encoded. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[str, ...], tuple[int, bytes, str]] = {}

    def give(
        self, view: View, name: tuple[str, ...], make: Callable[[View], Any]
    ) -> tuple[bytes, str]:
        """The body and its ETag. `name` tells one document from another; its first part is the
        connection. Raises what `make` raises."""
        with self._lock:
            found = self._made.get(name)
        if found is not None and found[0] == view.version:
            return found[1:]
        body = _encoder.encode(make(view))
        etag = f'"{sha256(body).hexdigest()[:24]}"'
        with self._lock:
            self._made.pop(name, None)
            self._made[name] = (view.version, body, etag)
            while len(self._made) > _KEPT:
                self._made.pop(next(iter(self._made)))
        return body, etag


def answer(request: Request, view: View, body: bytes, *, etag: str, now_ms: int) -> Response:
    """The document, or nothing where the browser has it already. When Kafka was last heard goes
    along in a header, since it changes all the time."""
    headers = {
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "X-Streamer-Now": str(now_ms),
        "X-Streamer-Heard": str(view.heard_ms),
    }
    known = request.headers.get("if-none-match", "")
    if etag in (one.strip().removeprefix("W/") for one in known.split(",")):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
