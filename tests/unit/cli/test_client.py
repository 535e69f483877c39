from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from streamer.cli.client import NoAnswerError, address_of, ask, path
from streamer.cli.main import main
from streamer.errors import ConfigError, UsageError


class _Echo(BaseHTTPRequestHandler):
    """Answers with the request, or with the status that it asks for."""

    def do_GET(self) -> None:
        status = int(self.path[7:10]) if self.path.startswith("/error/") else 200
        body = {"path": self.path} if status == 200 else {"error": "no", "hint": "do this"}
        text = json.dumps(body).encode() if status != 599 else b"<html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_arguments: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_path_and_parameters_hold_any_character(address: str) -> None:
    found = ask(address, path("stores", "a b", "ü/?"), {"prefix": "x&y", "to": None, "limit": 5})
    assert found == {"path": "/stores/a%20b/%C3%BC%2F%3F?prefix=x%26y&limit=5"}


@pytest.mark.parametrize(
    ("status", "kind"), [(400, UsageError), (404, NoAnswerError), (503, NoAnswerError)]
)
def test_errors_are_worded_by_the_worker(address: str, status: int, kind: type) -> None:
    with pytest.raises(kind, match=r"^no$") as caught:
        ask(address, f"/error/{status}")
    assert caught.value.hint == "do this"


def test_what_is_no_worker_is_said_to_be_none(address: str) -> None:
    with pytest.raises(NoAnswerError, match="not JSON"):
        ask(address, "/error/599")
    with pytest.raises(NoAnswerError, match=r"worker 127\.0\.0\.1:9 does not answer"):
        ask("127.0.0.1:9", "/")


@pytest.mark.parametrize("url", ["http://host:80", "host:80", "http://host:80/"])
def test_an_address_is_taken_with_or_without_its_scheme(url: str) -> None:
    assert address_of(url) == "host:80"


WRONG = ("http://foo:bar", "http://[::1", "foo:99999", "foo:0", "http://::1]:80")


@pytest.mark.parametrize("url", [*("https://host:80", "http://host/stores", "", "ftp://x"), *WRONG])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        address_of(url)
    assert caught.value.message == f"--url {url}: this is not the address of a worker"


def test_a_name_that_no_host_can_have_does_not_answer() -> None:
    with pytest.raises(NoAnswerError, match=r"worker a\.\.b:80 does not answer"):
        ask("a..b:80", "/")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query", "totals", "ann", "--prefix", "a"], "a key and --prefix"),
        (["query", "totals", "--range", "a", "b", "--prefix", "a"], "--prefix and --range"),
        (["query", "totals", "ann"], "it is not known which application to ask"),
        (["show", "tasks"], "it is not known which application to ask"),
        (["query", "totals", "ann", "--url", "https://x"], "not the address of a worker"),
        (["query", "totals", "ann", "--url", "http://foo:bar"], "--url http://foo:bar: this is"),
        (["query", "totals", "ann", "--url", "http://[::1"], "--url http://[::1: this is not"),
    ],
)
def test_what_cannot_be_asked_ends_with_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("STREAMER_APP", raising=False)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
