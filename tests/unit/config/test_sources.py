from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from streamer.config import check_keywords, load, resolve
from streamer.errors import ConfigError


def _load(directory: Path, **sources: Any) -> Any:
    return load("spend", **{"environment": {}, "directory": directory, **sources})


def _file(directory: Path, text: str) -> Path:
    path = directory / "streamer.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_source_wins_over_the_one_before(tmp_path: Path) -> None:
    sources: dict[str, Any] = {}
    seen = [_load(tmp_path, **sources).poll_ms]
    _file(tmp_path, "poll_ms = 1")
    seen.append(_load(tmp_path, **sources).poll_ms)
    sources["keywords"] = {"poll_ms": 2}
    seen.append(_load(tmp_path, **sources).poll_ms)
    sources["environment"] = {"STREAMER_POLL_MS": "3"}
    seen.append(_load(tmp_path, **sources).poll_ms)
    sources["sets"] = ["poll_ms=4"]
    seen.append(_load(tmp_path, **sources).poll_ms)
    assert seen == [100, 1, 2, 3, 4]


def test_origins_name_the_source_of_each_value(tmp_path: Path) -> None:
    path = _file(tmp_path, "poll_ms = 1\n[kafka]\nsecurity.protocol = 'SSL'")
    resolved = resolve(
        "spend",
        directory=tmp_path,
        environment={"STREAMER_LOG_LEVEL": "debug"},
        sets=["zone=az=1"],
    )
    assert resolved.origins == {
        "poll_ms": str(path),
        "kafka.security.protocol": str(path),
        "log_level": "environment STREAMER_LOG_LEVEL",
        "zone": "--set zone",
    }
    assert resolved.config.log_level == "DEBUG"
    assert resolved.config.zone == "az=1"


def test_a_configuration_knows_who_gave_what_for_messages_that_come_later(tmp_path: Path) -> None:
    path = _file(tmp_path, "kafka.foo = 1")
    config = _load(tmp_path, environment={"STREAMER_KAFKA__LINGER_MS": "1"}, sets=["zone=az=1"])
    assert config.source("kafka.foo") == str(path)
    assert config.source("kafka.linger.ms") == "environment STREAMER_KAFKA__LINGER_MS"
    assert replace(config, poll_ms=7).source("zone") == "--set zone"
    assert config.source("poll_ms") == "configuration"
    assert config == replace(config, origins={})


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("bootstrap_servers", "kafka:99999"),
        ("worker_id", "a/b"),
        ("application_server", "host"),
        ("zone", "eu-1"),
        ("processing_error", "dead_letter"),
    ],
)
def test_a_value_that_is_found_wrong_in_the_end_is_refused_with_its_source(
    tmp_path: Path, name: str, raw: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, sets=[f"{name}={raw}"])
    assert caught.value.message.startswith(f"--set {name}: {name}")


def test_tables_are_merged_name_by_name(tmp_path: Path) -> None:
    _file(tmp_path, '[streamer.kafka]\n"a.b" = 1\nc.d.e = 2\n[streamer.rocksdb]\nx = {y = 1}\n')
    config = _load(
        tmp_path,
        keywords={"kafka": {"a.b": 3, "f": 4}},
        environment={
            "STREAMER_KAFKA__SECURITY_PROTOCOL": "SSL",
            "STREAMER_KAFKA__CONSUMER__FETCH_MIN_BYTES": "5",
            "STREAMER_ROCKSDB__WRITE_BUFFER_SIZE": "6",
            "STREAMER_INTERNAL_TOPICS": '{"min.insync.replicas": 2}',
        },
        sets=["kafka.f=7", "rocksdb.max_open_files=8"],
    )
    assert config.kafka == {
        "a.b": 3,
        "c.d.e": 2,
        "f": "7",
        "security.protocol": "SSL",
        "consumer.fetch.min.bytes": "5",
    }
    assert config.rocksdb == {"x": {"y": 1}, "write_buffer_size": "6", "max_open_files": "8"}
    assert config.internal_topics == {"min.insync.replicas": 2}


@pytest.mark.parametrize(
    ("beside", "said", "hint"),
    [
        ("poll_ms = 5", "poll_ms stands beside", "write poll_ms = ... below [streamer]"),
        ("comit_interval_ms = 5", "comit_interval_ms stands", "write commit_interval_ms = ..."),
        ("commit.interval.ms = 5", "commit.interval.ms stands", "write commit_interval_ms = ..."),
        ("http-port = 5", "http-port stands", "write http_port = ..."),
        ("[kafka]\n'security.protocol' = 'SSL'", "[kafka] stands", "write [streamer.kafka]"),
        ("[rocksdb]\nwrite_bufer_size = 1", "[rocksdb] stands", "write [streamer.rocksdb]"),
        ("[kafak]\nx = 1\ny = 2", "[kafak] stands", "write [streamer.kafka]"),
        ("[kafak]\nx = 1", "[kafak] stands", "write [streamer.kafka]"),
    ],
)
def test_no_setting_is_overlooked_beside_a_streamer_table(
    tmp_path: Path, beside: str, said: str, hint: str
) -> None:
    _file(tmp_path, f"{beside}\n[streamer]\npoll_ms = 7\n")
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path)
    assert said in caught.value.message
    assert "where no setting is read" in caught.value.message
    assert hint in (caught.value.hint or "")


