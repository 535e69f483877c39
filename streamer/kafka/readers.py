"""Who reads topics, as far as brokers know: groups with a member on them, or with a position there.

Who reads without a group leaves no trace, and share groups and those that this user may not
describe are not listed: none of them is seen here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from streamer.config import Config
from streamer.errors import KafkaUnavailableError
from streamer.ids import TopicPartition
from streamer.kafka import settings
from streamer.kafka.admin import Admin
from streamer.kafka.attempts import Attempts
from streamer.kafka.positions import committed

__all__ = ["Reader", "Readers"]

_TIMEOUT_S = 60.0
# In one request: a coordinator is asked for all of its own.
_GROUPS_AT_ONCE = 200
_CLIENTS = 8


@dataclass(frozen=True, slots=True)
class Reader:
    """A group that reads one of these topics, or has; `members` of it are there at this moment."""

    group: str
    members: int
    topics: tuple[str, ...]

    def __str__(self) -> str:
        here = f"{self.members} members" if self.members else "a position, no members"
        return f"group {self.group} ({here}) on {', '.join(self.topics)}"


class Readers:
    """Used by one thread. Raises KafkaUnavailableError where a group cannot be asked: it may be one
    that reads."""

    def __init__(self, config: Config, admin: Admin) -> None:
        self._config = config
        self._admin = admin
        self._client = AdminClient(settings.admin(config))
        self._attempts = Attempts(_TIMEOUT_S, config.bootstrap_servers, client=lambda: self._client)

    def of(
        self, topics: Mapping[str, int], *, is_own: Callable[[str], bool] = lambda _group: False
    ) -> list[Reader]:
        """The groups on these topics, which have so many partitions, but for one's own."""
        if not topics:
            return []
        groups = [group for group in self._groups() if not is_own(group)]
        at = [
            TopicPartition(one, number) for one in sorted(topics) for number in range(topics[one])
        ]
        found = []
        for start in range(0, len(groups), _GROUPS_AT_ONCE):
            batch = groups[start : start + _GROUPS_AT_ONCE]
            known = self._admin.members_of(batch)
            if silent := sorted(set(batch) - known.keys()):
                raise KafkaUnavailableError(f"nobody tells who is in group {silent[0]}")
            for group, positions in zip(batch, self._positions(batch, at), strict=True):
                assigned = {place for member in known[group] for place in member.partitions}
                read = {place.topic for place in assigned | positions if place.topic in topics}
                if read:
                    found.append(Reader(group, len(known[group]), tuple(sorted(read))))
        return found

    def _positions(
        self, groups: Sequence[str], places: Sequence[TopicPartition]
    ) -> list[set[TopicPartition]]:
        """Where each of these groups has one. Each is asked by a client of its own."""

        def ask(group: str) -> set[TopicPartition]:
            return set(
                committed(self._config, group, places, timeout_s=_TIMEOUT_S, is_stable=False)
            )

        with ThreadPoolExecutor(_CLIENTS) as pool:
            return list(pool.map(ask, groups))

    def _groups(self) -> list[str]:
        def ask(left_s: float) -> list[str]:
            answer = self._client.list_consumer_groups(request_timeout=left_s).result(left_s + 1)
            for error in answer.errors:
                raise error
            return sorted(one.group_id for one in answer.valid)

        return self._attempts("listing groups", ask)
