"""The application that an Airflow conducts, as a connection of type `streamer` in its database.

In the database and not in a variable of the environment: so it is seen and changed in the UI, and
its password is encrypted there.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from demo.airflow.rest import Api, ApiError
from streamer.config import Config, settings
from streamer.kafka.secrets import is_secret
from streamer_airflow.fields import kafka_fields, setting_fields

__all__ = ["CONNECTION", "as_variable", "body", "check", "store"]

CONNECTION = "streamer_default"
_CONFLICT = 409
_SERVER_ERROR = 500
_AGAIN_S = (0.5, 2.0, 5.0)
_LOGIN, _PASSWORD = "sasl.username", "sasl.password"
# What workers alone read is of no use there.
_OF_MAINTENANCE = ("snapshot_", "trim_")


def body(config: Config, connection: str = CONNECTION) -> dict[str, Any]:
    """What the REST API takes for it: all that somebody has set, in the fields of the form."""
    kafka = {str(name): value for name, value in config.kafka.items()}
    login, password = kafka.pop(_LOGIN, None), kafka.pop(_PASSWORD, None)
    extra: dict[str, Any] = {"application": config.application_id}
    known = kafka_fields().items()
    extra |= {field: str(kafka.pop(name)) for name, field in known if name in kafka}
    hidden = {name: kafka.pop(name) for name in [*kafka] if is_secret(name)}
    others: dict[str, Any] = {"kafka": kafka} if kafka else {}
    secret: dict[str, Any] = {"kafka": hidden} if hidden else {}
    fields = setting_fields()
    for declared in settings():
        name, value = declared.name, getattr(config, declared.name)
        if not name.startswith(_OF_MAINTENANCE) or value == declared.default:
            continue
        if name in fields:
            extra[fields[name]] = str(value)
        else:
            chosen = secret if is_secret(name) else others
            chosen[name] = str(value) if isinstance(value, Path) else value
    if others:
        extra["settings"] = json.dumps(others)
    if secret:
        extra["secret_settings"] = json.dumps(secret)
    return {
        "connection_id": connection,
        "conn_type": "streamer",
        "host": config.bootstrap_servers,
        "login": login,
        "password": password,
        "extra": json.dumps(extra),
    }


def as_variable(wanted: dict[str, Any]) -> dict[str, str]:
    """The same as a variable of the environment, for a process that has no database."""
    named = {name: value for name, value in wanted.items() if value is not None}
    name = named.pop("connection_id")
    named["extra"] = json.loads(named["extra"])
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(named)}


def store(api: Api, wanted: dict[str, Any]) -> bool:
    """Make it, or have the one that is there lead to the same application; whether it was changed.

    One that does already stays as it is, with whatever else was set in it. Raises ApiError.
    """
    name = wanted["connection_id"]
    try:
        _posted(api, wanted)
    except ApiError as error:
        if error.status != _CONFLICT:
            raise
        if _leads_to(api.get(f"/connections/{name}")) == _leads_to(wanted):
            return False
        api.patch(f"/connections/{name}", wanted)
    return True


def _posted(api: Api, wanted: dict[str, Any]) -> None:
    """SQLite is locked for a moment while scheduled runs begin, and then the API fails."""
    for wait_s in (*_AGAIN_S, None):
        try:
            api.post("/connections", wanted)
            return
        except ApiError as error:
            if error.status < _SERVER_ERROR or wait_s is None:
                raise
        time.sleep(wait_s)


def _leads_to(connection: dict[str, Any]) -> tuple[Any, ...]:
    extra = json.loads(connection["extra"] or "{}")
    return connection["host"], extra.get("application"), extra.get("repository")


def check(api: Api, wanted: dict[str, Any]) -> tuple[bool, str]:
    """What the button "Test" says of it."""
    found = api.post("/connections/test", wanted)
    return bool(found["status"]), str(found["message"])