def test_tables_and_values_of_other_tools_may_stand_beside(tmp_path: Path) -> None:
    text = """
    requires = ["x"]
    version = 3
    [project]
    name = "shop"
    [build-system]
    requires = []
    [tool.ruff]
    line-length = 100
    [dependency-groups]
    dev = []
    [streamer]
    poll_ms = 7
    [streamer.kafka]
    security.protocol = "SSL"
    """
    _file(tmp_path, text)
    config = _load(tmp_path)
    assert (config.poll_ms, config.kafka) == (7, {"security.protocol": "SSL"})


def test_a_streamer_table_makes_the_rest_of_the_file_somebody_elses(tmp_path: Path) -> None:
    _file(tmp_path, "[streamer]\npoll_ms = 7\n[other]\nnonsense = 1\n")
    assert _load(tmp_path).poll_ms == 7


def test_a_named_file_is_taken_and_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("poll_ms = 9")
    assert _load(tmp_path, file=path).poll_ms == 9
    assert _load(tmp_path, environment={"STREAMER_CONFIG": str(path)}).poll_ms == 9
    with pytest.raises(ConfigError, match=r"^--config: there is no file"):
        _load(tmp_path, file=tmp_path / "gone.toml")
    with pytest.raises(ConfigError, match=r"^STREAMER_CONFIG: there is no file"):
        _load(tmp_path, environment={"STREAMER_CONFIG": "gone.toml"})


@pytest.mark.parametrize(
    ("sources", "message", "hint"),
    [
        ({"keywords": {"comit_interval_ms": 1}}, "App(...): unknown", "mean commit_interval_ms?"),
        ({"sets": ["commit.interval.ms=1"]}, "--set commit.interval.ms", "is commit_interval_ms"),
        ({"keywords": {"num.standby.replicas": 1}}, "unknown setting num.", "set standby_replicas"),
        ({"environment": {"STREAMER_NUM_STREAM_THREADS": "2"}}, "num_stream_", "--processes N"),
        ({"environment": {"STREAMER_HTP_PORT": "80"}}, "STREAMER_HTP_PORT", "mean http_port?"),
        ({"keywords": {"application_id": "x"}}, "application_id", "first argument of App"),
        ({"keywords": {"security.protocol": "SSL"}}, "security.", "{'security.protocol': ...}"),
        ({"keywords": {"producer.linger.ms": 1}}, "producer.", "{'producer.linger.ms': ...}"),
        ({"keywords": {"topic.cleanup.policy": 1}}, "topic.", "internal_topics={'cleanup.policy'"),
        ({"keywords": {"qqqq": 1}}, "unknown setting qqqq", "docs/configuration.md"),
        ({"environment": {"STREAMER_POLL_MS__X": "1"}}, "poll_ms is not a table", ""),
        ({"sets": ["poll_ms"]}, "--set poll_ms: this is not name=value", ""),
    ],
)
def test_an_unknown_name_is_refused_with_the_right_one(
    tmp_path: Path, sources: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, **sources)
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_an_unknown_name_in_the_file_is_refused_with_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, "[streamer]\nnum.standby.replicas = 1")
    with pytest.raises(ConfigError, match=r"unknown setting num\.standby\.replicas") as caught:
        _load(tmp_path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [("poll_ms = ", "this is not TOML"), ("streamer = 1", "streamer is a value, not a table")],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    _file(tmp_path, text)
    with pytest.raises(ConfigError, match=message):
        _load(tmp_path)


def test_variables_of_other_purposes_are_left_alone(tmp_path: Path) -> None:
    environment = {
        "STREAMER_FAILPOINTS": "",
        "STREAMER_SERVICE_HOST": "10.0.0.1",
        "STREAMER_PORT": "tcp://10.0.0.1:80",
        "STREAMER_UI_PORT_80_TCP_ADDR": "10.0.0.1",
        "STREAMER_HTTP_PORT": "8080",
        "STREAMERS": "x",
    }
    assert _load(tmp_path, environment=environment).http_port == 8080


def test_keywords_can_be_checked_alone() -> None:
    check_keywords({"poll_ms": timedelta(seconds=1), "memory_bytes_max": "1GiB"})
    with pytest.raises(ConfigError, match="poll_ms must be a whole number of ms"):
        check_keywords({"poll_ms": "soon"})
