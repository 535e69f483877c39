"""No password, key or token is in what is printed, logged or raised, whatever setting holds it."""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from streamer.cli.main import main
from streamer.config import Config
from streamer.errors import ConfigError, RegistryUnavailableError, StreamerError
from streamer.kafka import settings
from streamer.kafka.properties import properties
from streamer.kafka.registry.client import Registry
from streamer.kafka.secrets import shown, without_credentials

SECRET = "hunter2"
# Names of librdkafka that hold a secret, or may: a new one with such a word is found below.
KAFKA = (
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.certificate.pem",
    "ssl.ca.pem",
    "ssl.keystore.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "https.ca.pem",
)
REGISTRY = (
    "basic.auth.user.info",
    "bearer.auth.token",
    "bearer.auth.client.secret",
    "ssl.key.password",
)
APP = f"""
from streamer.topology.app import App
app = App("spend", kafka={{
    **{{name: "{SECRET}" for name in {KAFKA!r}}},
    "producer.sasl.password": "{SECRET}",
    "sasl.username": "ann",
}}, schema_registry={{
    "url": "https://ann:{SECRET}@registry:8081",
    **{{name: "{SECRET}" for name in {REGISTRY!r}}},
}})
app.stream("purchases").to("copies")
"""


@pytest.fixture(autouse=True)
def _cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    Path("secret_module.py").write_text(APP, encoding="utf-8")
    yield
    sys.modules.pop("secret_module", None)


def test_every_secret_that_librdkafka_knows_is_hidden() -> None:
    words = ("password", "passphrase", "secret", ".pem", "ssl_key")
    named = {name for name in properties() if any(word in name for word in words)}
    assert set(KAFKA) <= properties().keys()
    for name in {*KAFKA, *REGISTRY, *named}:
        assert shown(f"kafka.{name}", SECRET) == "(hidden)"
        assert shown(f"kafka.consumer.{name}", SECRET) == "(hidden)"
    for name in ("sasl.username", "ssl.key.location", "sasl.oauthbearer.token.endpoint.url"):
        assert shown(f"kafka.{name}", "x") == "x"


@pytest.mark.parametrize("more", [[], ["--json"], ["--all"], ["--all", "--json"]])
def test_settings_print_no_secret(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "secret_module:app", *more]) == 0
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert "https://(hidden)@registry:8081" in said.out
    if "--json" in more:
        rows = {row["setting"]: row["value"] for row in json.loads(said.out)}
        assert rows["kafka.sasl.username"] == "ann"
        assert [rows[f"kafka.{name}"] for name in KAFKA] == ["(hidden)"] * len(KAFKA)


def test_a_function_is_shown_by_its_name_alone() -> None:
    def token(_about: str, *, key: str) -> tuple[str, float]:
        return key, 0

    assert str(shown("kafka.oauth_cb", token)).endswith("token")
    assert shown("kafka.oauth_cb", functools.partial(token, key=SECRET)) == "partial"


def test_an_address_keeps_all_but_who_asks() -> None:
    text = f"http://a:{SECRET}@one/x,https://{SECRET}@two?at=3@4 and kafka:9092"
    assert without_credentials(text) == (
        "http://(hidden)@one/x,https://(hidden)@two?at=3@4 and kafka:9092"
    )


def test_a_configuration_shows_no_table() -> None:
    config = Config(
        application_id="spend",
        kafka={"sasl.password": SECRET},
        schema_registry={"basic.auth.user.info": SECRET},
    )
    for text in (repr(config), str(config), f"{config}"):
        assert SECRET not in text


@pytest.mark.parametrize(
    "given",
    [
        {"STREAMER_KAFKA": f'{{"sasl.password": "{SECRET}"'},
        {"STREAMER_SCHEMA_REGISTRY": f"basic.auth.user.info={SECRET}"},
        {"STREAMER_KAFKA__SASL_PASWORD": SECRET},
        {"STREAMER_KAFKA_SASL_PASSWORD": SECRET},
        {"STREAMER_KAFKA__SECURITY_PROTOCOL": "SALS_SSL", "STREAMER_KAFKA__SASL_PASSWORD": SECRET},
        {"STREAMER_KAFKA__OAUTH_CB": SECRET},
    ],
    ids=lambda given: " ".join(given),
)
def test_an_error_about_the_environment_holds_no_secret(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert main(["settings", "secret_module:app"]) == 2
    assert SECRET not in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", [f"kafka.sasl.password:{SECRET}", f"kafka.sasl.password {SECRET}", f"kafka={SECRET}"]
)
def test_an_error_about_the_command_line_holds_no_secret(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["settings", "secret_module:app", "--set", text]) == 2
    assert SECRET not in capsys.readouterr().err


@pytest.mark.parametrize("name", KAFKA)
def test_what_is_said_against_a_secret_does_not_hold_it(name: str) -> None:
    config = Config(application_id="spend", kafka={"security.protocol": "SSL", name: SECRET})
    said = []
    for make in (
        lambda: settings.check(config),
        lambda: AdminClient(settings.admin(config)),
        lambda: Producer(settings.producer(config)),
    ):
        try:
            make()
        except Exception as error:
            said.append(f"{error!r} {error}")
    assert SECRET not in "".join(said)


def test_the_clients_own_account_of_its_settings_hides_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    names = ("sasl.password", "ssl.key.password", "sasl.oauthbearer.client.secret")
    given: dict[str, Any] = dict.fromkeys(names, SECRET)
    given |= {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN"}
    # Those that speak of settings and of a log-in. All kinds come to no end on a busy machine:
    # while their lines are told there are new ones.
    given["debug"] = "security,conf"
    given["sasl.username"] = "ann"
    config = Config(application_id="spend", bootstrap_servers="127.0.0.1:9", kafka=given)
    settings.check(config)
    consumer = Consumer(settings.control_consumer(config))
    consumer.poll(0.1)
    consumer.close()
    assert "sasl.password = [redacted]" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.slow
def test_the_registrys_errors_hold_no_secret() -> None:
    # Nobody listens there.
    registry = Registry({"url": f"http://ann:{SECRET}@127.0.0.1:9", "max.retries": 0})
    with pytest.raises(RegistryUnavailableError) as raised:
        registry.newest("s")
    assert "http://(hidden)@127.0.0.1:9" in str(raised.value)
    assert SECRET not in raised.value.describe()


@pytest.mark.parametrize(
    "given",
    [
        {"url": f"ftp://ann:{SECRET}@registry"},
        {"url": "http://registry", "basic.auth.user.info": SECRET},
        {"url": f"http://ann:{SECRET}@registry", "basic.auth.user.info": f"ann:{SECRET}"},
        {"url": "http://registry", "bearer.auth.tokken": SECRET},
    ],
    ids=["scheme", "form", "both", "name"],
)
def test_a_registry_that_is_not_usable_is_told_without_its_secrets(given: dict[str, str]) -> None:
    with pytest.raises(StreamerError) as raised:
        Registry(given)
    assert isinstance(raised.value, ConfigError)
    assert SECRET not in raised.value.describe()
