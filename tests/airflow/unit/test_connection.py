"""From a connection to settings: everything of it, nothing of the host, and secrets are known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import ConfigError
from streamer_airflow.fields import FIELDS
from streamer_airflow.hooks.connection import config_of, secrets_of


@dataclass
class Given:
    conn_id: str = "shop"
    host: str | None = "k1:9092,k2:9092"
    login: str | None = None
    password: str | None = None
    extra: str = '{"application": "shop"}'

    @property
    def extra_dejson(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.extra)
        return found


def given(login: str | None = None, password: str | None = None, **extra: Any) -> Given:
    return Given(login=login, password=password, extra=json.dumps({"application": "shop", **extra}))


def test_a_plain_one_has_brokers_and_an_application() -> None:
    config = config_of(Given())
    assert (config.application_id, config.bootstrap_servers) == ("shop", "k1:9092,k2:9092")
    assert config.kafka == {}
    assert config.snapshot_repository == ""


def test_all_fields_become_settings() -> None:
    config = config_of(
        given(
            "ann",
            "pw-of-ann",
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            ssl_ca_location="/etc/ca.pem",
            repository="s3://bucket/prefix",
            repository_access_key="AK",
            repository_secret_key="SK",
            repository_endpoint="https://s3.example.com",
            settings='{"trim_snapshots_min": 3, "kafka": {"client.rack": "a"}}',
        )
    )
    assert config.kafka == {
        "client.rack": "a",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "ssl.ca.location": "/etc/ca.pem",
        "sasl.username": "ann",
        "sasl.password": "pw-of-ann",
    }
    assert config.snapshot_repository == "s3://bucket/prefix"
    assert (config.snapshot_s3_access_key, config.snapshot_s3_secret_key) == ("AK", "SK")
    assert config.snapshot_s3_endpoint == "https://s3.example.com"
    assert config.trim_snapshots_min == 3


def test_what_the_form_leaves_empty_is_not_set() -> None:
    config = config_of(given(security_protocol=None, repository="", settings=""))
    assert config.kafka == {}


def test_nothing_of_the_host_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "streamer.toml").write_text("trim_snapshots_min = 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMER_TRIM_PERCENT_MAX", "99")
    config = config_of(Given())
    assert (config.trim_snapshots_min, config.trim_percent_max) == (2, 50)


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (Given(extra="{}"), "connection shop: it has no application"),
        (Given(host=None), "connection shop: it has no bootstrap servers"),
        (given(repositry="x"), "connection shop: extra has repositry, which is none of its fields"),
        (given(settings="{"), "connection shop: settings is not JSON"),
        (given(settings="[]"), "connection shop: settings is no object of JSON"),
        (given(settings={"trim_percent_mx": 3}), "connection shop: .*trim_percent_mx"),
        (given(repository="ftp://x"), "connection shop: .*is not the address of a repository"),
        (Given(host="k1:nine"), "connection shop: "),
    ],
)
def test_what_is_wrong_is_told_by_its_name(connection: Given, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config_of(connection)


def test_secrets_are_known_to_be_masked() -> None:
    found = secrets_of(
        given(
            "ann",
            "pw-of-ann",
            repository_secret_key="SK",
            settings={
                "snapshot_s3_secret_key": "SK2",
                "trim_percent_max": 7,
                "kafka": {
                    "ssl.key.password": "kp",
                    "ssl.key.location": "/etc/key",
                    "sasl.oauthbearer.client.secret": "cs",
                    "client.rack": "a",
                },
            },
        )
    )
    assert sorted(found) == ["SK", "SK2", "cs", "kp", "pw-of-ann"]


def test_an_error_repeats_no_secret() -> None:
    with pytest.raises(ConfigError) as refused:
        config_of(given("ann", "pw-of-ann", security_protocol="SASL_NOTHING"))
    assert "pw-of-ann" not in refused.value.describe()


def test_a_secret_has_a_field_that_nobody_reads() -> None:
    secret = {"kafka": {"ssl.key.password": "swordfish"}}
    with pytest.raises(ConfigError, match=r"settings has ssl\.key\.password, which all can read"):
        config_of(given(settings=secret))
    shown = {"kafka": {"client.rack": "a"}, "trim_snapshots_min": 3}
    connection = given(settings=json.dumps(shown), secret_settings=json.dumps(secret))
    config = config_of(connection)
    assert config.trim_snapshots_min == 3
    assert config.kafka["client.rack"] == "a"
    assert config.kafka["ssl.key.password"] == "swordfish"
    assert "swordfish" in secrets_of(connection)
    assert FIELDS["secret_settings"].is_secret
