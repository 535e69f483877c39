"""Whether Kafka keeps what the internal topics hold: looked at in those that exist, at each start.

Streamer makes them with settings that keep everything. But a broker may have made one by itself
(`auto.create.topics.enable`), or somebody may have changed it since: then Kafka would delete state,
or records that nobody has processed, while the worker runs, and say nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from streamer.changelog.topics import changelog_settings
from streamer.config import Config
from streamer.errors import InternalTopicError
from streamer.topology.partitions import Partitions

__all__ = ["TopicSettings", "check_retention"]

_log = logging.getLogger(__name__)

_LIMITS = ("retention.ms", "retention.bytes")
_UNLIMITED = "-1"
_TOMBSTONES = "delete.retention.ms"


class TopicSettings(Protocol):
    def topic_settings(self, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]: ...


def check_retention(
    planned: Partitions, existing: Collection[str], *, config: Config, admin: TopicSettings
) -> int:
    """Look at the internal topics that exist. Returns for how many milliseconds every changelog
    keeps the removals of rows, which is how old a state may be that is to be continued.

    Raises InternalTopicError for topics that may lose what the application needs. Settings that
    this user may not read are warned of and taken to be as Streamer makes them.
    """
    found = admin.topic_settings(sorted(existing))
    unread = sorted(set(existing) - set(found))
    if unread:
        _log.warning(
            "whether Kafka keeps what %s holds is not checked: grant DescribeConfigs on it",
            ", ".join(unread),
        )
    changelogs = {name: found[name] for name in planned.changelogs if name in found}
    repartition = {name: found[name] for name in planned.repartition if name in found}
    wrong = {name: list(_losing_state(settings)) for name, settings in changelogs.items()}
    _refuse(wrong, "state", "[compact,delete]", config=config)
    wrong = {name: list(_losing_records(settings)) for name, settings in repartition.items()}
    _refuse(wrong, "records that were not processed", "delete", config=config)
    for name, settings in changelogs.items():
        if "compact" not in _policies(settings):
            _log.warning(
                "%s has cleanup.policy=%s: without compact it grows for ever, and so does the time"
                " that a restore takes",
                name,
                settings.get("cleanup.policy"),
            )
    ours = changelog_settings(config)[_TOMBSTONES]
    return min(int(each.get(_TOMBSTONES, ours)) for each in ({}, *changelogs.values()))


def _policies(settings: Mapping[str, str]) -> set[str]:
    return {part.strip() for part in settings.get("cleanup.policy", "").split(",")}


def _losing_state(settings: Mapping[str, str]) -> Iterator[str]:
    if "delete" not in _policies(settings):
        return
    for name in _LIMITS:
        if settings.get(name, _UNLIMITED) != _UNLIMITED:
            yield f"{name}={settings[name]}"


def _losing_records(settings: Mapping[str, str]) -> Iterator[str]:
    if "compact" in _policies(settings):
        # Of the records of a key it keeps the last one.
        yield f"cleanup.policy={settings['cleanup.policy']}"
    yield from _losing_state(settings)


def _refuse(wrong: Mapping[str, Sequence[str]], what: str, policy: str, *, config: Config) -> None:
    named = {name: settings for name, settings in wrong.items() if settings}
    if not named:
        return
    first = next(iter(named))
    listed = "; ".join(f"{name} has {', '.join(settings)}" for name, settings in named.items())
    others = ", and the others likewise" if len(named) > 1 else ""
    raise InternalTopicError(
        f"Kafka would delete {what}: {listed}",
        hint=f"correct it: kafka-configs.sh --bootstrap-server {config.bootstrap_servers} --alter"
        f" --entity-type topics --entity-name {first} --add-config"
        f" 'cleanup.policy={policy},retention.ms=-1,retention.bytes=-1'{others};"
        " nothing was changed",
    )
