"""Questions to the brokers, and the few things that are created or fenced through them.

Every call is bounded: it repeats what is worth repeating until `timeout_s`, then raises
KafkaUnavailableError. Nothing existing is ever changed or deleted here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, repeat
from typing import Any, Literal, TypeVar

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
)
from confluent_kafka import TopicPartition as Address
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from streamer.config import Config
from streamer.errors import InternalTopicError, KafkaUnavailableError, TopicMissingError
from streamer.ids import TopicPartition
from streamer.kafka import settings
from streamer.kafka.attempts import PAUSE_S, Attempts
from streamer.kafka.coordinators import REQUEST_S, Coordinators
from streamer.kafka.creation import TopicSpec, create
from streamer.kafka.described import (
    bits,
    descriptions,
    is_for_good,
    is_missing,
    operations,
    settings_of,
)
from streamer.kafka.faults import error_of
from streamer.kafka.members import GroupMember, members
from streamer.kafka.positions import positions
from streamer.kafka.rights import on_group, on_id, on_topics

__all__ = ["Admin", "GroupMember", "TopicSpec"]

Isolation = Literal["read_committed", "read_uncommitted"]
T = TypeVar("T")

# A rolling restart of a broker takes less; a worker that starts meanwhile should not fail.
TIMEOUT_S = 60.0
# A batch goes into one segment.
_LIMITS = ("max.message.bytes", "segment.bytes")
_MOVED = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
)
# A leader that lives answers in milliseconds. One that has died is asked for so long, and then who
# leads is looked up again. Not so long at first: a client that was just made, on a busy host, now
# and then waits in vain for its first answer, and each task of a new layout waits behind it.
_FIRST_S, _LEADER_S = 1.0, 3.0
# Brokers learn of a new topic one after the other: one that is up does within a second.
_SPREAD_S = 10.0
_LEVELS = {
    "read_committed": IsolationLevel.READ_COMMITTED,
    "read_uncommitted": IsolationLevel.READ_UNCOMMITTED,
}


class Admin:
    """May be used by several threads. Once `stopping` is set, waiting ends with StoppedError."""

    def __init__(
        self,
        config: Config,
        *,
        timeout_s: float = TIMEOUT_S,
        stopping: threading.Event | None = None,
    ) -> None:
        self._config = config
        self._client = AdminClient(settings.admin(config))
        self._coordinators = Coordinators(config)
        self._timeout_s = timeout_s
        self._stopping = stopping
        self._attempts = self._tries(timeout_s, lambda: self._client)
        self._seen: set[str] = set()

    def _tries(self, timeout_s: float, client: Callable[[], Any] | None = None) -> Attempts:
        where = self._config.bootstrap_servers
        return Attempts(timeout_s, where, stopping=self._stopping, client=client)

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """The number of partitions of each topic.

        Raises TopicMissingError with the names of all that do not exist and how to create them.
        """
        counts = self._existing_where_seen(topics)
        missing = [topic for topic in topics if topic not in counts]
        if missing:
            noun = "topic does" if len(missing) == 1 else "topics do"
            raise TopicMissingError(
                f"the {noun} not exist: {', '.join(missing)}",
                hint="create them, for example: kafka-topics.sh --bootstrap-server"
                f" {self._config.bootstrap_servers} --create --topic {missing[0]} --partitions 4,"
                f" or streamer sandbox topic {' '.join(missing)} --bootstrap-servers"
                f" {self._config.bootstrap_servers}",
            )
        return counts

    def partitions_if_available(self, topics: Sequence[str]) -> dict[str, int] | None:
        """As `partitions`, but one short try: None while brokers are away."""
        try:
            answers = self._client.describe_topics(TopicCollection(list(topics)), request_timeout=2)
            return {topic: len(answers[topic].result(3).partitions) for topic in topics}
        except (KafkaException, TimeoutError) as error:
            if isinstance(error, KafkaException) and is_for_good(error):
                return self.partitions(topics)
            return None

    def create(self, topics: Sequence[TopicSpec]) -> None:
        """Create what is not there and wait until it can be used. What exists is left as it is.

        Raises InternalTopicError when an existing topic that is not `any_size` has another number
        of partitions, and ConfigError for what brokers refuse to create.
        """
        if not topics:
            return
        self._attempts(
            f"creating {', '.join(spec.name for spec in topics)}",
            lambda left_s: create(self._client, topics, left_s),
        )
        deadline = time.monotonic() + self._timeout_s
        while len(counts := self._existing([spec.name for spec in topics])) < len(topics):
            # Brokers learn of a new topic one after the other.
            if time.monotonic() > deadline:
                raise KafkaUnavailableError(f"created topics did not appear: {topics}")
            time.sleep(PAUSE_S)
        for spec in topics:
            if counts[spec.name] != spec.partitions and not spec.any_size:
                raise InternalTopicError(
                    f"{spec.name} has {counts[spec.name]} partitions, not {spec.partitions}",
                    hint="someone else made it, or another topology needed it; nothing was changed",
                )

    def ends(
        self, partitions: Iterable[TopicPartition], isolation: Isolation = "read_committed"
    ) -> dict[TopicPartition, int]:
        """Where each partition ends: read_committed stops before transactions still open."""
        spec: Any = OffsetSpec.latest
        return self._offsets("ends", partitions, spec=spec(), isolation=isolation)

    def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that still exists in each partition."""
        spec: Any = OffsetSpec.earliest
        return self._offsets("starts", partitions, spec=spec(), isolation="read_uncommitted")

    def delete_before(self, positions: Mapping[TopicPartition, int]) -> None:
        """Delete the records before these positions, for good."""
        request = [Address(*place, position) for place, position in positions.items()]

        def ask(left_s: float) -> None:
            answers = self._client.delete_records(request, request_timeout=left_s)
            for answer in answers.values():
                answer.result(left_s + 1)

        topics = sorted({place.topic for place in positions})
        what = f"deleting processed records of {', '.join(topics)}"
        self._attempts(what, _of_leaders(self._client, topics, ask), on_topics("Delete", topics))

    def group_members(self, group: str, *, timeout_s: float | None = None) -> list[GroupMember]:
        """The live members of a consumer group; none for a group that does not exist."""
        return self.members_of([group], timeout_s=timeout_s)[group]

    def members_of(
        self, groups: Sequence[str], *, timeout_s: float | None = None
    ) -> dict[str, list[GroupMember]]:
        """The same of several groups, without those whose coordinator does not answer."""
        attempts = self._tries(timeout_s or self._timeout_s)
        what = f"asking for the members of {', '.join(groups[:3])}"

        def ask(left_s: float) -> dict[str, list[GroupMember]]:
            return self._coordinators.ask(
                lambda client: client.describe_consumer_groups(
                    list(groups), request_timeout=REQUEST_S
                ),
                lambda answers: members(answers, what),
                left_s,
            )

        return attempts(what, ask, *(on_group("Describe", group) for group in groups[:1]))

    def fence(self, transactional_id: str) -> None:
        """Initialise the id anew: its user can commit no more, its transaction is aborted."""
        made = settings.producer(self._config, transactional_id)
        # It never sends a record.
        made |= {"queue.buffering.max.kbytes": 1024, "queue.buffering.max.messages": 1000}
        producer = Producer(made)
        attempts = self._tries(self._timeout_s, lambda: producer)
        what = f"fencing {transactional_id}"
        attempts(what, producer.init_transactions, on_id(transactional_id))
        producer.close()

    def topic_settings(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """The settings in force for each topic. Topics that are missing, or whose settings this
        user may not read, are left out."""
        resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
        if not resources:
            return {}

        ask = partial(settings_of, self._client, resources)
        return self._attempts(f"asking for the settings of {', '.join(topics)}", ask)

    def message_limits(self, topics: Sequence[str]) -> dict[str, int]:
        """The largest batch in bytes that each topic takes, of those with `topic_settings`."""
        return {
            topic: min(int(settings[name]) for name in _LIMITS)
            for topic, settings in self.topic_settings(topics).items()
        }

    def topics(self) -> dict[str, int]:
        """All topics that this user may see, with the number of their partitions."""

        def ask(left_s: float) -> dict[str, int]:
            found = self._client.list_topics(timeout=left_s).topics
            return {topic: len(about.partitions) for topic, about in found.items()}

        return self._attempts("listing topics", ask)

    def committed(
        self, group: str, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """The group's committed positions; partitions without one are left out."""
        addresses = [Address(*each) for each in partitions]
        topics = on_topics("Describe", (address.topic for address in addresses))
        found = self._attempts(
            f"asking for the positions of {group}",
            lambda left_s: positions(self._config, group, addresses, left_s=left_s),
            on_group("Describe", group),
            topics,
        )
        return {
            TopicPartition(each.topic, each.partition): each.offset
            for each in found
            if each.offset >= 0
        }

    def denied(self, operation: str, topics: Sequence[str]) -> list[str]:
        """Those of the topics on which this user may not do that, as far as it may look at them."""
        wanted = AclOperation[operation.upper()]
        described = self._attempts(
            f"asking for the rights on {', '.join(topics)}",
            partial(descriptions, self._client, list(topics), rights=True),
        )
        return [one for one in topics if wanted not in operations(described.get(one))]

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Kafka's own id of each topic that exists, which a topic made anew does not share
        (KIP-516); "" where the brokers give none."""
        ids = {topic: about.topic_id for topic, about in self._described(topics).items()}
        return {topic: str(one) if one and any(bits(one)) else "" for topic, one in ids.items()}

    def _existing(self, topics: Sequence[str]) -> dict[str, int]:
        found = {topic: len(about.partitions) for topic, about in self._described(topics).items()}
        self._seen |= found.keys()
        return found

    def _existing_where_seen(self, topics: Sequence[str]) -> dict[str, int]:
        """The same; what one broker has told of is waited for where the next one has not heard."""
        deadline = time.monotonic() + _SPREAD_S
        while (found := self._existing(topics)).keys() & self._seen != self._seen & set(topics):
            if time.monotonic() > deadline:
                self._seen -= set(topics) - found.keys()
            else:
                time.sleep(PAUSE_S)
        return found

    def _described(self, topics: Sequence[str]) -> dict[str, Any]:
        if not topics:
            return {}
        wanted = list(dict.fromkeys(topics))
        ask = partial(descriptions, self._client, wanted)
        what = f"looking up {', '.join(topics)}"
        return self._attempts(what, ask, on_topics("Describe", topics))

    def _offsets(
        self,
        noun: str,
        partitions: Iterable[TopicPartition],
        *,
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> dict[TopicPartition, int]:
        request = {Address(*each): spec for each in partitions}
        if not request:
            return {}

        waits = chain((_FIRST_S,), repeat(_LEADER_S))

        def ask(left_s: float) -> dict[TopicPartition, int]:
            left_s = min(left_s, next(waits))
            answers = self._client.list_offsets(
                request, isolation_level=_LEVELS[isolation], request_timeout=left_s
            )
            return _answered(
                {
                    TopicPartition(each.topic, each.partition): answer.result(left_s + 1).offset
                    for each, answer in answers.items()
                }
            )

        named = sorted({address.topic for address in request})
        try:
            what = f"asking for the {noun} of {', '.join(named)}"
            asked = _of_leaders(self._client, named, ask)
            return self._attempts(what, asked, on_topics("Describe", named))
        except KafkaUnavailableError as error:
            if isinstance(error.__cause__, KafkaException) and is_missing(error.__cause__):
                self.partitions(named)
            raise


def _answered(offsets: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
    """librdkafka asks each leader, and drops the error of one that does not answer."""
    if silent := sorted(str(place) for place, at in offsets.items() if at < 0):
        reason = f"nobody answers for {', '.join(silent[:3])}"
        raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE, reason))
    return offsets


def _of_leaders(
    client: AdminClient, topics: Sequence[str], ask: Callable[[float], T]
) -> Callable[[float], T]:
    """The request, and a look at who leads these topics now where it went to who did before:
    librdkafka's admin client keeps that for 15 minutes, whatever it is told."""

    def asked(left_s: float) -> T:
        try:
            return ask(left_s)
        except KafkaException as error:
            if error_of(error).code() in _MOVED:
                # What was asked first is what has failed.
                with suppress(KafkaException):
                    for topic in topics:
                        client.list_topics(topic, timeout=min(left_s, _LEADER_S))
            raise

    return asked
