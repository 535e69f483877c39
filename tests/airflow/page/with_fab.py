"""Who may do what on the page where Airflow has its FAB auth manager: prints it as JSON.

A program of its own, since a process has one auth manager: `python -m tests.airflow.page.with_fab`
in a home that is nobody else's. Users are in a database, one for each role of FAB's.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROLES = ("Admin", "Op", "User", "Viewer", "Public")
PLUGINS = Path(__file__).parents[3] / "plugins"


def settled(home: str) -> None:
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager"
        ".FabAuthManager",
        "AIRFLOW__API__SECRET_KEY": "page" * 16,
        "AIRFLOW__API_AUTH__JWT_SECRET": "page" * 20,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": f"{home}/logs",
    }


class Looks:
    def view(self, _conn_id: str) -> Any:
        from streamer.overview.fleet import Fleet
        from streamer.overview.follow import View
        from tests.unit.overview.fleets import NOW_MS, fleet_of

        return View(version=1, fleet=Fleet(fleet_of({"az=1": 2}).seen()), heard_ms=NOW_MS)

    def close(self) -> None:
        pass


class Ids:
    def ids(self) -> list[str]:
        return ["shop"]


def nobody_knows(*_given: Any, **_named: Any) -> Any:
    """What an application answers to whoever was let through: 409."""
    from streamer.errors import OperationRefusedError

    raise OperationRefusedError("there is no operation trim-1")


def main(home: str) -> None:
    settled(home)
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.providers.fab.www.app import create_app as create_flask_app
    from airflow.utils import db
    from starlette.routing import Mount
    from starlette.testclient import TestClient

    from streamer_airflow.web import acting

    db.initdb()
    app = create_app(apps="core")
    (page,) = [one.app for one in app.routes if isinstance(one, Mount) and one.path == "/streamer"]
    page.state.readers, page.state.connections = Looks(), Ids()
    acting.cancel = nobody_knows
    client = TestClient(app)
    found: dict[str, Any] = {}
    with create_flask_app(enable_plugins=False).app_context():
        manager = get_auth_manager()
        security = manager.security_manager
        for role in ROLES:
            name = role.lower()
            user = security.add_user(
                name, name, name, f"{name}@localhost", security.find_role(role), password=name
            )
            bearer = {"Authorization": f"Bearer {manager.generate_jwt(user)}"}
            found[role] = asked(client, bearer)
    found["nobody"] = asked(client, {})
    print(json.dumps(found))


def asked(client: Any, headers: dict[str, str]) -> dict[str, Any]:
    """What the page, its data and its one action answer."""
    listed = client.get("/streamer/api/connections", headers=headers)
    cancel = "/streamer/api/shop/operation/trim-1/cancel"
    acted = client.post(cancel, headers={**headers, "X-Streamer-Action": "cancel"}, json={})
    return {
        "page": client.get("/streamer/", headers=headers).status_code,
        "state": client.get("/streamer/api/shop/state", headers=headers).status_code,
        "may_act": listed.json().get("may_act"),
        "cancel": acted.status_code,
    }


if __name__ == "__main__":
    main(sys.argv[1])
