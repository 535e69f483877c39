"""The FastAPI app that Airflow's API server mounts at `/streamer`: the page, its data, its actions.

Everything in it needs a log-in that may look; whatever changes something needs the right to edit
DAGs and a header that no form can send. Routes are plain functions, which FastAPI runs in threads:
the event loop of the API server never waits for Kafka.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response, status
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from streamer.errors import ConfigError, InternalTopicError, OperationRefusedError, StreamerError
from streamer.overview.follow import View
from streamer_airflow.web import acting, documents
from streamer_airflow.web.access import Actor, Viewer, looks, may_act
from streamer_airflow.web.answers import Answers, answer
from streamer_airflow.web.connections import Connections
from streamer_airflow.web.documents import MissingError
from streamer_airflow.web.readers import Readers

__all__ = ["create", "router"]

_log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Nothing from anywhere else, nothing inline; only Airflow itself may show it in a frame.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_STATUS: dict[type[StreamerError], int] = {
    MissingError: status.HTTP_404_NOT_FOUND,
    ConfigError: status.HTTP_400_BAD_REQUEST,
    OperationRefusedError: status.HTTP_409_CONFLICT,
    InternalTopicError: status.HTTP_409_CONFLICT,
}

Name = Annotated[str, Query(max_length=500)]
Skip = Annotated[int, Query(ge=0, le=1_000_000)]

router = APIRouter(dependencies=[looks])


class Wish(BaseModel):
    """Why an operation is to be cancelled, for those who look later."""

    why: str = Field(default="", max_length=500)


def create(readers: Readers | None = None, connections: Connections | None = None) -> FastAPI:
    """The app. Readers begin when somebody looks, and end with the app."""
    kept = readers or Readers()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(kept.close)

    # Its own descriptions would be open to everybody: dependencies do not reach them.
    made = FastAPI(
        title="Streamer", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    made.state.readers = kept
    made.state.connections = connections or Connections()
    made.state.answers = Answers()
    made.include_router(router)
    made.add_exception_handler(StreamerError, _refused)
    made.middleware("http")(_guarded)
    return made


async def _guarded(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await call_next(request)
    for name, value in _HEADERS.items():
        response.headers[name] = value
    return response


async def _refused(_request: Request, error: Exception) -> Response:
    """Any error that Streamer raises on purpose, with what to do."""
    assert isinstance(error, StreamerError)
    code = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 503)
    return JSONResponse({"message": error.message, "hint": error.hint}, status_code=code)


# -- the page ----------------------------------------------------------------------------------


@router.get("/")
def page() -> FileResponse:
    return FileResponse(_STATIC / "index.html", headers={"Cache-Control": "private, no-cache"})


@router.get("/static/{name}")
def static(name: str) -> FileResponse:
    """The few files of the page. One by one, since a mount of them would be open to everybody."""
    files = {file.name: file for file in _STATIC.iterdir() if file.suffix in _KINDS}
    if name not in files:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "there is no such file")
    headers = {"Cache-Control": "private, no-cache"}
    return FileResponse(files[name], media_type=_KINDS[files[name].suffix], headers=headers)


# -- what is seen ------------------------------------------------------------------------------


@router.get("/api/connections")
def connections(request: Request, user: Viewer) -> dict[str, Any]:
    """Which applications can be looked at, and whether this user may act."""
    return {"connections": request.app.state.connections.ids(), "may_act": may_act(user)}


@router.get("/api/{connection}/state")
def state(request: Request, connection: str) -> Response:
    return _given(request, connection, "state", make=documents.state)


@router.get("/api/{connection}/zone")
def zone(request: Request, connection: str, *, zone: Name = "", skip: Skip = 0) -> Response:
    return _given(
        request,
        connection,
        "zone",
        zone,
        str(skip),
        make=lambda view: documents.zone(view, zone, skip),
    )


@router.get("/api/{connection}/worker/{worker}")
def worker(request: Request, connection: str, worker: str) -> Response:
    return _given(
        request, connection, "worker", worker, make=lambda view: documents.worker(view, worker)
    )


@router.get("/api/{connection}/task/{task}")
def task(request: Request, connection: str, task: str) -> Response:
    return _given(request, connection, "task", task, make=lambda view: documents.task(view, task))


@router.get("/api/{connection}/store/{store}")
def store(request: Request, connection: str, *, store: str, skip: Skip = 0) -> Response:
    return _given(
        request,
        connection,
        "store",
        store,
        str(skip),
        make=lambda view: documents.store(view, store, skip),
    )


@router.get("/api/{connection}/operation/{operation}")
def operation(request: Request, connection: str, operation: str) -> Response:
    return _given(
        request,
        connection,
        "operation",
        operation,
        make=lambda view: documents.operation(view, operation),
    )


def _given(request: Request, connection: str, *name: str, make: Callable[[View], Any]) -> Response:
    view = request.app.state.readers.view(_known(request, connection))
    make = documents.unread if view.fleet is None else make
    body, etag = request.app.state.answers.give(view, (connection, *name), make)
    return answer(request, view, body, etag=etag, now_ms=_now_ms())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _known(request: Request, connection: str) -> str:
    """A connection of Streamer's. Others are not opened for somebody who only gives a name."""
    if connection not in request.app.state.connections.ids():
        raise MissingError(
            f"there is no connection {connection!r} of the type Streamer",
            hint="make it under Admin, Connections; one of a secrets backend is named in"
            " [streamer] connections",
        )
    return connection


# -- what is changed ---------------------------------------------------------------------------


@router.post("/api/{connection}/operation/{operation}/cancel", status_code=202)
def cancel(
    request: Request, connection: str, *, operation: str, wish: Wish, user: Actor
) -> dict[str, str]:
    """Ask whoever carries it out to stop, and to take back what was done. Nothing is taken back
    here: where nobody carries it out, it is refused with what to do."""
    why = ", ".join(filter(None, (wish.why, f"by {user.get_name()} on the page in Airflow")))
    record = acting.cancel(_known(request, connection), operation, why=why, now_ms=_now_ms())
    _log.info("operation %s is to be cancelled: %s", operation, why)
    return {"id": record.id, "state": record.state}


@router.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def nothing(path: str) -> Response:
    """Here too: whoever has not logged in learns nothing of what there is."""
    raise HTTPException(status.HTTP_404_NOT_FOUND, "there is no such page")
