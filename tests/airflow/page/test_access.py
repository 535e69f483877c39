"""Who may look and who may act, asked of Airflow's own app with its own users and tokens."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Mount
from starlette.testclient import TestClient

from streamer.errors import OperationRefusedError
from streamer.overview.fleet import Fleet
from streamer.overview.follow import View
from tests.airflow.page.server import PLUGINS, ROOT
from tests.thorough import thorough
from tests.unit.overview.fleets import NOW_MS, fleet_of
from tests.unit.overview.records import operation

CANCEL = "/streamer/api/shop/operation/trim-1/cancel"
ACTION = {"X-Streamer-Action": "cancel"}
KINDS = {"ann": "admin", "uli": "user", "vic": "viewer"}


class Looks:
    """In place of readers: what was asked for, and nothing of Kafka."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def view(self, conn_id: str) -> View:
        self.asked.append(conn_id)
        return View(version=1, fleet=Fleet(fleet_of({"az=1": 2}).seen()), heard_ms=NOW_MS)

    def close(self) -> None:
        pass


@dataclass
class Page:
    client: TestClient
    mounted: FastAPI
    tokens: dict[str, str]
    looks: Looks = field(default_factory=Looks)

    def get(self, path: str, user: str = "", **headers: str) -> Any:
        return self.client.get(path, headers={**self.bearer(user), **headers})

    def bearer(self, user: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[user]}"} if user else {}


class Ids:
    def ids(self) -> list[str]:
        return ["shop"]


@pytest.fixture(scope="module")
def app() -> Iterator[Any]:
    """Airflow's, with its database, its auth manager and the plugins of this repository."""
    from airflow.utils import db

    db.initdb()
    from airflow.api_fastapi.app import create_app

    yield create_app(apps="core")
    from airflow.api_fastapi.app import purge_cached_app

    purge_cached_app()


@pytest.fixture
def page(app: Any) -> Iterator[Page]:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    (mounted,) = [
        route.app for route in app.routes if isinstance(route, Mount) and route.path == "/streamer"
    ]
    assert isinstance(mounted, FastAPI)
    before = mounted.state.readers, mounted.state.connections
    tokens = {
        name: get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role))
        for name, role in KINDS.items()
    }
    made = Page(TestClient(app), mounted, tokens)
    mounted.state.readers, mounted.state.connections = made.looks, Ids()
    yield made
    mounted.state.readers, mounted.state.connections = before


def places(mounted: FastAPI) -> list[tuple[str, str]]:
    """All methods and paths, with something in the place of each name."""
    return [
        (method, "/streamer" + re.sub(r"\{[^}]+\}", "shop", route.path))
        for route in mounted.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    ]


def test_without_a_log_in_nothing_is_told(page: Page) -> None:
    found = places(page.mounted)
    assert len(found) > 10
    more = ["/streamer/openapi.json", "/streamer/docs", "/streamer/static/streamer.js", CANCEL]
    for method, path in [*found, *(("GET", path) for path in more)]:
        answer = page.client.request(method, path, headers=ACTION)
        assert answer.status_code == 401, f"{method} {path}"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert page.looks.asked == []


def test_every_route_is_one_of_fastapi_and_runs_in_a_thread(page: Page) -> None:
    # Mounts and plain routes would be open to everybody; coroutines would stop the whole server.
    assert all(isinstance(route, APIRoute) for route in page.mounted.routes)
    for route in page.mounted.routes:
        assert isinstance(route, APIRoute)
        assert not inspect.iscoroutinefunction(route.endpoint), route.path


