"""The addresses that a worker serves, and who answers each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from streamer import metrics
from streamer.errors import StreamerError
from streamer.http.answers import Answer, QueryError, answer_of, json_answer
from streamer.http.forward import Forwarder
from streamer.http.queries import Queries
from streamer.http.requests import Request
from streamer.http.serving import Serving
from streamer.http.turns import Turns

__all__ = ["Routes"]

_log = logging.getLogger(__name__)


class _Route(NamedTuple):
    name: str
    answer: Callable[[Request], Answer]


class Routes:
    """Answers any request, and counts it; never raises."""

    def __init__(
        self, serving: Serving, turns: Turns, forwarder: Forwarder, *, registry: Mapping[str, Any]
    ) -> None:
        self._serving = serving
        queries = Queries(serving, turns, forwarder, registry=registry)
        self._routes: dict[str, dict[str, Callable[[Request], Answer]]] = {
            "/": {"GET": self._index},
            "/healthz": {"GET": self._live},
            "/readyz": {"GET": self._ready},
            "/metrics": {"GET": self._metrics},
            "/tasks": {"GET": self._tasks},
            "/stores": {"GET": queries.stores},
            "/stores/{store}": {"GET": queries.range, "POST": queries.many},
            "/stores/{store}/{key}": {"GET": queries.one},
        }

    def answer(self, method: str, target: str, *, body: bytes, forwarded: str | None) -> Answer:
        """The answer to a request; HEAD is answered like GET. `forwarded` is the header that a
        worker sets which asks another."""
        began = time.perf_counter()
        name = "other"
        try:
            request = Request.parse(
                "GET" if method == "HEAD" else method,
                target,
                body=body,
                forwarded=forwarded,
            )
            name, respond = self._find(request)
            answer = respond(request)
        except StreamerError as error:
            answer = answer_of(error)
        except Exception:
            _log.exception("answering %s %s failed", method, name)
            answer = answer_of(
                QueryError(500, "the request could not be answered", hint="see the worker's log")
            )
        metrics.http_requests.labels(name, str(answer.status)).inc()
        if "Streamer-Role" in answer.headers:
            metrics.http_standby_answers.labels(name).inc()
        metrics.http_seconds.labels(name).observe(time.perf_counter() - began)
        return answer

    def _find(self, request: Request) -> _Route:
        name = _name(request.parts)
        methods = self._routes.get(name)
        if methods is None:
            known = ", ".join(self._routes)
            shown = request.target.partition("?")[0]
            raise QueryError(404, f"there is nothing at {shown}", hint=f"known: {known}")
        respond = methods.get(request.method)
        if respond is None:
            possible = ", ".join(methods)
            raise QueryError(405, f"{name} does not take {request.method}", hint=f"use {possible}")
        return _Route(name, respond)

    def _index(self, request: Request) -> Answer:
        request.expect(())
        return json_answer(
            {
                "application": self._serving.topology.application_id,
                "routes": [
                    f"{method} {name}"
                    for name, methods in self._routes.items()
                    for method in methods
                ],
            }
        )

    def _live(self, _request: Request) -> Answer:
        health = self._serving.health()
        body = {"is_live": health.is_live, "reasons": [] if health.is_live else health.reasons}
        return json_answer(body, 200 if health.is_live else 503)

    def _ready(self, _request: Request) -> Answer:
        health = self._serving.health()
        is_ready = health.is_live and health.is_ready
        return json_answer(
            {"is_ready": is_ready, "reasons": health.reasons}, 200 if is_ready else 503
        )

    def _tasks(self, request: Request) -> Answer:
        request.expect(())
        details = self._serving.health().details
        tasks = sorted(self._serving.tasks(), key=lambda one: one.task)
        copies = {str(one.task): {"lag_records": one.behind} for one in tasks if one.is_standby}
        return json_answer(details | ({"standbys": copies} if copies else {}))

    def _metrics(self, _request: Request) -> Answer:
        return Answer(200, metrics.expose(), metrics.CONTENT_TYPE)


def _name(parts: tuple[bytes, ...]) -> str:
    """The route of a path, whether or not there is one."""
    if parts[0] != b"stores":
        return "/" + b"/".join(parts).decode("utf-8", "replace")
    if len(parts) == 1 or (len(parts) == 2 and not parts[1]):
        return "/stores"
    return "/stores/{store}" if len(parts) == 2 else "/stores/{store}/{key}"
