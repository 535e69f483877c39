"""What operations need of the outside: one table of rows that several processes read and write.

Rows are written by whoever has claimed a scope. A claim ends every earlier one of the same scope:
what was begun under it is aborted, and it can write no more. So "claim, read to the end, write" is
one step as seen by all others, whatever they do meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from streamer.control.plans import APPLICATION
from streamer.ids import TopicPartition, control_topic

__all__ = ["Claim", "Effect", "Rows", "Table", "writer_id"]

Rows = Sequence[tuple[str, bytes | None]]
"""Keys with their values; None takes the key out."""


def writer_id(application: str, scope: str) -> str:
    """The transactional id of whoever holds the scope: claiming it fences who held it before. A
    slash is in no application's or worker's id, so it is nobody else's."""
    own = control_topic(application, "operations")
    return own if scope == APPLICATION else f"{own}/{scope}"


class Effect(NamedTuple):
    """A row of another control topic, written in the transaction of the operation's own rows."""

    place: TopicPartition
    key: str
    value: bytes | None


class Claim(Protocol):
    """The right to write under a scope's transactional id, until somebody else claims it."""

    def write(self, rows: Rows, effects: Sequence[Effect] = ()) -> None:
        """All of it or nothing. Raises FencedError after another claim, KafkaUnavailableError where
        it is not known what became of it; the claim is of no further use then."""

    def close(self) -> None: ...


class Table(Protocol):
    """The rows of one application's operations topic. Used by several threads."""

    @property
    def application(self) -> str: ...

    def read(self, *, to_end: bool) -> Mapping[str, bytes]:
        """All committed rows by key; `to_end` also waits for transactions that are being ended,
        as is needed after a claim."""
        ...

    def claim(self, scope: str) -> Claim: ...

    def pause(self) -> None:
        """Wait for a moment, for longer or shorter by chance: processes that take the lock from
        each other at the same pace would do so for ever."""

    def put(self, key: str, value: bytes | None) -> None:
        """Write a row that needs no lock: of a new key, or of one that all agree on. None takes it
        out."""

    def close(self) -> None: ...
