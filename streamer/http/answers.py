"""What the server answers: JSON, and for every error what is wrong and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from streamer.errors import StreamerError, TaskMigratedError

__all__ = ["JSON", "Answer", "QueryError", "answer_of", "json_answer", "plain", "refused"]

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


class QueryError(StreamerError):
    """A request that is not answered with data. `details` join the error's JSON object, `headers`
    the answer's.

    `retry_after_s` says that the same request may succeed after so many seconds.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        hint: str = "",
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.details = details or {}
        self.headers = headers or {}
        self.retry_after_s = retry_after_s


def plain(value: Any) -> Any:
    """What JSON shows for an object that msgspec does not know."""
    descriptor = getattr(value, "DESCRIPTOR", None)
    if descriptor is not None:
        from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

        return MessageToDict(value, preserving_proto_field_name=True)
    return vars(value) if hasattr(value, "__dict__") else str(value)


_encode = msgspec.json.Encoder(enc_hook=plain).encode


def json_answer(
    content: Any, status: int = 200, *, headers: dict[str, str] | None = None
) -> Answer:
    return Answer(status, _encode(content), headers=headers or {})


def refused(error: StreamerError) -> Answer:
    """The answer of a place that cannot answer now, so that another one may be asked. Raises the
    error when it would be the same everywhere."""
    if isinstance(error, QueryError) and error.status != 503:
        raise error
    return answer_of(error)


def answer_of(error: StreamerError) -> Answer:
    """The answer that tells an error."""
    if isinstance(error, TaskMigratedError):
        error = QueryError(503, error.message, hint=error.hint, retry_after_s=1)
    details: dict[str, Any] = {}
    headers: dict[str, str] = {}
    status = 500
    if isinstance(error, QueryError):
        status, details = error.status, error.details
        headers |= error.headers
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(error.retry_after_s)
    body = {"error": error.message, "hint": error.hint, **details}
    return Answer(status, _encode(body), headers=headers)
