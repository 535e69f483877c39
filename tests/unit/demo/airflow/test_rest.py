"""The client logs in when it is asked to, and tells what the API says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from demo.airflow.rest import Api, ApiError


class Answers(BaseHTTPRequestHandler):
    """An API with one user, whose tokens are good for two requests."""

    asked: list[str]
    uses: int

    def do_GET(self) -> None:
        kind = type(self)
        kind.asked.append(f"GET {self.path}")
        if self.headers["Authorization"] != "Bearer good" or kind.uses == 0:
            self.answer(401, {"detail": "Not authenticated"})
        elif self.path == "/api/v2/missing":
            self.answer(404, {"detail": "there is no such thing"})
        else:
            kind.uses -= 1
            self.answer(200, {"path": self.path})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append(f"POST {self.path}")
        if body == {"username": "ann", "password": "right"}:
            type(self).uses = 2
            self.answer(201, {"access_token": "good"})
        else:
            self.answer(401, {"detail": "Invalid credentials"})

    def answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_given: Any) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Answers.asked, Answers.uses = [], 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_logs_in_when_it_has_to_and_not_more_often(url: str) -> None:
    api = Api(url, "ann", "right")
    for _ in range(4):
        assert api.get("/dags", limit=2) == {"path": "/api/v2/dags?limit=2"}
    assert Answers.asked.count("POST /auth/token") == 2


def test_a_wrong_password_is_told(url: str) -> None:
    with pytest.raises(ApiError, match="401 Invalid credentials") as refused:
        Api(url, "ann", "wrong").get("/dags")
    assert refused.value.status == 401


def test_nobody_logs_in_without_a_password(url: str) -> None:
    with pytest.raises(ApiError, match="401 Not authenticated"):
        Api(url).get("/dags")
    assert Answers.asked == ["GET /api/v2/dags"]


def test_an_error_is_told_with_what_was_asked(url: str) -> None:
    with pytest.raises(ApiError, match="GET /api/v2/missing: 404 there is no such thing"):
        Api(url, "ann", "right").get("/missing")


def test_nobody_there_is_an_error_of_its_own_and_no_health() -> None:
    api = Api("http://127.0.0.1:9", "ann", "right")
    with pytest.raises(ApiError) as failed:
        api.get("/dags")
    assert failed.value.status == 0
    assert api.health() == {}
