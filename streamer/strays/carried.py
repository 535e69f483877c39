"""A stray on its way: the record as it was, with one header more that says where it was found.

    __streamer.stray    <partition>:<offset>

Its topic is known by the strays topic, its timestamp stays its own. Where it is taken in it is
again a record of the topic, partition and offset at which its producer put it, so that user code,
errors and dead letters tell the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from streamer.errors import InternalTopicError
from streamer.record import Headers, RawBatch

__all__ = ["HEADER", "headers_of", "taken_in"]

HEADER = "__streamer.stray"


def headers_of(batch: RawBatch, rows: Sequence[int]) -> list[Headers]:
    """The headers with which these rows are forwarded."""
    return [
        [
            *batch.headers_at(row),
            (HEADER, f"{batch.partition}:{batch.offsets[row]}".encode()),
        ]
        for row in rows
    ]


def taken_in(batch: RawBatch, topic: str) -> Iterator[RawBatch]:
    """Strays as records of `topic`: runs of those that were found in one partition of it.

    Raises InternalTopicError for a record that was not forwarded.
    """
    found = [_origin(batch, row) for row in range(len(batch))]
    for partition, run in groupby(range(len(batch)), key=lambda row: found[row][0]):
        rows = list(run)
        part = batch.take(rows)
        headers = [batch.headers_at(row)[:-1] or None for row in rows]
        yield RawBatch(
            topic=topic,
            partition=partition,
            keys=part.keys,
            values=part.values,
            timestamps=part.timestamps,
            offsets=[found[row][1] for row in rows],
            read_headers=_given(headers),
        )


def _given(headers: Sequence[Headers | None]) -> Callable[[], Sequence[Headers | None]]:
    return lambda: headers


def _origin(batch: RawBatch, row: int) -> tuple[int, int]:
    name, text = (batch.headers_at(row) or [("", b"")])[-1]
    partition, _, offset = (text or b"").decode(errors="replace").partition(":")
    if name != HEADER or not partition.isdigit() or not offset.isdigit():
        raise InternalTopicError(
            f"{batch.topic}/{batch.partition}: the record at offset {batch.offsets[row]} is no"
            " stray that this application forwarded",
            hint="only its workers may write there; skip it by resetting the group's offset for"
            " this partition (kafka-consumer-groups --reset-offsets)",
        )
    return int(partition), int(offset)
