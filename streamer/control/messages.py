"""The records of the control topics: JSON, each with the version of its format.

    <application>.assignments   key: worker   AssignmentRecord, by the controller alone
    <application>.status        key: worker   StatusRecord, by the worker; or a tombstone

An assignment record says for certain what its incarnation may own at most: `tasks` and `releasing`.
So the assignments alone decide who may own a task; a status only ever takes something away.
Either names its `application`, "" where a release wrote it that did not: one of another is refused.
A record is taken as a whole or refused: also what stands in it for tasks and incarnations is read
here, with the topic and the key at hand. Unknown fields are those of a later minor release.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from streamer.control.identity import Incarnation, Process, session_of
from streamer.control.numbers import Lag, Whole
from streamer.control.versions import check_format
from streamer.errors import InternalTopicError, StreamerError
from streamer.ids import TaskId, is_worker_id, parse_state_name

__all__ = [
    "FORMAT",
    "AssignmentRecord",
    "ChoreReport",
    "StandbyReport",
    "StatusRecord",
    "TaskReport",
    "decode_assignment",
    "decode_status",
    "encode",
    "process_of",
    "task_ids",
    "task_names",
]

FORMAT = 1

TaskState = Literal["restoring", "running", "closing", "failed"]


StandbyState = Literal["standby", "failed"]

ChoreState = Literal["waiting", "working", "done", "failed"]


class ChoreReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of an order to make a snapshot, or of a rebuild: `operation` gave it, `made` is
    the snapshot that was made or fetched, `source` where it came from. A snapshot counts its bytes
    twice, in the phases `hash` and `send`; a release that tells none counts what is sent."""

    operation: str
    state: ChoreState
    bytes_done: Whole = 0
    bytes_total: Whole = 0
    phase: str = ""
    made: str = ""
    source: str = ""
    why: str = ""


class TaskReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker says of one task that it owns. Positions are by `topic/partition`, `bytes` is
    what the state takes on its disk, `rate` the records that it processed per second of late.
    `durable` are the positions in its changelogs, by store, that its disk has."""

    state: TaskState
    lag_records: Lag = 0
    restore_left_records: Whole = 0
    positions: dict[str, Whole] = {}
    bytes: Whole = 0
    rate: Whole = 0
    durable: dict[str, Whole] = {}
    chore: ChoreReport | None = None


class StandbyReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker says of a copy that it keeps of another's task. `lag_records` is what it has
    yet to read of the changelogs, in offsets; -1 while their ends are not known. `is_current` says
    that it has read all that was committed: the rest is of a transaction that is open."""

    state: StandbyState = "standby"
    lag_records: Lag = 0
    is_current: bool = False
    bytes: Whole = 0
    durable: dict[str, Whole] = {}
    chore: ChoreReport | None = None


class AssignmentRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one incarnation shall own, and of which tasks it shall keep a copy (`standbys`): a copy
    owns nothing, so any number of workers may have one.

    `releasing` are tasks that were taken away and may still be open there. `ended` means that this
    incarnation owns nothing and never will: it left, or its transactional id was fenced; `tasks`
    and `standbys` then tell what it had. `refused` are sessions that lost a contest for the
    worker's id. `shape` is the digest of the shape of all workers that are given tasks. An
    incarnation of another one is refused by this; `topology` tells it the shape, one text for each
    subtopology.

    While `paused` has a number, the incarnation may have its tasks open and must not process: for
    `pause_ms` at most, after which it ends the pause by itself (streamer/cluster/pause.py).
    """

    format: Whole
    version: Whole
    worker: str
    incarnation: str
    tasks: tuple[str, ...] = ()
    releasing: tuple[str, ...] = ()
    standbys: tuple[str, ...] = ()
    ended: bool = False
    refused: tuple[str, ...] = ()
    shape: str = ""
    topology: tuple[str, ...] = ()
    paused: str = ""
    pause_ms: Whole = 0
    why: str = ""
    at_ms: Whole = 0
    application: str = ""


class StatusRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one incarnation owns at this moment.

    `seen` is the newest assignment it acts on: of the tasks that were taken away up to there, only
    those still listed are open. `number` counts the records of a session. `left` is the last one.
    `shape` is the digest of its topology; "" where a release wrote it that did not tell. `standbys`
    are the copies it keeps of others' tasks, `capacity` is how much it can carry beside the others.
    `paused` is the pause that it keeps, having committed; `resumed` the last one that it has ended
    by itself. `shadows` are copies of tasks of the layout that is to follow, by the order of
    operation `shadows_of`: their names mean something in that layout alone. `former` is what
    its disk has of layouts that were left: the bytes of each directory (`0_3.layout-2`).

    `follows` is the session that the process had before it began anew, "" where this is its first.
    That one is over: the producer was made anew since. Its own last word has the same key, and may
    be gone when a controller reads.
    """

    format: Whole
    number: Whole
    worker: str
    incarnation: str
    seen: Whole = 0
    tasks: dict[str, TaskReport] = {}
    standbys: dict[str, StandbyReport] = {}
    shadows: dict[str, StandbyReport] = {}
    shadows_of: str = ""
    former: dict[str, Whole] = {}
    left: bool = False
    shape: str = ""
    zone: str = ""
    host: str = ""
    capacity: Whole = 100
    address: str = ""
    paused: str = ""
    resumed: str = ""
    follows: str = ""
    at_ms: Whole = 0
    application: str = ""


