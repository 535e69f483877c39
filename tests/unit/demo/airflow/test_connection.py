"""The configuration of an application as a connection, its password where passwords belong."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from demo.airflow.connection import body, store
from demo.airflow.rest import ApiError
from streamer.config import Config


def test_a_connection_has_the_application_and_its_repository() -> None:
    config = Config(
        application_id="shop",
        bootstrap_servers="k1:9092,k2:9092",
        snapshot_repository="s3://snapshots/shop",
    )
    found = body(config)
    assert (found["connection_id"], found["conn_type"]) == ("streamer_default", "streamer")
    assert found["host"] == "k1:9092,k2:9092"
    extra = json.loads(found["extra"])
    assert extra["application"] == "shop"
    assert extra["repository"] == "s3://snapshots/shop"


def test_log_in_and_password_stand_in_their_own_fields() -> None:
    config = Config(
        application_id="shop",
        kafka={
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "ann",
            "sasl.password": "hidden",
            "socket.timeout.ms": 9_000,
        },
        trim_snapshots_min=3,
        commit_interval_ms=17,
    )
    found = body(config)
    assert (found["login"], found["password"]) == ("ann", "hidden")
    assert "hidden" not in found["extra"]
    extra = json.loads(found["extra"])
    assert (extra["security_protocol"], extra["sasl_mechanism"]) == ("SASL_SSL", "PLAIN")
    # All else has a field for it; what workers alone read is left out.
    assert json.loads(extra["settings"]) == {
        "kafka": {"socket.timeout.ms": 9_000},
        "trim_snapshots_min": 3,
    }


def test_a_database_that_is_locked_for_a_moment_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [ApiError(500, "Database error"), ApiError(500, "Database error"), None]
    waits: list[float] = []
    monkeypatch.setattr("demo.airflow.connection.time.sleep", waits.append)

    def post(_path: str, _body: object) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    api: Any = SimpleNamespace(post=post)
    assert store(api, {"connection_id": "shop"})
    assert (answers, len(waits)) == ([], 2)
    answers += [ApiError(500, "Database error")] * 4
    with pytest.raises(ApiError):
        store(api, {"connection_id": "shop"})


def test_the_plugin_makes_the_same_settings_of_it() -> None:
    hook = pytest.importorskip("streamer_airflow.hooks.connection")
    config = Config(
        application_id="shop",
        bootstrap_servers="k1:9092",
        snapshot_repository="s3://snapshots/shop",
        snapshot_s3_endpoint="http://127.0.0.1:7070",
        snapshot_parallel_transfers=9,
        trim_percent_max=7,
        kafka={
            "sasl.username": "ann",
            "sasl.password": "hidden",
            "security.protocol": "SASL_SSL",
            "ssl.key.password": "swordfish",
        },
    )
    found = body(config)
    assert "swordfish" in json.loads(found["extra"])["secret_settings"]

    class Connection:
        conn_id = "streamer_default"
        host, login, password = found["host"], found["login"], found["password"]
        extra_dejson = json.loads(found["extra"])

    assert hook.config_of(Connection()) == config
