"""Where the tasks shall go, as a controller keeps it for the next one: `<application>.operations`.

    goal.0 ... goal.63              GoalRecord    layout 1
    goal.layout-2.0 ...             GoalRecord    by the controller of that layout alone, in the
                                                  transaction of its grants

A task that is in none of the pieces shall stay where the assignments say that it is. So a change of
a few tasks is a few small records, and a cluster at rest has none.

Each layout has keys of its own. Whoever switches to one writes where its tasks shall begin, in the
same transaction (`goal_rows`), and the controller of the former layout cannot write over that while
it has not heard of the switch. The next controller takes back the pieces of former layouts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from zlib import crc32

import msgspec
from msgspec import Struct

from streamer.control.numbers import Whole
from streamer.control.versions import check_format
from streamer.errors import InternalTopicError, StreamerError
from streamer.ids import FIRST_LAYOUT, TaskId, TopicPartition, control_topic

__all__ = [
    "FORMAT",
    "PIECES",
    "GoalRecord",
    "decode_goal",
    "encode_goal",
    "former_goals",
    "goal_key",
    "goal_rows",
    "piece_of",
]

FORMAT = 1
# With 12,000 tasks a piece has 190 at most, some 10 KB; a change of 20 tasks writes 20 of them.
PIECES = 64
_KEY = re.compile(r"goal\.(?:layout-(\d+)\.)?\d+")
_NOBODY: Mapping[str, Collection[TaskId]] = {}


class GoalRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One piece: the active and the standbys of tasks that are on their way, by task; "" where a
    task has no active. `shape` is the digest of the shape that gives the tasks their names, "" for
    whichever has the layout that the key names."""

    format: Whole = FORMAT
    shape: str = ""
    copies: dict[str, tuple[str, ...]] = {}


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(GoalRecord)


def piece_of(task: TaskId) -> int:
    """The piece that a task is in; the same in every process and release."""
    return crc32(str(task).encode()) % PIECES


def goal_key(piece: int, layout: int = FIRST_LAYOUT) -> str:
    return f"goal.{piece}" if layout == FIRST_LAYOUT else f"goal.layout-{layout}.{piece}"


def former_goals(rows: Mapping[str, bytes | None], layout: int) -> list[str]:
    """The keys of pieces of layouts before this one, among the last rows of the topic."""
    found = []
    for key, value in rows.items():
        match = _KEY.fullmatch(key)
        if match is not None and value is not None and int(match[1] or FIRST_LAYOUT) < layout:
            found.append(key)
    return sorted(found)


def goal_rows(
    application: str,
    layout: int,
    actives: Mapping[str, Collection[TaskId]],
    *,
    standbys: Mapping[str, Collection[TaskId]] = _NOBODY,
) -> list[tuple[TopicPartition, str, bytes | None]]:
    """Where the tasks of a layout shall begin, by worker: for who switches to it, beside the record
    of it (`LayoutRight.switch`). All tasks are to be named, also those that no change touches: what
    is left out is placed as a new task is, wherever its state may be."""
    copies: dict[TaskId, list[str]] = {}
    for worker, tasks in sorted(actives.items()):
        copies |= {task: [worker] for task in tasks}
    for worker, tasks in sorted(standbys.items()):
        for task in tasks:
            copies.setdefault(task, [""]).append(worker)
    pieces: dict[int, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for task, workers in sorted(copies.items()):
        pieces[piece_of(task)][str(task)] = tuple(workers)
    place = TopicPartition(control_topic(application, "operations"), 0)
    return [
        (place, goal_key(piece, layout), encode_goal(GoalRecord(copies=named)))
        for piece, named in sorted(pieces.items())
    ]


def encode_goal(record: GoalRecord) -> bytes | None:
    """A piece without tasks is taken back."""
    if not record.copies:
        return None
    # The version is a default, and yet always written.
    return _encoder.encode({"format": record.format, **msgspec.to_builtins(record)})


def decode_goal(
    rows: Mapping[str, bytes | None], topic: str, layout: int = FIRST_LAYOUT
) -> dict[int, GoalRecord]:
    """The pieces of a layout among the last rows of the topic, by key. Raises InternalTopicError
    for a piece of another format version, or that is none."""
    found: dict[int, GoalRecord] = {}
    for piece in range(PIECES):
        key = goal_key(piece, layout)
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
