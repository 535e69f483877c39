"""What Airflow is told is its own: no variable of the shell leads it to another database."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from demo.airflow.environment import USERS, environment, secrets_of
from streamer.errors import SandboxError


def test_secrets_are_made_once_and_are_private(tmp_path: Path) -> None:
    made = secrets_of(tmp_path)
    assert secrets_of(tmp_path) == made
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert set(made.passwords) == set(USERS) == {"admin", "viewer"}
    assert len(base64.urlsafe_b64decode(made.fernet)) == 32
    assert len(made.jwt) >= 64


def test_two_directories_share_no_secret(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    one, other = secrets_of(tmp_path / "a"), secrets_of(tmp_path / "b")
    assert one.fernet != other.fernet
    assert one.passwords["admin"] != other.passwords["admin"]


def test_damaged_secrets_are_named_and_stay(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(SandboxError, match=r"secrets\.json"):
        secrets_of(tmp_path)
    assert (tmp_path / "secrets.json").read_text() == "{"


def test_variables_of_the_shell_do_not_reach_another_database(tmp_path: Path) -> None:
    shell = {
        "PATH": "/bin",
        "AIRFLOW_HOME": "/elsewhere",
        "AIRFLOW_CONFIG": "/elsewhere/airflow.cfg",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://production/airflow",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW_CONN_STREAMER_DEFAULT": "{}",
        "AIRFLOW__STREAMER__SCHEDULES": "True",
        "NO_PROXY": "example.com",
    }
    found = environment(tmp_path, 8123, secrets_of(tmp_path), base=shell)
    assert found["AIRFLOW_HOME"] == str(tmp_path)
    assert found["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{tmp_path}/airflow.db"
    assert "AIRFLOW_CONFIG" not in found
    assert "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS" not in found
    assert (found["PATH"], found["AIRFLOW_CONN_STREAMER_DEFAULT"]) == ("/bin", "{}")
    assert found["AIRFLOW__STREAMER__SCHEDULES"] == "True"
    assert found["no_proxy"] == "example.com,127.0.0.1,localhost"


def test_it_listens_on_loopback_with_passwords_that_are_nobodys_default(tmp_path: Path) -> None:
    secret = secrets_of(tmp_path)
    found = environment(tmp_path, 8123, secret, base={})
    assert found["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert found["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].startswith("http://127.0.0.1:8123/")
    passwords = Path(found["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    assert json.loads(passwords.read_text()) == secret.passwords
    assert passwords.stat().st_mode & 0o777 == 0o600
    assert all(len(password) >= 16 for password in secret.passwords.values())


def test_settings_that_are_given_win(tmp_path: Path) -> None:
    settings = {"core.parallelism": "9", "scheduler.job_heartbeat_sec": "2"}
    found = environment(tmp_path, 1, secrets_of(tmp_path), base={}, settings=settings)
    assert found["AIRFLOW__CORE__PARALLELISM"] == "9"
    assert found["AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC"] == "2"
