"""Ask workers over HTTP: one request, its JSON, and errors as the worker words them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from streamer.errors import ConfigError, StreamerError, UsageError

__all__ = ["NoAnswerError", "address_of", "ask", "path"]

_TIMEOUT_SECONDS = 30.0
# A host that is gone says nothing at all.
_CONNECT_SECONDS = 5.0


class NoAnswerError(StreamerError):
    """The worker could not be reached, or it cannot answer this now. `status` is that of HTTP, None
    where nothing came."""

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


def address_of(url: str) -> str:
    """host:port of `http://host:port`, which may also be written without http://."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        is_address = parts.port != 0 and bool(parts.hostname) and parts.path in ("", "/")
    except ValueError:  # the port, or the brackets of an IPv6 address
        raise _no_address(url) from None
    if parts.scheme not in ("", "http") or not is_address:
        raise _no_address(url)
    return parts.netloc


def _no_address(url: str) -> ConfigError:
    return ConfigError(
        f"--url {url}: this is not the address of a worker",
        hint="write http://host:port, which the worker logs when it starts",
    )


def path(*parts: str | bytes) -> str:
    """A path of these parts, whatever characters they hold."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def ask(address: str, target: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """The JSON that a worker answers to GET. Raises UsageError for a request that is wrong,
    NoAnswerError for any other that is not answered with data."""
    # Loaded here, since it costs more time than any other part of `streamer --help`.
    import http.client

    query = urlencode({name: value for name, value in (parameters or {}).items() if value})
    connection = http.client.HTTPConnection(address, timeout=_CONNECT_SECONDS)
    try:
        connection.connect()
        connection.sock.settimeout(_TIMEOUT_SECONDS)
        connection.request("GET", f"{target}?{query}" if query else target)
        response = connection.getresponse()
        body = response.read()
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        raise NoAnswerError(
            f"worker {address} does not answer: {str(error) or type(error).__name__}",
            hint="`streamer show workers` tells which workers live, and their addresses",
        ) from error
    finally:
        connection.close()
    try:
        content = json.loads(body)
    except ValueError as error:
        raise NoAnswerError(
            f"{address} answers {target} with something that is not JSON",
            hint="is this the address of a worker?",
            status=response.status,
        ) from error
    if response.status != 200:
        message = content.get("error", f"{address} answered {response.status}")
        hint = content.get("hint", "")
        if response.status == 400:
            raise UsageError(message, hint=hint)
        raise NoAnswerError(message, hint=hint, status=response.status)
    return content
