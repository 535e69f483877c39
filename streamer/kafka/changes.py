"""What operations change and take away on the brokers: topics, their settings, and groups.

Beside `Admin`, which changes nothing that exists, so that who only asks cannot. Every call is
bounded, and may be repeated: what is gone already is done.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from streamer.config import Config
from streamer.errors import KafkaUnavailableError
from streamer.kafka import settings
from streamer.kafka.attempts import PAUSE_S, Attempts
from streamer.kafka.coordinators import REQUEST_S, Coordinators
from streamer.kafka.faults import error_of
from streamer.kafka.rights import on_group, on_topics

__all__ = ["Changes"]

_TIMEOUT_S = 60.0
_NO_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART})
_NO_GROUP = frozenset({KafkaError.GROUP_ID_NOT_FOUND})


class Changes:
    """Used by one thread. Calls raise KafkaUnavailableError after a minute, and ConfigError for a
    right that is missing."""

    def __init__(self, config: Config) -> None:
        self._client = AdminClient(settings.admin(config))
        self._coordinators = Coordinators(config)
        where = config.bootstrap_servers
        self._attempts = Attempts(_TIMEOUT_S, where, client=lambda: self._client)
        self._asking = Attempts(_TIMEOUT_S, where)

    def delete_topics(self, topics: Collection[str]) -> None:
        """Delete these topics with all that is in them, and wait until their names are free."""
        names = sorted(topics)
        if not names:
            return

        def ask(left_s: float) -> None:
            answers = self._client.delete_topics(
                names, operation_timeout=left_s, request_timeout=left_s
            )
            _done(answers, _NO_TOPIC, left_s)

        self._attempts(f"deleting {', '.join(names)}", ask, on_topics("Delete", names))
        deadline = time.monotonic() + _TIMEOUT_S
        while left := self._existing(names):
            if time.monotonic() > deadline:
                raise KafkaUnavailableError(f"deleted topics did not go: {', '.join(left)}")
            time.sleep(PAUSE_S)

    def delete_groups(self, groups: Collection[str]) -> None:
        """Forget what these groups have committed. None of them may have members."""
        names = sorted(groups)
        if not names:
            return

        def ask(left_s: float) -> None:
            self._coordinators.ask(
                lambda client: client.delete_consumer_groups(names, request_timeout=REQUEST_S),
                lambda answers: _done(answers, _NO_GROUP, 0),
                left_s,
            )

        what = f"deleting {len(names)} groups such as {names[0]}"
        self._asking(what, ask, on_group("Delete", names[0]))

    def alter_topics(self, wanted: Mapping[str, Mapping[str, str | None]]) -> None:
        """Set these settings of topics, by topic; None takes one back to the brokers' default.
        Topics that do not exist are passed over."""
        resources = [
            ConfigResource(
                ResourceType.TOPIC,
                topic,
                incremental_configs=[_entry(name, value) for name, value in changed.items()],
            )
            for topic, changed in sorted(wanted.items())
        ]
        if not resources:
            return

        def ask(left_s: float) -> None:
            answers = self._client.incremental_alter_configs(resources, request_timeout=left_s)
            _done(answers, _NO_TOPIC, left_s)

        named = ", ".join(sorted(wanted))
        self._attempts(f"changing settings of {named}", ask, on_topics("AlterConfigs", wanted))

    def _existing(self, names: Collection[str]) -> list[str]:
        def ask(left_s: float) -> list[str]:
            found = self._client.list_topics(timeout=left_s).topics
            return sorted(found.keys() & set(names))

        return self._attempts("listing topics", ask)


def _entry(name: str, value: str | None) -> ConfigEntry:
    kind = AlterConfigOpType.SET if value is not None else AlterConfigOpType.DELETE
    return ConfigEntry(name, value, incremental_operation=kind)


def _done(answers: Mapping[Any, Any], gone: Collection[int], left_s: float) -> None:
    """Wait for all answers; what is not there any more needs nothing."""
    for answer in answers.values():
        try:
            answer.result(left_s + 1)
        except KafkaException as error:
            if error_of(error).code() not in gone:
                raise
