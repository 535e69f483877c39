"""docker-compose.yml without containers: its commands, variables and configuration files.

What differs: addresses are on loopback, directories are temporary, workers make snapshots at their
own priority, and there are no servers of logs, which would listen on every interface. PostgreSQL
and Redis are those of the system.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from glob import glob
from pathlib import Path
from typing import Any

import yaml

from demo.airflow import Api, leftovers
from streamer.sandbox.object_store import ObjectStore
from streamer.sandbox.object_store import missing as s3_missing
from streamer.sandbox.ports import free_ports
from streamer.sandbox.process import ServerProcess, tail

__all__ = ["PARTS", "Installation", "missing"]

ROOT = Path(__file__).parents[3]
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "worker-heavy")
WORKERS = ("worker-a", "worker-b")
_SERVES_LOGS = ("scheduler", "triggerer", "worker", "worker-heavy")
_VARIABLE = re.compile(r"\$\{(\w+)(?::\?[^}]*)?\}")
_START_S = 900.0


def missing() -> str:
    """Why the installation cannot be run here; empty where it can."""
    if _postgres() is None:
        return "no PostgreSQL server is installed (Debian: apt-get install postgresql)"
    if shutil.which("redis-server") is None:
        return "no Redis server is installed (Debian: apt-get install redis-server)"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and there is no setpriv to become another user"
    return s3_missing()


class Installation:
    """Everything of docker-compose.yml but Kafka, which `kafka` names, with secrets of its own."""

    def __init__(self, directory: Path, kafka: str) -> None:
        self._directory = directory
        self._services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
            "services"
        ]
        self._stack = ExitStack()
        self._processes: dict[str, ServerProcess] = {}
        self._postgres_port, self._redis_port, self._api_port, self._health_port = free_ports(4)
        self._s3 = ObjectStore(directory / "s3")
        self.secrets = self._make_secrets()
        self._places = {
            "kafka:9092": kafka,
            "@postgres:5432": f"@127.0.0.1:{self._postgres_port}",
            "@redis:6379": f"@127.0.0.1:{self._redis_port}",
            "http://airflow-api-server:8080": f"http://127.0.0.1:{self._api_port}",
        }

    @property
    def api(self) -> Api:
        """As the administrator of .env sees it."""
        secret = self.secrets
        return Api(self.url, secret["AIRFLOW_ADMIN"], secret["AIRFLOW_ADMIN_PASSWORD"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._api_port}"

    def start(self) -> None:
        """In the order in which the file has its services wait for each other."""
        for needed in (self._start_s3, self._start_postgres, self._start_redis, self._initialise):
            needed()
        for name in WORKERS:
            self._start_worker(name)
        for name in PARTS:
            self._start_part(name)
        deadline = time.monotonic() + _START_S
        while set(Api(self.url).health().values()) != {"healthy"}:
            self.check()
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.5)

    def check(self) -> None:
        ended = {name: one.exit_status for name, one in self._processes.items()}
        assert not any(status is not None for status in ended.values()), f"{ended}\n{self.logs()}"

    def logs(self) -> str:
        found = []
        for path in sorted(self._directory.glob("*.log")):
            found.append(f"--- {path.name}\n{tail(path, lines=15)}")
        return "\n".join(found)

    def stop(self) -> None:
        """The last first; and nothing is left."""
        for process in self._processes.values():
            if process.exit_status is None:
                process.send(signal.SIGTERM)
        for process in reversed(self._processes.values()):
            if process.exit_status is None:
                process.stop(15)
            leftovers.end(process.pid, 0)
        self._stack.close()

    # -- what the file says, at the addresses of here ------------------------------------------

    def environment(self, service: str) -> dict[str, str]:
        """The variables of a service."""
        given = self._services[service]["environment"]
        return {name: self._here(str(value)) for name, value in given.items()}

    def _command(self, service: str) -> list[str]:
        return [self._here(part) for part in self._services[service]["command"]]

    def _here(self, text: str) -> str:
        text = _VARIABLE.sub(lambda found: self.secrets[found[1]], text)
        for there, here in self._places.items():
            text = text.replace(there, here)
        return text

    def _make_secrets(self) -> dict[str, str]:
        target = self._directory / "env"
        command = [sys.executable, str(ROOT / "docker/make-env"), str(target)]
        subprocess.run(command, check=True, capture_output=True)
        lines = [line for line in target.read_text().splitlines() if line and line[0] != "#"]
        return dict(line.split("=", 1) for line in lines)

    # -- servers -------------------------------------------------------------------------------

    def _start_s3(self) -> None:
        self._s3.access_key = self.secrets["S3_ACCESS_KEY"]
        self._s3.secret_key = self.secrets["S3_SECRET_KEY"]
        self._s3.start()
        self._stack.callback(self._s3.stop)
        self._s3.make_bucket("snapshots")
        self._places["http://s3:7070"] = self._s3.endpoint

    def _start_postgres(self) -> None:
        binaries = _postgres()
        assert binaries is not None
        variables = self.environment("postgres")
        home = self._directory / "postgres"
        home.mkdir()
        shutil.copy(ROOT / "docker/postgres/postgresql.conf", home)
        (home / "password").write_text(variables["POSTGRES_PASSWORD"])
        as_user = _as_postgres(home)
        initdb = [str(binaries / "initdb"), "--auth", "scram-sha-256", "--pgdata", f"{home}/data"]
        initdb += ["--username", variables["POSTGRES_USER"], "--pwfile", f"{home}/password"]
        subprocess.run([*as_user, *initdb], check=True, capture_output=True, cwd=home)
        command = self._command("postgres")
        command[-1] = f"config_file={home}/postgresql.conf"
        ours = ["-D", f"{home}/data", "-p", str(self._postgres_port), "-k", str(home)]
        ours += ["-c", "listen_addresses=127.0.0.1"]
        self._run("postgres", [*as_user, str(binaries / command[0]), *command[1:], *ours])
        reach = ["--host", "127.0.0.1", "--port", str(self._postgres_port)]
        reach += ["--username", variables["POSTGRES_USER"]]
        self._wait("postgres", [str(binaries / "pg_isready"), *reach], {})
        password = {"PGPASSWORD": variables["POSTGRES_PASSWORD"]}
        createdb = [str(binaries / "createdb"), *reach, variables["POSTGRES_DB"]]
        subprocess.run(createdb, check=True, env={**os.environ, **password})

    def _start_redis(self) -> None:
        # What the image's own entry point does is to become another user.
        ours = f"--bind 127.0.0.1 --port {self._redis_port} --dir {self._directory}"
        *shell, script = self._command("redis")
        script = script.replace("docker-entrypoint.sh ", "").replace("$$", "$")
        script = script.replace("/etc/redis/redis.conf", f"{ROOT}/docker/redis/redis.conf {ours}")
        self._run("redis", [*shell, script], self.environment("redis"))
        ping = ["redis-cli", "-h", "127.0.0.1", "-p", str(self._redis_port), "ping"]
        self._wait("redis", ping, self.environment("redis"))

    # -- Streamer and Airflow ------------------------------------------------------------------

    def _start_worker(self, name: str) -> None:
        (port,) = free_ports(1)
        variables = self.environment(name) | {
            "STREAMER_HTTP_HOST": "127.0.0.1",
            "STREAMER_HTTP_PORT": str(port),
            "STREAMER_APPLICATION_SERVER": f"127.0.0.1:{port}",
            "STREAMER_STATE_DIR": str(self._directory / f"state-{name}"),
            "STREAMER_SNAPSHOT_EXPORT_DIR": str(self._directory / f"export-{name}"),
            # Of all that is on one host here, a snapshot would get what nobody else wants: nothing.
            "STREAMER_SNAPSHOT_NICENESS": "0",
        }
        # Keys of a host are files of its container.
        variables = {key: value for key, value in variables.items() if "_SSH_" not in key}
        command = [sys.executable, "-m", "streamer.cli.main", *self._command(name)]
        self._run(name, command, variables)

    def _airflow(self, service: str) -> dict[str, str]:
        home = self._directory / "airflow"
        home.mkdir(exist_ok=True)
        return self.environment(service) | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONFIG": str(ROOT / "docker/airflow/airflow.cfg"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self._api_port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self._health_port),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        }

    def _initialise(self) -> None:
        script = ROOT / "docker/airflow/init.sh"
        variables = _clean(os.environ) | self._airflow("airflow-init")
        with (self._directory / "init.log").open("wb") as output:
            done = subprocess.run(
                ["sh", str(script)],
                env=variables,
                stdout=output,
                stderr=output,
                timeout=_START_S,
                # As in a container: no terminal that could be asked for a password.
                start_new_session=True,
            )
        assert done.returncode == 0, self.logs()

    def _start_part(self, name: str) -> None:
        service = f"airflow-{name}"
        command = [sys.executable, "-m", "airflow", *self._command(service)]
        if name in _SERVES_LOGS:
            command.append("--skip-serve-logs")
        if name.startswith("worker"):
            # Both are on one host here: what is one to a container gets the name of its worker.
            command[command.index("--pid") + 1] = str(self._directory / f"{name}.pid")
            command += ["--celery-hostname", f"{name}@%h"]
        self._run(name, command, self._airflow(service))

    def _run(
        self, name: str, command: list[str], variables: Mapping[str, str] | None = None
    ) -> None:
        process = ServerProcess(
            [shutil.which(command[0]) or command[0], *command[1:]],
            log=self._directory / f"{name}.log",
            dies_with_parent=signal.SIGTERM,
            environment=_clean(os.environ) | dict(variables or {}),
        )
        process.start()
        self._processes[name] = process

    def _wait(self, name: str, command: list[str], variables: Mapping[str, str]) -> None:
        deadline = time.monotonic() + 120
        environment = {**os.environ, **variables}
        while subprocess.run(command, env=environment, capture_output=True).returncode != 0:
            self.check()
            assert time.monotonic() < deadline, f"{name} does not answer:\n{self.logs()}"
            time.sleep(0.2)


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(("AIRFLOW", "STREAMER_", "AWS_"))
    }


def _postgres() -> Path | None:
    """Where PostgreSQL's programs are, the newest of them; Debian keeps them out of the PATH."""
    places = sorted(glob("/usr/lib/postgresql/*/bin"), key=lambda place: int(place.split("/")[4]))
    if places and Path(places[-1], "postgres").exists():
        return Path(places[-1])
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found else None


def _as_postgres(home: Path) -> list[str]:
    """What a command begins with, so that it is not run by root: PostgreSQL refuses that."""
    if os.geteuid() != 0:
        return []
    names = {one.pw_name: one for one in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    for path in (home, *home.iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid)
    reuid = ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid)]
    return [*reuid, "--clear-groups", "--"]
