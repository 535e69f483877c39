"""Internal topics that Kafka would empty are refused at the start, by their settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import pytest

from streamer.changelog.topics import DELETE_RETENTION_MS
from streamer.config import Config
from streamer.errors import InternalTopicError
from streamer.topology.partitions import Partitions
from streamer.worker.retention import check_retention

CHANGELOG, REPARTITION = "app-counts-changelog", "app-by-city-repartition"
PLANNED = Partitions(sources={"in": 2}, repartition={REPARTITION: 2}, changelogs={CHANGELOG: 2})
CONFIG = Config(application_id="app", bootstrap_servers="kafka:9092")
KEPT = {"retention.ms": "-1", "retention.bytes": "-1"}


class Admin:
    def __init__(self, **topics: Mapping[str, str]) -> None:
        self._topics = {"changelog": CHANGELOG, "repartition": REPARTITION}
        self._settings = {self._topics[name]: given for name, given in topics.items()}

    def topic_settings(self, topics: Sequence[str]) -> dict[str, Mapping[str, str]]:
        return {name: self._settings[name] for name in topics if name in self._settings}


def check(existing: Sequence[str] = (CHANGELOG, REPARTITION), **topics: Mapping[str, str]) -> int:
    return check_retention(PLANNED, existing, config=CONFIG, admin=Admin(**topics))


GOOD = {"cleanup.policy": "delete", **KEPT}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (
            {"cleanup.policy": "delete", "retention.ms": "2000", "retention.bytes": "-1"},
            "retention.ms=2000",
        ),
        (
            {"cleanup.policy": "compact,delete", "retention.ms": "-1", "retention.bytes": "0"},
            "retention.bytes=0",
        ),
        (
            {"cleanup.policy": "delete, compact", "retention.ms": "5", "retention.bytes": "6"},
            "retention.ms=5, retention.bytes=6",
        ),
    ],
)
def test_a_changelog_that_loses_rows_is_refused(settings: dict[str, str], named: str) -> None:
    with pytest.raises(InternalTopicError) as refused:
        check(changelog=settings, repartition=GOOD)
    assert str(refused.value) == f"Kafka would delete state: {CHANGELOG} has {named}"
    assert f"kafka:9092 --alter --entity-type topics --entity-name {CHANGELOG}" in (
        refused.value.hint
    )
    assert "'cleanup.policy=[compact,delete],retention.ms=-1,retention.bytes=-1'" in (
        refused.value.hint
    )


def test_a_changelog_that_keeps_everything_is_taken() -> None:
    limited = {"retention.ms": "1000", "retention.bytes": "1000"}
    for settings in ({"cleanup.policy": "compact,delete", **KEPT}, {"cleanup.policy": "compact"}):
        assert check(changelog=settings, repartition=GOOD) == DELETE_RETENTION_MS
    # Retention is for topics that delete.
    assert check(changelog={"cleanup.policy": "compact", **limited}, repartition=GOOD)


def test_a_changelog_that_is_not_compacted_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    check(changelog={"cleanup.policy": "delete", **KEPT}, repartition=GOOD)
    (said,) = caplog.messages
    assert said.startswith(f"{CHANGELOG} has cleanup.policy=delete: without compact it grows")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"cleanup.policy": "delete", "retention.ms": "604800000"}, "retention.ms=604800000"),
        ({"cleanup.policy": "compact"}, "cleanup.policy=compact"),
        ({"cleanup.policy": "compact,delete", **KEPT}, "cleanup.policy=compact,delete"),
    ],
)
def test_a_repartition_topic_that_loses_records_is_refused(
    settings: dict[str, str], named: str
) -> None:
    with pytest.raises(InternalTopicError) as refused:
        check(repartition=settings, existing=[REPARTITION])
    assert str(refused.value) == (
        f"Kafka would delete records that were not processed: {REPARTITION} has {named}"
    )
    assert "'cleanup.policy=delete,retention.ms=-1,retention.bytes=-1'" in refused.value.hint


def test_removals_stay_as_long_as_the_changelog_says() -> None:
    kept = {"cleanup.policy": "compact,delete", **KEPT}
    assert check(changelog={**kept, "delete.retention.ms": "1000"}, repartition=GOOD) == 1000
    # Of repartition topics it says nothing; a changelog that is yet to be made gets our own.
    shorter = {**GOOD, "delete.retention.ms": "5"}
    assert check(changelog=kept, repartition=shorter) == DELETE_RETENTION_MS
    assert check(existing=[]) == DELETE_RETENTION_MS


def test_settings_that_may_not_be_read_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert check(repartition=GOOD) == DELETE_RETENTION_MS
    (said,) = caplog.messages
    assert said == (
        f"whether Kafka keeps what {CHANGELOG} holds is not checked: grant DescribeConfigs on it"
    )
