"""What brokers do not allow: which right (ACL) is missing on what, and the command that grants it.

A broker says no more than the kind of thing that it guards. So who asks says what it needs for
that, and an answer of that kind means that this is missing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from confluent_kafka import KafkaError

from streamer.errors import ConfigError

_log = logging.getLogger(__name__)

__all__ = [
    "Right",
    "is_only_the_group",
    "not_granted",
    "not_let_in",
    "on_group",
    "on_id",
    "on_topics",
    "refusal",
]

Kind = Literal["topic", "group", "transactional-id", "cluster"]

_GUARDED: dict[int, Kind] = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional-id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "cluster",
}
_NOT_LET_IN = frozenset({KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._AUTHENTICATION})


class Right(NamedTuple):
    """An operation as Kafka's ACLs name it, on some things of one kind, as `kafka-acls.sh` does."""

    operation: str
    kind: Kind
    names: tuple[str, ...]

    def __str__(self) -> str:
        noun = self.kind.replace("-", " ")
        if len(self.names) == 1:
            return f"{self.operation} on {noun} {self.names[0]}"
        return f"{self.operation} on one of the {noun}s {', '.join(self.names)}"

    def among(self, said: str) -> Right:
        """The same on those things alone that the broker names, where it names any."""
        named = [
            one for one in self.names if re.search(rf"(?<![\w.-]){re.escape(one)}(?![\w.-])", said)
        ]
        return self._replace(names=tuple(named)) if named else self

    @property
    def options(self) -> str:
        """What `kafka-acls.sh --add` needs beside the user."""
        named = " ".join(f"--{self.kind} {name}" for name in self.names)
        return f"--operation {self.operation} {named}"


def on_topics(operation: str, topics: Iterable[str]) -> Right:
    return Right(operation, "topic", tuple(sorted(set(topics))))


def on_group(operation: str, group: str) -> Right:
    return Right(operation, "group", (group,))


def on_id(transactional_id: str) -> Right:
    """To write with a transactional id, or to fence its user."""
    return Right("Write", "transactional-id", (transactional_id,))


def refusal(error: KafkaError, what: str, *needed: Right) -> ConfigError | None:
    """The error to raise where this user may not do it, or is not let in; None for any other."""
    code, said = error.code(), error.str()
    if code in _NOT_LET_IN:
        return not_let_in(what, said)
    if code not in _GUARDED:
        return None
    missing = next((each.among(said) for each in needed if each.kind == _GUARDED[code]), None)
    if missing is None:
        return ConfigError(
            f"{what}: {said}",
            hint="grant the right (ACL) to the user of the kafka settings; docs/security.md lists"
            " all that is needed",
        )
    return not_granted(what, missing, said)


def not_granted(what: str, missing: Right, said: str) -> ConfigError:
    return ConfigError(
        f"{what}: {missing} is not granted ({said})",
        hint="grant it to the user of the kafka settings: kafka-acls.sh --add --allow-principal"
        f" User:... {missing.options} --bootstrap-server ...; docs/security.md lists all that is"
        " needed",
    )


def not_let_in(what: str, said: str) -> ConfigError:
    """The error for a client whose password or certificate is refused, or who refuses those of the
    brokers."""
    return ConfigError(
        f"{what}: the brokers do not let this client in: {said}",
        hint="mend the security settings in kafka (security.protocol, sasl.*, ssl.*); `streamer"
        " settings` shows where each comes from",
    )


def is_only_the_group(error: KafkaError, what: str, group: str) -> bool:
    """Whether a client that was given its partitions may not look at its group, in which it never
    commits: it reads all the same, asking for the group once a second."""
    if error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
        return False
    _log.warning("%s: %s is not granted", what, on_group("Describe", group))
    return True
