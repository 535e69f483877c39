"""What is handed to the client: records as columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

from streamer.kafka.api import OnRefused
from streamer.kafka.refusals import Refusals, Sent
from streamer.record import Headers

__all__ = ["Records", "passing"]


class Records(NamedTuple):
    """Columns of one topic's records."""

    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers] | None = None
    timestamps: Sequence[int] | None = None

    def sent(self, topic: str, row: int) -> Sent:
        headers = None if self.headers is None else self.headers[row]
        timestamp_ms = None if self.timestamps is None else self.timestamps[row]
        return topic, self.keys[row], self.values[row], headers, timestamp_ms

    def passing(self, passes: Sequence[bool]) -> Records:
        columns = (None if column is None else list(compress(column, passes)) for column in self)
        return Records(*columns)  # type: ignore[arg-type]

    def part(self, start: int, end: int) -> Records:
        """Keys and values of some of them."""
        return Records(self.keys[start:end], self.values[start:end])

    def size(self, start: int, end: int) -> int:
        """The bytes of some of them."""
        return sum(map(len, filter(None, self.keys[start:end]))) + sum(
            map(len, filter(None, self.values[start:end]))
        )


def passing(
    records: Records, topic: str, refusals: Refusals, *, on_refused: OnRefused
) -> list[bool]:
    """Which records may be sent, after some were refused: not those that will be again."""
    refusals.check(topic)
    passes = [True] * len(records.keys)
    for row in range(len(passes)):
        sent = records.sent(topic, row)
        problem = refusals.convicted(sent) or refusals.find(*sent[:3], headers=sent[3])
        if problem is not None:
            on_refused(*sent[:3], problem)
            passes[row] = False
    return passes
