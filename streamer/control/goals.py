"""Where the tasks shall go, as a controller keeps it for the next one: `<application>.operations`.

    goal.0 ... goal.63    GoalRecord    by the controller alone, in the transaction of its grants

A task that is in none of the pieces shall stay where the assignments say that it is. So a change of
a few tasks is a few small records, and a cluster at rest has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import msgspec
from msgspec import Struct

from streamer.control.numbers import Whole
from streamer.control.versions import check_format
from streamer.errors import InternalTopicError, StreamerError
from streamer.ids import TaskId

__all__ = ["FORMAT", "PIECES", "GoalRecord", "decode_goal", "encode_goal", "goal_key", "piece_of"]

FORMAT = 1
# With 12,000 tasks a piece has 190 at most, some 10 KB; a change of 20 tasks writes 20 of them.
PIECES = 64
_PREFIX = "goal."


class GoalRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One piece: the active and the standbys of tasks that are on their way, by task; "" where a
    task has no active. `shape` is the digest of the shape that gives the tasks their names."""

    format: Whole = FORMAT
    shape: str = ""
    copies: dict[str, tuple[str, ...]] = {}


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(GoalRecord)


def piece_of(task: TaskId) -> int:
    """The piece that a task is in; the same in every process and release."""
    return crc32(str(task).encode()) % PIECES


def goal_key(piece: int) -> str:
    return f"{_PREFIX}{piece}"


def encode_goal(record: GoalRecord) -> bytes | None:
    """A piece without tasks is taken back."""
    if not record.copies:
        return None
    # The version is a default, and yet always written.
    return _encoder.encode({"format": record.format, **msgspec.to_builtins(record)})


def decode_goal(rows: Mapping[str, bytes | None], topic: str) -> dict[int, GoalRecord]:
    """The pieces among the last rows of the topic, by key. Raises InternalTopicError for a piece of
    another format version, or that is none."""
    found: dict[int, GoalRecord] = {}
    for piece in range(PIECES):
        key = goal_key(piece)
        if (value := rows.get(key)) is None:
            continue
        try:
            check_format(value, FORMAT, topic=topic, key=key)
            found[piece] = _decoder.decode(value)
            for name in found[piece].copies:
                TaskId.parse(name)
        except InternalTopicError:
            raise
        except (msgspec.MsgspecError, StreamerError) as error:
            raise InternalTopicError(
                f"{topic}: the record of key {key!r} is not a piece of a goal: {error}",
                hint="only workers of the application may write there",
            ) from error
    return found
