"""Settings of topics: names and values that brokers would refuse are refused before any start."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.config import Config, load
from streamer.config.topics import TOPIC_SETTINGS
from streamer.errors import ConfigError


def _refusal(name: str, value: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load("spend", environment={}, sets=[f"internal_topics.{name}={value}"])
    return caught.value


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("min.insync.replica", "did you mean min.insync.replicas?"),
        ("min_insync_replicas", "the name is min.insync.replicas"),
        ("retention.bites", "did you mean retention.bytes?"),
        ("replication.factor", "set replication_factor"),
        ("foo", "its settings are those of Kafka's topics"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, hint: str) -> None:
    error = _refusal(name, 1)
    told = f"--set internal_topics.{name}: internal_topics has no setting {name!r}"
    assert (error.message, error.hint) == (told, hint)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("compression.type", "foo", "one of uncompressed, zstd, "),
        ("compression.type", "LZ4", "one of uncompressed, zstd, "),
        ("compression.gzip.level", "0", "from 1 to 9, or -1"),
        ("compression.lz4.level", "18", "at least 1 and at most 17"),
        ("min.compaction.lag.ms", "abc", "a whole number of ms, at least 0"),
        ("segment.bytes", "14", "a whole number of bytes, at least 1048576"),
        ("segment.bytes", "64MiB", "a whole number of bytes"),
        ("segment.bytes", str(2**31), "a whole number of bytes"),
        ("segment.ms", "", "a whole number of ms, at least 1"),
        ("segment.ms", "--5", "a whole number of ms, at least 1"),
        ("min.cleanable.dirty.ratio", "1.5", "a number from 0 to 1"),
        ("min.cleanable.dirty.ratio", "half", "a number from 0 to 1"),
        ("preallocate", "yes", "true or false"),
        ("cleanup.policy", "compakt", "compact, delete, or both"),
        ("min.insync.replicas", "0", "a whole number, at least 1"),
    ],
)
def test_a_value_that_no_broker_takes_is_refused(name: str, value: str, expected: str) -> None:
    error = _refusal(name, value)
    told = f"--set internal_topics.{name}: internal_topics: {name} must be "
    assert error.message.startswith(told)
    assert expected in error.message
    assert error.message.endswith(f"it is {value!r}")


def test_a_value_has_the_nearest_right_one() -> None:
    assert _refusal("compression.type", "zst").hint == "did you mean zstd?"
    assert _refusal("message.timestamp.type", "CreatTime").hint == "did you mean CreateTime?"


def test_what_brokers_take_is_taken() -> None:
    table: dict[str, Any] = {
        "cleanup.policy": "delete, compact",
        "compression.type": "zstd",
        "compression.zstd.level": -5,
        "leader.replication.throttled.replicas": "0:1,1:2",
        "min.cleanable.dirty.ratio": 0.1,
        "min.insync.replicas": "2",
        "preallocate": True,
        "local.retention.ms": -2,
        "retention.ms": -1,
        "segment.bytes": 1 << 20,
    }
    assert Config(application_id="spend", internal_topics=table).internal_topics == table
    assert set(table) < set(TOPIC_SETTINGS)
