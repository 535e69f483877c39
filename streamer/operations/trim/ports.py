"""What a trim needs of the outside: logs that can be looked at and cut, and the control records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.control.orders import Order
from streamer.errors import StreamerError
from streamer.ids import TopicPartition
from streamer.layout import ApplicationLayout
from streamer.operations.books import Books

__all__ = ["Control", "Logs", "Told"]


class Logs(Protocol):
    """As `streamer.kafka.admin.Admin`."""

    def topics(self) -> dict[str, int]: ...

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]: ...

    def topic_settings(self, topics: Sequence[str]) -> dict[str, dict[str, str]]: ...

    def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...

    def ends(
        self,
        partitions: Iterable[TopicPartition],
        isolation: Literal["read_committed", "read_uncommitted"] = ...,
    ) -> dict[TopicPartition, int]: ...

    def delete_before(self, positions: Mapping[TopicPartition, int]) -> None: ...


@dataclass(frozen=True, slots=True)
class Told:
    """The newest control records by key; `refused` are those that cannot be read, by a name of each
    that people understand. `layout` is the one that holds."""

    assignments: Mapping[str, AssignmentRecord] = field(default_factory=dict)
    statuses: Mapping[str, StatusRecord] = field(default_factory=dict)
    orders: Sequence[Order] = ()
    books: Books = field(default_factory=Books)
    refused: Mapping[str, StreamerError] = field(default_factory=dict)
    layout: ApplicationLayout = field(default_factory=ApplicationLayout)


class Control(Protocol):
    """The control topics of one application."""

    def read(self) -> Told:
        """All that was written before this call."""
        ...

    def close(self) -> None: ...
