"""The records of the control topics: JSON, each with the version of its format.

    <application>.assignments   key: worker   AssignmentRecord, by the controller alone
    <application>.status        key: worker   StatusRecord, by the worker; or a tombstone

An assignment record says for certain what its incarnation may own at most: `tasks` and `releasing`.
So the assignments alone decide who may own a task; a status only ever takes something away.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from streamer.errors import InternalTopicError
from streamer.ids import TaskId

__all__ = [
    "FORMAT",
    "AssignmentRecord",
    "StatusRecord",
    "TaskReport",
    "decode_assignment",
    "decode_status",
    "encode",
    "task_ids",
    "task_names",
]

FORMAT = 1

TaskState = Literal["restoring", "running", "closing", "failed"]


class TaskReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker says of one task that it owns. Positions are by `topic/partition`."""

    state: TaskState
    lag_records: int = 0
    restore_left_records: int = 0
    positions: dict[str, int] = {}


class AssignmentRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one incarnation shall own.

    `releasing` are tasks that were taken away and may still be open there. `ended` means that this
    incarnation owns nothing and never will: it left, or its transactional id was fenced; `tasks`
    then tells what it had. `refused` are sessions that lost a contest for the worker's id.
    `topology` tells the shape of all workers that are given tasks, one text for each subtopology,
    and `shape` is its digest; an incarnation of another shape is refused by this.
    """

    format: int
    version: int
    worker: str
    incarnation: str
    tasks: tuple[str, ...] = ()
    releasing: tuple[str, ...] = ()
    ended: bool = False
    refused: tuple[str, ...] = ()
    shape: str = ""
    topology: tuple[str, ...] = ()
    why: str = ""
    controller: str = ""
    at_ms: int = 0


class StatusRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one incarnation owns at this moment.

    `seen` is the newest assignment it acts on: of the tasks that were taken away up to there, only
    those still listed are open. `number` counts the records of a session. `left` is the last one.
    `shape` is the digest of its topology; "" where a release wrote it that did not tell.
    """

    format: int
    number: int
    worker: str
    incarnation: str
    seen: int = 0
    tasks: dict[str, TaskReport] = {}
    left: bool = False
    shape: str = ""
    zone: str = ""
    address: str = ""
    at_ms: int = 0


class _Versioned(Struct):
    format: int


Message = TypeVar("Message", AssignmentRecord, StatusRecord)

_encoder = msgspec.json.Encoder()
_version = msgspec.json.Decoder(_Versioned)
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


def task_names(tasks: frozenset[TaskId]) -> tuple[str, ...]:
    return tuple(str(task) for task in sorted(tasks))


def task_ids(names: tuple[str, ...] | dict[str, TaskReport]) -> frozenset[TaskId]:
    return frozenset(TaskId.parse(name) for name in names)


def _decode(
    decoder: msgspec.json.Decoder[Message], *, topic: str, key: str, value: bytes
) -> Message:
    try:
        version = _version.decode(value).format
        if version != FORMAT:
            raise InternalTopicError(
                f"{topic}: the record of key {key!r} has format version {version};"
                f" this release reads {FORMAT}",
                hint="another release wrote it: run one release, or upgrade this worker",
            )
        message = decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} is not a control record: {error}",
            hint="only workers of the application may write to its control topics",
        ) from error
    if message.worker != key:
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} speaks of worker {message.worker!r}",
            hint="only workers of the application may write to its control topics",
        )
    return message
