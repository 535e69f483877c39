from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from streamer.config import Config, budget, settings
from streamer.errors import ConfigError

MIB = 1024 * 1024


def _config(**values: Any) -> Config:
    return Config(application_id="spend", **values)


def test_every_setting_has_a_reason_and_a_valid_default() -> None:
    config = _config()
    for declared in settings():
        assert declared.why.endswith("."), declared.name
        assert getattr(config, declared.name) == declared.default, declared.name


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("poll_ms", "250", 250),
        ("poll_ms", timedelta(seconds=2), 2000),
        ("max_poll_records", "5_000", 5000),
        ("memory_bytes_max", "512MiB", 512 * MIB),
        ("memory_bytes_max", "1GiB", 1024 * MIB),
        ("memory_bytes_max", "1.5 g", 1536 * MIB),
        ("memory_bytes_max", 200 * MIB, 200 * MIB),
        ("processing_guarantee", "exactly_once_v2", "exactly_once"),
        ("processing_guarantee", "AT_LEAST_ONCE", "at_least_once"),
        ("log_level", "warning", "WARNING"),
        ("state_dir", "state", Path("state")),
        ("replication_factor", -1, -1),
        ("zone", " region=eu,az=eu-1 ", "region=eu,az=eu-1"),
        ("commit_interval_ms", None, None),
    ],
)
def test_values_are_taken_in_their_natural_forms(name: str, raw: Any, value: Any) -> None:
    assert getattr(_config(**{name: raw}), name) == value


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("poll_ms", "soon", "poll_ms must be a whole number of ms, at least 1 and at most 60000"),
        ("poll_ms", 0, "at least 1"),
        ("poll_ms", True, "whole number"),
        ("poll_ms", 1.5, "whole number"),
        ("poll_ms", None, "whole number"),
        ("max_poll_records", timedelta(seconds=1), "whole number of records"),
        ("memory_bytes_max", "much", "memory_bytes_max must be a number of bytes"),
        ("memory_bytes_max", "64MiB", f"at least {128 * MIB}"),
        ("auto_offset_reset", "oldest", "one of earliest, latest, none"),
        ("kafka", "x", "a table of names and values"),
        ("kafka", {1: 2}, "a table of names and values"),
        ("bootstrap_servers", "", "bootstrap_servers is empty"),
        ("worker_id", "a/b", "worker_id 'a/b' is not usable"),
        ("bootstrap_servers", "localhost:99999", "has 'localhost:99999', which is not host:port"),
        ("bootstrap_servers", "a:9092, b:0", "has 'b:0', which"),
        ("bootstrap_servers", "a:9092,", "has '', which"),
        ("bootstrap_servers", ":9092", "has ':9092', which"),
        ("bootstrap_servers", "a:", "has 'a:', which"),
        ("bootstrap_servers", "a b:9092", "has 'a b:9092', which"),
        ("bootstrap_servers", "::1", "has '::1', which"),
        ("bootstrap_servers", "http://a:9092", "has 'http://a:9092', which"),
        ("application_server", "host", "is not host:port"),
        ("application_server", "host:70000", "is not host:port"),
        ("application_server", "host:0", "is not host:port"),
        ("zone", "eu-1", "not a list of name=value"),
        ("zone", "az=1,az=2", "not a list of name=value"),
        ("processing_error", "dead_letter", "dead_letter_topic is empty"),
        ("heartbeat_interval_ms", 4000, "too long for session_timeout_ms 6000"),
        ("commit_interval_ms", 40_000, "too long for transaction_timeout_ms 60000"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, raw: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _config(**{name: raw})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "servers",
    [
        "kafka-1:9092, kafka_2.example.org:65535",
        "localhost",
        "10.0.0.1:1",
        "[::1]:9092,[fe80::1%eth0]",
        "SASL_SSL://kafka:9093",
    ],
)
def test_whatever_the_client_takes_as_an_address_of_brokers_is_accepted(servers: str) -> None:
    assert _config(bootstrap_servers=servers).bootstrap_servers == servers


def test_an_application_is_reached_under_a_name_or_an_address() -> None:
    for server in ("host-1:80", "10.0.0.1:65535", "[::1]:8080"):
        assert _config(application_server=server).application_server == server


def test_a_misspelt_choice_is_answered_with_the_right_one() -> None:
    with pytest.raises(ConfigError) as caught:
        _config(processing_guarantee="exactly_onc")
    assert caught.value.hint == "did you mean exactly_once?"


@pytest.mark.parametrize(
    ("guarantee", "given", "commit_ms"),
    [
        ("exactly_once", None, 100),
        ("at_least_once", None, 1000),
        ("exactly_once", 30_000, 30_000),
        ("at_least_once", 90_000, 90_000),
    ],
)
def test_the_commit_interval_follows_the_guarantee(
    guarantee: str, given: int | None, commit_ms: int
) -> None:
    config = _config(processing_guarantee=guarantee, commit_interval_ms=given)
    assert config.commit_ms == commit_ms
    assert config.exactly_once is (guarantee == "exactly_once")


def test_zone_tags_keep_their_order() -> None:
    config = _config(zone="cloud=a,region=eu,az=eu-1")
    assert config.zone_tags == (("cloud", "a"), ("region", "eu"), ("az", "eu-1"))
    assert _config().zone_tags == ()


def test_a_config_travels_to_another_process_and_hides_secrets() -> None:
    config = _config(kafka={"sasl.password": "hunter2"})
    assert pickle.loads(pickle.dumps(config)) == config
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize("total", [128 * MIB, 512 * MIB, 100_000_000_007])
def test_the_parts_of_the_budget_are_the_whole(total: int) -> None:
    parts = budget(_config(memory_bytes_max=total))
    assert parts.total_bytes == total
    assert min(parts) > 0


def test_the_default_budget_is_as_documented() -> None:
    parts = budget(_config())
    rest = 416 * MIB
    assert parts.block_cache_bytes == rest * 40 // 100
    assert parts.record_cache_bytes == rest * 13 // 100
    assert parts.process_bytes - 96 * MIB in range(10)
