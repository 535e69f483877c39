"""The hook: what its Test says where nothing answers, and that no log shows a secret."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from airflow.sdk import Connection

from streamer_airflow.hooks.application import ApplicationHook
from streamer_airflow.provider_info import get_provider_info

SECRET = "hunter2-of-kafka"


def connection(**given: Any) -> Connection:
    extra = {"application": "app", "security_protocol": "SASL_PLAINTEXT"}
    return Connection(
        **{
            "conn_id": "shop",
            "conn_type": "streamer",
            "host": "127.0.0.1:1",
            "login": "ann",
            "password": SECRET,
            "extra": json.dumps(extra | {"sasl_mechanism": "PLAIN"}),
            **given,
        }
    )


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ApplicationHook:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", connection().as_json())
    return ApplicationHook("shop")


def test_brokers_that_do_not_answer_are_named(
    hook: ApplicationHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer_airflow.hooks.application._TEST_S", 1.0)
    is_fine, said = hook.test_connection()
    assert not is_fine
    assert "127.0.0.1:1" in said
    assert SECRET not in said


def test_a_setting_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", connection(extra="{}").as_json())
    is_fine, said = ApplicationHook("shop").test_connection()
    assert (is_fine, said.splitlines()[0]) == (False, "connection shop: it has no application")
    assert "hint: " in said


def test_no_log_shows_a_secret() -> None:
    from airflow.sdk._shared.secrets_masker import redact

    ApplicationHook.config_from(connection())
    assert redact(f"the password is {SECRET}") == "the password is ***"


def test_what_airflow_is_told_of_the_package_is_what_it_expects() -> None:
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text())
    told = get_provider_info()
    jsonschema.validate(told, schema)
    assert told["package-name"] == "streamer"
    [kind] = told["connection-types"]
    module, _, name = kind["hook-class-name"].rpartition(".")
    assert (module, name) == (ApplicationHook.__module__, ApplicationHook.__name__)
    assert kind["connection-type"] == ApplicationHook.conn_type
    assert kind["hook-name"] == ApplicationHook.hook_name
    for option in told["config"]["streamer"]["options"].values():
        assert option["default"].format() == option["default"], (
            "Airflow fills in braces at its start"
        )
