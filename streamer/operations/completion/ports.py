"""What a completion needs of the outside, as a protocol; world.py has that of Kafka."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from streamer.control.messages import StatusRecord
from streamer.control.orders import Order
from streamer.ids import TopicPartition
from streamer.kafka.readers import Reader
from streamer.layout import ApplicationLayout
from streamer.operations.books import Books
from streamer.topology.partitions import Partitions

__all__ = ["Present", "World"]


class Present(NamedTuple):
    """What the application has now: topics and tasks by the layout that holds, and the digest of
    the shape that its workers have."""

    planned: Partitions
    shape: str


class World(Protocol):
    """The application as it is reached from here. Used by one thread."""

    @property
    def place(self) -> TopicPartition:
        """Where orders are."""
        ...

    def books(self) -> Books: ...

    def recorded(self) -> ApplicationLayout:
        """The layout that holds."""
        ...

    def present(self) -> Present:
        """By the layout that holds, and the topology that the controller tells. Raises
        OperationRefusedError where none has told it, and TopologyError where they do not fit."""
        ...

    def topics(self) -> Mapping[str, int]: ...

    def readers(self, topics: Mapping[str, int]) -> Sequence[Reader]:
        """Who reads these, but for the application itself."""
        ...

    def delete(self, topics: Collection[str]) -> None: ...

    def orders(self) -> Mapping[str, Order]: ...

    def statuses(self) -> Mapping[str, StatusRecord]:
        """Of the workers that live."""
        ...

    def now_ms(self) -> int: ...

    def wait(self) -> None:
        """For a moment, until there may be news."""
