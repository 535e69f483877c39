"""What a local Airflow is told by its environment: a directory of its own, loopback, few processes.

Airflow's own variables of the calling shell are left out, except for connections and for what DAGs
of Streamer are told: one that names another database would have this Airflow migrate that one.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from streamer.errors import SandboxError

__all__ = ["ROOT", "USERS", "Secrets", "environment", "secrets_of"]

ROOT = Path(__file__).parents[2]
# Name and role: the second one may look at everything and change nothing.
USERS: Mapping[str, str] = {"admin": "admin", "viewer": "viewer"}
_PASSED_ON = ("AIRFLOW_CONN_", "AIRFLOW__STREAMER__")
_PROCESSES = 4


class Secrets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Made once for a directory: stored connections can be read with the same key alone."""

    jwt: str
    session: str
    fernet: str
    passwords: dict[str, str]


def secrets_of(home: Path) -> Secrets:
    """Those of the directory, made where it has none. Raises SandboxError for a damaged file."""
    path = home / "secrets.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Secrets)
    except FileNotFoundError:
        made = Secrets(
            jwt=secrets.token_hex(64),
            session=secrets.token_hex(32),
            fernet=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            passwords={name: secrets.token_urlsafe(12) for name in USERS},
        )
    except msgspec.DecodeError as error:
        raise SandboxError(
            f"cannot read {path}: {error}",
            hint="restore that file; without it stored connections cannot be read. Removing the"
            " directory begins anew, without them",
        ) from error
    _write_private(path, msgspec.json.encode(made))
    return made


def environment(
    home: Path,
    port: int,
    secret: Secrets,
    *,
    base: Mapping[str, str] = os.environ,
    settings: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The variables of all of its processes. `settings` are further ones of Airflow as
    `section.option`, and win. Writes the passwords where Airflow reads them."""
    passwords = home / "passwords.json"
    _write_private(passwords, json.dumps(secret.passwords).encode())
    url = f"http://127.0.0.1:{port}"
    given = {
        "core.dags_folder": str(ROOT / "dags"),
        "core.plugins_folder": str(ROOT / "plugins"),
        "core.load_examples": "False",
        "core.executor": "LocalExecutor",
        "core.parallelism": str(_PROCESSES),
        "core.execution_api_server_url": f"{url}/execution/",
        "core.fernet_key": secret.fernet,
        "core.simple_auth_manager_users": ",".join(f"{n}:{role}" for n, role in USERS.items()),
        "core.simple_auth_manager_passwords_file": str(passwords),
        # The button that tries a connection; by default Airflow refuses.
        "core.test_connection": "Enabled",
        # The default asks a name server, which may take seconds to say nothing.
        "core.hostname_callable": "socket.gethostname",
        "database.sql_alchemy_conn": f"sqlite:///{home / 'airflow.db'}",
        "database.load_default_connections": "False",
        "api.host": "127.0.0.1",
        "api.port": str(port),
        "api.base_url": url,
        "api.workers": "1",
        "api.secret_key": secret.session,
        "api_auth.jwt_secret": secret.jwt,
        "logging.base_log_folder": str(home / "logs"),
        "dag_processor.parsing_processes": "1",
        # Reading all of them is seconds of a CPU, by default each half minute; nobody changes them.
        "dag_processor.min_file_process_interval": "300",
        # A task whose process is gone is tried again after a minute, not after five.
        "scheduler.task_instance_heartbeat_timeout": "60",
        **(settings or {}),
    }
    kept = {
        name: value
        for name, value in base.items()
        if not name.startswith("AIRFLOW") or name.startswith(_PASSED_ON)
    }
    # Airflow's processes talk to each other over HTTP, and no proxy reaches loopback.
    around = ",".join(filter(None, [base.get("NO_PROXY", ""), "127.0.0.1", "localhost"]))
    return {
        **kept,
        **{f"AIRFLOW__{_variable(name)}": value for name, value in given.items()},
        "AIRFLOW_HOME": str(home),
        "NO_PROXY": around,
        "no_proxy": around,
    }


def _variable(name: str) -> str:
    section, _, option = name.partition(".")
    return f"{section}__{option}".upper()


def _write_private(path: Path, content: bytes) -> None:
    """Readable for this user alone, from its first byte on."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