def test_a_token_that_is_none_opens_nothing(page: Page) -> None:
    answer = page.client.get("/streamer/", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 403
    expired = page.tokens["ann"][:-3] + "abc"
    answer = page.client.get("/streamer/", headers={"Authorization": f"Bearer {expired}"})
    assert answer.status_code == 403


@pytest.mark.parametrize("user", KINDS)
def test_whoever_has_logged_in_may_look(page: Page, user: str) -> None:
    assert "<title>Streamer</title>" in page.get("/streamer/", user).text
    assert (
        page.get("/streamer/static/streamer.css", user)
        .headers["content-type"]
        .startswith("text/css")
    )
    state = page.get("/streamer/api/shop/state", user)
    assert (state.status_code, state.json()["totals"]["workers"]) == (200, 2)
    told = page.get("/streamer/api/connections", user).json()
    assert told == {"connections": ["shop"], "may_act": user != "vic"}


def test_the_cookie_of_the_ui_is_a_log_in(page: Page) -> None:
    page.client.cookies.set("_token", page.tokens["vic"])
    assert page.client.get("/streamer/").status_code == 200


def test_what_has_not_changed_is_not_sent_again(page: Page) -> None:
    first = page.get("/streamer/api/shop/state", "vic")
    again = page.get("/streamer/api/shop/state", "vic", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["X-Streamer-Heard"] == str(NOW_MS)
    assert again.headers["ETag"] == first.headers["ETag"]
    other = page.get("/streamer/api/shop/state", "vic", **{"If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/streamer/api/other/state", 404, "there is no connection 'other'"),
        ("/streamer/api/shop/worker/w9", 404, "worker w9 is not known"),
        ("/streamer/api/shop/task/x", 400, "is not a task id"),
        ("/streamer/static/app.py", 404, "there is no such file"),
        ("/streamer/static/..%2Fapp.py", 404, "there is no such page"),
        ("/streamer/nothing", 404, "there is no such page"),
    ],
)
def test_what_is_not_there_says_so(page: Page, path: str, status: int, said: str) -> None:
    answer = page.get(path, "ann")
    assert answer.status_code == status
    assert said in answer.text


def test_a_connection_of_another_kind_is_not_opened(page: Page) -> None:
    page.get("/streamer/api/other/state", "ann")
    assert page.looks.asked == []


# -- acting ------------------------------------------------------------------------------------


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What was asked for, in place of asking for it in Kafka."""
    from streamer_airflow.web import acting

    asked: list[tuple[str, str, str]] = []

    def cancel(conn_id: str, name: str, *, why: str, now_ms: int) -> Any:
        assert now_ms > 0
        asked.append((conn_id, name, why))
        return operation(name)

    monkeypatch.setattr(acting, "cancel", cancel)
    return asked


@pytest.mark.parametrize("user", ["ann", "uli"])
def test_whoever_may_edit_dags_may_cancel(
    page: Page, cancelled: list[tuple[str, str, str]], user: str
) -> None:
    headers = {**page.bearer(user), **ACTION}
    answer = page.client.post(CANCEL, headers=headers, json={"why": "the wrong one"})
    assert (answer.status_code, answer.json()) == (202, {"id": "trim-1", "state": "running"})
    assert cancelled == [("shop", "trim-1", f"the wrong one, by {user} on the page in Airflow")]


def test_a_viewer_may_not(page: Page, cancelled: list[tuple[str, str, str]]) -> None:
    headers = {**page.bearer("vic"), **ACTION}
    for more in ("", "?dag_id=one_of_mine"):
        answer = page.client.post(CANCEL + more, headers=headers, json={})
        assert answer.status_code == 403
        assert "you may look, and not act" in answer.text
    assert cancelled == []


def test_a_form_of_another_site_may_not(page: Page, cancelled: list[tuple[str, str, str]]) -> None:
    page.client.cookies.set("_token", page.tokens["ann"])
    assert page.client.post(CANCEL, json={}).status_code == 403
    assert page.client.post(CANCEL, data={"why": "x"}).status_code in (403, 422)
    assert cancelled == []
    # With the header, the cookie will do: that is how the page asks.
    assert page.client.post(CANCEL, json={}, headers=ACTION).status_code == 202


def test_a_refusal_says_what_to_do(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamer_airflow.web import acting

    def refuse(*_given: Any, **_more: Any) -> Any:
        raise OperationRefusedError("there is no way back", hint="finish it")

    monkeypatch.setattr(acting, "cancel", refuse)
    answer = page.client.post(CANCEL, headers={**page.bearer("ann"), **ACTION}, json={})
    assert answer.status_code == 409
    assert answer.json() == {"message": "there is no way back", "hint": "finish it"}


def test_security_of_airflow_is_imported_in_one_file() -> None:
    from tests.airflow.page.server import PLUGINS

    web = PLUGINS / "streamer_airflow" / "web"
    importing = [
        file.name for file in web.glob("*.py") if "airflow.api_fastapi" in file.read_text()
    ]
    assert importing == ["access.py"]


def test_connections_are_those_of_the_database_and_of_the_environment(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    from streamer_airflow.web.connections import Listing

    with create_session() as session:
        session.add(Connection(conn_id="of_database", conn_type="streamer", host="k1:9092"))
        session.add(Connection(conn_id="of_others", conn_type="http", host="h"))
    monkeypatch.setenv("AIRFLOW_CONN_OF_SHELL", '{"conn_type": "streamer", "host": "k1:9092"}')
    monkeypatch.setenv("AIRFLOW_CONN_OTHERS", '{"conn_type": "http", "host": "h"}')
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", "{")
    monkeypatch.setenv("AIRFLOW__STREAMER__CONNECTIONS", "of_shell, nowhere")
    try:
        assert Listing().found() == ["of_database", "of_shell"]
    finally:
        with create_session() as session:
            for one in ("of_database", "of_others"):
                session.query(Connection).filter(Connection.conn_id == one).delete()


@thorough
def test_the_roles_of_fab_may_look_or_act_as_in_airflow_itself(tmp_path: Path) -> None:
    """The auth manager of an installation on many hosts; another process has it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.airflow.page.with_fab", str(tmp_path)],
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if "AIRFLOW" not in name},
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(PLUGINS)]),
        },
        capture_output=True,
        text=True,
        timeout=560,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    acts = {"page": 200, "state": 200, "may_act": True, "cancel": 409}
    looks = {"page": 200, "state": 200, "may_act": False, "cancel": 403}
    refused = {"page": 403, "state": 403, "may_act": None, "cancel": 403}
    assert json.loads(done.stdout.splitlines()[-1]) == {
        **dict.fromkeys(("Admin", "Op", "User"), acts),
        "Viewer": looks,
        "Public": refused,
        "nobody": dict.fromkeys(("page", "state", "cancel"), 401) | {"may_act": None},
    }
