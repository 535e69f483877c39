from __future__ import annotations

from typing import Any

import pytest

from streamer.changelog.topics import changelog_settings
from streamer.config import Config
from streamer.errors import ConfigError


def config(**internal_topics: Any) -> Config:
    named = {name.replace("_", "."): value for name, value in internal_topics.items()}
    return Config(application_id="app", internal_topics=named)


def test_a_changelog_is_compacted_and_can_be_trimmed_and_forgets_nothing() -> None:
    settings = changelog_settings(config())
    assert settings["cleanup.policy"] == "compact,delete"
    assert settings["retention.ms"] == settings["retention.bytes"] == "-1"
    assert settings["message.timestamp.type"] == "LogAppendTime"
    assert settings["segment.bytes"] == str(64 << 20)


def test_users_may_set_what_does_not_drop_state() -> None:
    settings = changelog_settings(config(min_insync_replicas=2, segment_bytes=1 << 20))
    assert settings["min.insync.replicas"] == "2"
    assert settings["segment.bytes"] == str(1 << 20)


@pytest.mark.parametrize(
    ("name", "value"),
    [("retention_ms", 1000), ("retention_bytes", 1 << 30), ("cleanup_policy", "delete")],
)
def test_settings_that_would_drop_state_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name.replace("_", ".")):
        changelog_settings(config(**{name: value}))


def test_the_order_of_policies_does_not_matter() -> None:
    settings = changelog_settings(config(cleanup_policy="delete, compact"))
    assert settings["cleanup.policy"] == "delete, compact"
