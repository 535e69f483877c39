"""Airflow's REST API, as far as it is needed here: one user, tokens, JSON."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any
from urllib.error import HTTPError, URLError

__all__ = ["Api", "ApiError"]

_UNAUTHORIZED = 401
# No proxy of the environment reaches loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ApiError(Exception):
    """An answer that is none of success; `status` is 0 where nobody answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The API as one user sees it. Without a password: as anybody sees it. Raises ApiError.

    Paths are those below `/api/v2`, such as `/dags`; times are seconds.
    """

    def __init__(self, url: str, user: str = "", password: str = "", *, timeout_s: float = 30.0):
        self.url = url
        self._user = user
        self._password = password
        self._timeout_s = timeout_s
        self._token = ""

    def get(self, path: str, **query: object) -> Any:
        """`query` takes the API's names; a list repeats its name."""
        asked = urllib.parse.urlencode(query, doseq=True)
        return self._ask("GET", f"/api/v2{path}" + (f"?{asked}" if asked else ""), None)

    def post(self, path: str, body: object) -> Any:
        return self._ask("POST", f"/api/v2{path}", body)

    def patch(self, path: str, body: object) -> Any:
        return self._ask("PATCH", f"/api/v2{path}", body)

    def page(self, path: str) -> bytes:
        """Anything below the address itself, such as `/streamer/`, as it is."""
        return self._send("GET", path, None)

    def health(self) -> dict[str, str]:
        """`healthy` or not by part; empty while nobody answers."""
        try:
            found = self._open("GET", "/api/v2/monitor/health", None)
            return {name: str(part["status"]) for name, part in json.loads(found).items()}
        except (ApiError, ValueError, KeyError, TypeError):
            return {}

    def _ask(self, method: str, path: str, body: object) -> Any:
        answer = self._send(method, path, body)
        return json.loads(answer) if answer else None

    def _send(self, method: str, path: str, body: object) -> bytes:
        try:
            return self._open(method, path, body)
        except ApiError as error:
            if error.status != _UNAUTHORIZED or not self._password:
                raise
        # The first request, or a token that is too old by now.
        login = {"username": self._user, "password": self._password}
        self._token = ""
        self._token = json.loads(self._open("POST", "/auth/token", login))["access_token"]
        return self._open(method, path, body)

    def _open(self, method: str, path: str, body: object) -> bytes:
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Accept", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with _OPENER.open(request, timeout=self._timeout_s) as answer:
                content: bytes = answer.read()
                return content
        except HTTPError as error:
            with error:
                raise ApiError(error.code, f"{method} {path}: {_told(error)}") from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ApiError(0, f"{method} {self.url}{path}: {reason}") from None


def _told(error: HTTPError) -> str:
    """What the API says of it; its answers to bad requests are JSON."""
    text = error.read().decode("utf-8", "replace")
    try:
        detail = json.loads(text)["detail"]
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {text[:500]}"
    return f"{error.code} {detail if isinstance(detail, str) else json.dumps(detail)}"