_FOREIGN = (
    "only workers of the application may write to its control topics: take the right to write there"
    " from everybody else; docs/security.md says how to take such a record out"
)


Message = TypeVar("Message", AssignmentRecord, StatusRecord)

_encoder = msgspec.json.Encoder()
_assignment = msgspec.json.Decoder(AssignmentRecord)
_status = msgspec.json.Decoder(StatusRecord)


def encode(message: AssignmentRecord | StatusRecord) -> bytes:
    return _encoder.encode(message)


def decode_assignment(topic: str, key: str, value: bytes) -> AssignmentRecord:
    """Raises InternalTopicError for another format version or bytes of another kind."""
    return _decode(_assignment, topic=topic, key=key, value=value)


def decode_status(topic: str, key: str, value: bytes) -> StatusRecord:
    """Raises InternalTopicError for another format version or bytes of another kind."""
    return _decode(_status, topic=topic, key=key, value=value)


def process_of(status: StatusRecord) -> Process:
    """Who wrote it."""
    return status.worker, session_of(status.incarnation)


def task_names(tasks: frozenset[TaskId]) -> tuple[str, ...]:
    return tuple(str(task) for task in sorted(tasks))


def task_ids(names: tuple[str, ...] | dict[str, TaskReport]) -> frozenset[TaskId]:
    return frozenset(TaskId.parse(name) for name in names)


def _decode(
    decoder: msgspec.json.Decoder[Message], *, topic: str, key: str, value: bytes
) -> Message:
    try:
        check_format(value, FORMAT, topic=topic, key=key)
        message = decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _foreign(topic, key, error) from error
    if message.worker != key:
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} speaks of worker {message.worker!r}", hint=_FOREIGN
        )
    application = topic.rpartition(".")[0]
    if message.application not in ("", application):
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} is of application {message.application!r}",
            hint=_FOREIGN,
        )
    try:
        _check(message)
    except StreamerError as error:
        raise _foreign(topic, key, error) from error
    return message


def _check(message: AssignmentRecord | StatusRecord) -> None:
    """Raise for names that are none, or that are not written as they always are: two names of one
    task would be two tasks to some and one to others."""
    named = [*message.tasks, *message.standbys]
    if isinstance(message, AssignmentRecord):
        named += message.releasing
    else:
        named += message.shadows
    for name in named:
        if str(TaskId.parse(name)) != name:
            raise InternalTopicError(f"{name!r} is not a task id")
    if isinstance(message, StatusRecord):
        for name in message.former:
            parse_state_name(name)
    if isinstance(message, StatusRecord) and not is_worker_id(message.worker):
        # Kafka is asked for the groups of those that speak: by some names not even of others.
        raise InternalTopicError(f"{message.worker[:120]!r} is not a worker id")
    if isinstance(message, StatusRecord) and message.capacity < 1:
        raise InternalTopicError(f"{message.capacity} is not a capacity")
    if str(Incarnation.parse(message.incarnation)) != message.incarnation:
        raise InternalTopicError(f"{message.incarnation!r} is not an incarnation")


def _foreign(topic: str, key: str, reason: Exception) -> InternalTopicError:
    return InternalTopicError(
        f"{topic}: the record of key {key!r} is not a control record: {reason}", hint=_FOREIGN
    )
