"""Airflow's API server alone, as a child process: real log-in, real plugins, SQLite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from streamer.closable import Closable
from streamer.sandbox.ports import free_ports

ROOT = Path(__file__).parents[3]
PLUGINS = ROOT / "plugins"
USERS = {"ann": "admin", "vic": "viewer"}
_START_S = 480.0


class Server(Closable):
    """`connections` are of the type streamer, by id: bootstrap servers, then what extra says."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps({name: name for name in USERS}))
        self._environment = {
            **{name: value for name, value in os.environ.items() if "AIRFLOW" not in name},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(map(":".join, USERS.items())),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": "page" * 16,
            "AIRFLOW__API_AUTH__JWT_SECRET": "page" * 20,
            "AIRFLOW__CORE__FERNET_KEY": "",
        }
        self._log = home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._run("db", "migrate").wait(_START_S)
            self._process = self._run("api-server")
            self._wait()
        except BaseException:
            self.close()
            raise

    def connect(self, conn_id: str, bootstrap_servers: str, **extra: str) -> None:
        """Make a connection, as a user would under Admin."""
        body = {
            "connection_id": conn_id,
            "conn_type": "streamer",
            "host": bootstrap_servers,
            "extra": json.dumps(extra),
        }
        self.ask("/api/v2/connections", token=self.token("ann"), body=body)

    def token(self, user: str) -> str:
        told = self.ask("/auth/token", body={"username": user, "password": user})
        return str(told["access_token"])

    def ask(self, path: str, *, token: str = "", body: Mapping[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.url + path, data, headers), timeout=120) as answer:
            return json.loads(answer.read())

    def status(self, path: str, *, token: str = "") -> int:
        try:
            self.ask(path, token=token)
        except HTTPError as error:
            return error.code
        return 200

    def tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-60:])

    def close(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(160)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(40)

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                cwd=ROOT,
                env=self._environment,
                stdout=file,
                stderr=file,
                # Its own group, so that its workers can be ended with it.
                start_new_session=True,
            )

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"the API server has ended:\n{self.tail()}"
            try:
                if self.ask("/api/v2/monitor/health")["metadatabase"]["status"] == "healthy":
                    return
            except (URLError, OSError):
                time.sleep(0.5)
        raise AssertionError(f"no API server after {_START_S} s:\n{self.tail()}")
