"""docker-compose.yml and what it mounts. No container engine runs where these tests do."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tidy.compose import CHECK_S, built
from tests.tidy.conftest import ROOT, listed

FILE = ROOT / "docker-compose.yml"
AIRFLOW = {
    "airflow-api-server": ["api-server"],
    "airflow-scheduler": ["scheduler"],
    "airflow-dag-processor": ["dag-processor"],
    "airflow-triggerer": ["triggerer"],
    "airflow-worker": ["celery", "worker"],
    "airflow-worker-heavy": ["celery", "worker"],
}
# A tag that names one release; `latest`, `16` and `slim` are another image next month.
PINNED = re.compile(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)*")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(:\?[^}]*)?\}")
SECRET = re.compile(r"PASSWORD|SECRET|_KEY$|REDISCLI_AUTH", re.IGNORECASE)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def dockerfiles(services: dict[str, Any]) -> set[Path]:
    return {ROOT / one["build"]["dockerfile"] for one in services.values() if "build" in one}


def test_every_part_of_an_airflow_on_many_hosts_is_there(services: dict[str, Any]) -> None:
    assert set(services) >= {"kafka", "s3", "postgres", "redis", "airflow-init", *AIRFLOW}
    for name, command in AIRFLOW.items():
        service = services[name]
        assert service["command"][: len(command)] == command
        assert service["depends_on"]["airflow-init"] == {
            "condition": "service_completed_successfully"
        }
    environments = [services[name]["environment"] for name in AIRFLOW]
    assert all(one == environments[0] for one in environments), "they must agree on every secret"


def test_heavy_units_have_workers_of_their_own(services: dict[str, Any]) -> None:
    queues = {
        name: service["command"][service["command"].index("--queues") + 1]
        for name, service in services.items()
        if service.get("command", [])[:2] == ["celery", "worker"]
    }
    assert queues == {"airflow-worker": "default", "airflow-worker-heavy": "heavy"}


def test_images_are_pinned_to_a_release(services: dict[str, Any]) -> None:
    loose = {
        f"{name}: {service['image']}"
        for name, service in services.items()
        if "build" not in service and not PINNED.fullmatch(service["image"])
    }
    for file in dockerfiles(services):
        for line in file.read_text().splitlines():
            if line.startswith("FROM ") and not PINNED.fullmatch(line.split()[1]):
                loose.add(f"{file.name}: {line}")
    assert not loose, listed(loose)


def test_what_stays_up_says_whether_it_is_healthy(services: dict[str, Any]) -> None:
    without = [
        name
        for name, service in services.items()
        if service["restart"] != "no" and "healthcheck" not in service
    ]
    assert not without, listed(without)
    once = {name for name, service in services.items() if service["restart"] == "no"}
    assert once == {"topics", "bucket", "keys", "airflow-init"}


def test_what_is_waited_for_exists_and_can_be_waited_for(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            target = services[other]
            if how["condition"] == "service_healthy":
                assert "healthcheck" in target, f"{name} waits for {other}"
            else:
                assert how["condition"] == "service_completed_successfully"
                assert target["restart"] == "no", f"{name} waits for the end of {other}"


def test_what_is_mounted_exists(compose: dict[str, Any], services: dict[str, Any]) -> None:
    named = set()
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.partition(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), f"{name} mounts {source}"
            else:
                named.add(source)
    assert named == set(compose["volumes"])


def test_what_images_are_made_of_exists_and_is_sent_to_the_engine(
    services: dict[str, Any],
) -> None:
    sent = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for file in dockerfiles(services):
        for line in file.read_text().splitlines():
            if not line.startswith("COPY ") or "--from=" in line:
                continue
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), f"{file.name}: {line}"
                parents = {str(one) for one in (Path(source), *Path(source).parents)}
                assert parents & sent, f"{file.name}: {source} is not sent"


def texts(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text with the name under which it stands."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, name)
    elif isinstance(value, str):
        yield name, value


def test_no_secret_stands_in_the_file(compose: dict[str, Any]) -> None:
    found = []
    for name, text in texts(compose):
        is_file = text.startswith("/")
        if SECRET.search(name) and not is_file and not VARIABLE.fullmatch(text):
            found.append(f"{name}: {text}")
        if re.search(r"://[^/\s]*:(?!\$)[^/@\s]+@", text):
            found.append(f"{name}: {text}")
    assert not found, listed(found)


def test_no_secret_is_on_a_command_line(services: dict[str, Any]) -> None:
    """All users of a host see command lines, and `docker inspect` keeps them."""
    variables = {name for name in example() if SECRET.search(name)} | {"STREAMER_CONNECTION"}
    found = []
    for name, service in services.items():
        # A script that a shell reads is no argument of what the script runs.
        lines = [
            text for key in ("command", "entrypoint") for _key, text in texts(service.get(key))
        ]
        found += [f"{name}: {line}" for line in lines if VARIABLE.search(line)]
    for script in ("airflow/init.sh", "worker/start.sh", "worker/make-keys.sh"):
        for line in (ROOT / "docker" / script).read_text().splitlines():
            # What a shell does itself starts no process.
            is_own = line.startswith(("#", "printf "))
            if not is_own and any(f"${name}" in line for name in variables):
                found.append(f"{script}: {line}")
    assert not found, listed(found)


def test_a_password_for_redis_is_the_end_of_its_configuration(services: dict[str, Any]) -> None:
    script = services["redis"]["command"][-1].replace("$$", "$")
    script = script.replace("exec docker-entrypoint.sh redis-server /etc/redis/redis.conf -", "cat")
    done = subprocess.run(
        ["sh", "-ec", script],
        env={**os.environ, "REDISCLI_AUTH": "s3-cret_"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "requirepass s3-cret_\n"


def test_what_drives_operations_has_time_to_leave_them_in_order(services: dict[str, Any]) -> None:
    for name in ("airflow-triggerer", "airflow-worker", "airflow-worker-heavy", "worker-a"):
        assert re.fullmatch(r"\d+m|[4-9]\ds", services[name]["stop_grace_period"]), name


@pytest.mark.slow
def test_an_sshd_that_ends_is_started_again(tmp_path: Path) -> None:
    """With programs of the test's own in their places: what is tried is who starts whom."""
    begun = tmp_path / "begun"
    programs = {
        "sshd": f"echo $$ >> {begun}; exit 1",
        "streamer": f"while [ $(wc -l < {begun}) -lt 2 ]; do sleep 0.1; done; echo served $1",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    begun.touch()
    (tmp_path / "host_key").touch()
    script = (ROOT / "docker/worker/start.sh").read_text()
    script = script.replace("/usr/sbin/sshd", str(tmp_path / "sshd"))
    script = script.replace("/etc/streamer/ssh/host_key", str(tmp_path / "host_key"))
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", script, "start.sh", "run"],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            assert process.wait(240) == 0
        finally:
            # In a container the end of the first process ends all others.
            os.killpg(process.pid, signal.SIGKILL)
    assert "served run" in log.read_text()
    assert len(begun.read_text().splitlines()) >= 2


def test_a_variable_that_is_missing_is_named_with_what_makes_it() -> None:
    found = set(VARIABLE.findall(FILE.read_text()))
    assert {hint for _name, hint in found} == {":?run docker/make-env"}


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_example_has_every_variable_and_no_secret() -> None:
    assert set(example()) == {name for name, _hint in VARIABLE.findall(FILE.read_text())}
    assert {name for name, value in example().items() if value} == {"AIRFLOW_ADMIN"}
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A .env as a user makes it."""
    target = tmp_path / ".env"
    subprocess.run([sys.executable, str(ROOT / "docker/make-env"), str(target)], check=True)
    return target


def test_made_secrets_are_complete_different_and_private(made: Path, tmp_path: Path) -> None:
    values = secrets_of(made)
    assert set(values) == set(example())
    assert all(values.values())
    assert len(set(values.values())) == len(values)
    assert len(values["AIRFLOW_JWT_SECRET"]) >= 64
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        assert re.fullmatch(r"[\w-]+", values[name])
    assert made.stat().st_mode & 0o777 == 0o600


def test_secrets_that_are_there_stay(made: Path) -> None:
    before = made.read_bytes()
    command = [sys.executable, str(ROOT / "docker/make-env"), str(made)]
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 1
    assert "stays as it is" in again.stderr
    assert made.read_bytes() == before


def test_the_connection_is_json_whatever_the_secrets_are(services: dict[str, Any]) -> None:
    text = services["airflow-init"]["environment"]["STREAMER_CONNECTION"]
    connection = json.loads(VARIABLE.sub("made", text))
    assert connection["conn_type"] == "streamer"
    assert connection["host"] == "kafka:9092"
    workers = services["worker-a"]["environment"]
    assert connection["extra"]["repository"] == workers["STREAMER_SNAPSHOT_REPOSITORY"]


def test_airflow_is_configured_for_many_hosts() -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "docker/airflow/airflow.cfg")
    assert config["core"]["executor"] == "CeleryExecutor"
    assert config["operators"]["default_queue"] == "default"
    assert config["streamer"]["heavy_queue"] == "heavy"
    assert not [
        f"{section}.{name}"
        for section in config.sections()
        for name in config[section]
        if SECRET.search(name)
    ]


def test_scripts_can_be_run() -> None:
    for name in ("make-env", "airflow/init.sh", "worker/start.sh", "worker/make-keys.sh"):
        path = ROOT / "docker" / name
        assert os.access(path, os.X_OK), name
        if path.suffix == ".sh":
            subprocess.run(["sh", "-n", str(path)], check=True)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_keys_are_made_once_and_each_host_knows_the_others(tmp_path: Path) -> None:
    command = ["sh", str(ROOT / "docker/worker/make-keys.sh"), str(tmp_path), "a", "b"]
    subprocess.run(command, check=True)
    first = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    subprocess.run(command, check=True)
    assert {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first
    for host in ("a", "b"):
        known = (tmp_path / host / "known_hosts").read_text()
        for other in ("a", "b"):
            key = (tmp_path / other / "host_key.pub").read_text().split()[1]
            assert f"[{other}]:2222 ssh-ed25519 {key}\n" in known
        public = (tmp_path / host / "authorized_keys").read_text()
        command_of_key = ["ssh-keygen", "-y", "-f", str(tmp_path / host / "pull_key")]
        derived = subprocess.run(command_of_key, capture_output=True, text=True, check=True).stdout
        assert derived.split()[:2] == public.split()[:2]


@pytest.fixture(scope="module")
def check() -> Path:
    return built()


def loaded(check: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [str(check), str(FILE)]
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def secrets_of(env: Path) -> dict[str, str]:
    lines = [line for line in env.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.timeout(2 * CHECK_S)
def test_the_library_of_docker_compose_accepts_the_file(
    check: Path, made: Path, services: dict[str, Any]
) -> None:
    done = loaded(check, secrets_of(made))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = yaml.safe_load(done.stdout)
    assert set(found["services"]) == set(services)
    # What the extensions and the variables come to.
    redis = found["services"]["airflow-worker"]["environment"]["AIRFLOW__CELERY__BROKER_URL"]
    assert redis == f"redis://:{secrets_of(made)['REDIS_PASSWORD']}@redis:6379/0"
    assert "$REDISCLI_AUTH" in found["services"]["redis"]["command"][-1]


def test_it_says_what_makes_a_variable_that_is_missing(check: Path, made: Path) -> None:
    variables = secrets_of(made)
    del variables["POSTGRES_PASSWORD"]
    done = loaded(check, variables)
    assert done.returncode == 1
    assert "POSTGRES_PASSWORD is missing a value: run docker/make-env" in done.stderr


def test_docker_accepts_the_compose_file(made: Path) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed, so its check of docker-compose.yml did not run")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("docker has no compose plugin, so its check of docker-compose.yml did not run")
    command = ["docker", "compose", "--file", str(FILE), "--env-file", str(made)]
    command += ["config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower(), done.stderr
