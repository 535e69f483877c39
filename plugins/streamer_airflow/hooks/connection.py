"""From a connection to the settings of Streamer, and which of its values are secrets.

    host      brokers, host:port, separated by commas
    login     SASL user name
    password  SASL password
    extra     the other fields of its form, which streamer_airflow.fields has

Nothing of the host's own is read, neither `streamer.toml` nor STREAMER_ variables: a task does the
same on every worker of Airflow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from streamer.config import Config, resolve
from streamer.errors import ConfigError
from streamer.kafka.secrets import is_secret
from streamer.kafka.settings import check
from streamer_airflow.fields import FIELDS, setting_fields

__all__ = ["Described", "config_of", "keywords_of", "secrets_of"]

# Where there is no file of settings, whatever directory a task runs in.
_NOWHERE = Path("/nonexistent")


class Described(Protocol):
    """What is used of a connection: Airflow has two classes of it."""

    @property
    def conn_id(self) -> str: ...

    @property
    def host(self) -> str | None: ...

    @property
    def login(self) -> str | None: ...

    @property
    def password(self) -> str | None: ...

    @property
    def extra_dejson(self) -> dict[str, Any]: ...


def config_of(connection: Described) -> Config:
    """Raises ConfigError, by the name of the connection, for what is missing, unknown or wrong."""
    application, keywords = keywords_of(connection)
    try:
        config = resolve(application, keywords=keywords, environment={}, directory=_NOWHERE).config
        check(config)
    except ConfigError as error:
        where = f"connection {connection.conn_id}"
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error
    return config


def keywords_of(connection: Described) -> tuple[str, dict[str, Any]]:
    """The application, and its settings as they are given. Raises as `config_of`."""
    where = f"connection {connection.conn_id}"
    given = connection.extra_dejson.items()
    extra = {name: value for name, value in given if value not in ("", None)}
    if unknown := sorted(extra.keys() - FIELDS.keys()):
        raise ConfigError(
            f"{where}: extra has {', '.join(unknown)}, which is none of its fields",
            hint=f"fields are {', '.join(sorted(FIELDS))}; any other setting stands in `settings`",
        )
    application = str(extra.get("application", ""))
    for name, value in (("application", application), ("bootstrap servers", connection.host)):
        if not value:
            raise ConfigError(
                f"{where}: it has no {name}", hint="edit the connection: Admin, Connections"
            )
    keywords = _settings(extra.get("settings"), where)
    if secret := [name for name, _value in _named(keywords) if is_secret(name)]:
        raise ConfigError(
            f"{where}: settings has {', '.join(sorted(secret))}, which all can read who may see"
            " connections",
            hint="move it to secret settings, which are shown to nobody",
        )
    hidden = _settings(extra.get("secret_settings"), where)
    keywords |= hidden | {"kafka": {**keywords.get("kafka", {}), **hidden.get("kafka", {})}}
    keywords["bootstrap_servers"] = connection.host
    keywords |= {name: extra[field] for name, field in setting_fields().items() if field in extra}
    kafka = dict(keywords.get("kafka", {}))
    named = {name: field for name, field in FIELDS.items() if field.kafka and name in extra}
    kafka |= {field.kafka[0]: str(extra[name]) for name, field in named.items()}
    if connection.login:
        kafka |= {"sasl.username": connection.login, "sasl.password": connection.password or ""}
    return application, keywords | {"kafka": kafka}


def secrets_of(connection: Described) -> list[str]:
    """The values that no log may show."""
    extra = connection.extra_dejson
    found = [connection.password]
    found += [extra.get(name) for name, field in FIELDS.items() if field.is_secret]
    for each in ("settings", "secret_settings"):
        try:
            named = _named(_settings(extra.get(each), ""))
        except ConfigError:
            continue
        # A number or a flag stands in many a line of a log.
        is_hidden = each == "secret_settings"
        found += [v for name, v in named if is_secret(name) or (is_hidden and isinstance(v, str))]
    return [str(value) for value in found if value]


def _named(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """All of them, those of Kafka's clients included."""
    kafka = settings.get("kafka")
    others = [(name, value) for name, value in settings.items() if name != "kafka"]
    return others + (list(kafka.items()) if isinstance(kafka, Mapping) else [])


def _settings(given: object, where: str) -> dict[str, Any]:
    """The form gives text, an environment variable may give a table."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise ConfigError(
                f"{where}: settings is not JSON: {error}",
                hint='write an object, such as {"trim_snapshots_min": 3}',
            ) from error
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ConfigError(
            f"{where}: settings is no object of JSON",
            hint='write names and values, such as {"trim_snapshots_min": 3}',
        )
    return dict(given)
