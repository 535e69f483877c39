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
    NewPartitions,
    ResourceType,
)

from streamer.config import Config
from streamer.errors import KafkaUnavailableError, TopicMissingError
from streamer.kafka import settings
from streamer.kafka.attempts import PAUSE_S, Attempts
from streamer.kafka.coordinators import REQUEST_S, Coordinators
from streamer.kafka.faults import error_of
from streamer.kafka.rights import on_group, on_topics

__all__ = ["Changes"]

_TIMEOUT_S = 60.0
_NO_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART})
# Kafka has the same code for a number that is not greater than that of the moment.
_NOT_FEWER = frozenset({KafkaError.INVALID_PARTITIONS})
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

    def grow_topics(self, wanted: Mapping[str, int], *, tries_only: bool = False) -> None:
        """Give topics so many partitions, and wait until they have them; those that have as many or
        more stay as they are. One that `tries_only` has brokers say whether they would.

        Raises TopicMissingError for a topic that does not exist, besides.
        """
        due = [
            NewPartitions(name, wanted[name])
            for name, width in self._widths(sorted(wanted)).items()
            if width < wanted[name]
        ]
        if not due:
            return
        named = ", ".join(one.topic for one in due)

        def ask(left_s: float) -> None:
            answers = self._client.create_partitions(
                due, operation_timeout=left_s, request_timeout=left_s, validate_only=tries_only
            )
            # Somebody else may have been quicker.
            _done(answers, _NOT_FEWER, left_s)

        names = [one.topic for one in due]
        self._attempts(f"giving {named} more partitions", ask, on_topics("Alter", names))
        deadline = time.monotonic() + _TIMEOUT_S
        while not tries_only and (
            small := [name for name, width in self._widths(names).items() if width < wanted[name]]
        ):
            if time.monotonic() > deadline:
                raise KafkaUnavailableError(f"new partitions did not come: {', '.join(small)}")
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

    def _widths(self, names: Collection[str]) -> dict[str, int]:
        """How many partitions each has, as one broker knows it."""

        def ask(left_s: float) -> dict[str, int]:
            found = self._client.list_topics(timeout=left_s).topics
            if missing := sorted(set(names) - found.keys()):
                raise TopicMissingError(
                    f"there is no topic {missing[0]} that could be given partitions",
                    hint="somebody deleted it, or this user may not describe it",
                )
            return {name: len(found[name].partitions) for name in names}

        return self._attempts("listing topics", ask)

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
