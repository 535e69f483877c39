"""What workers are asked to do with the tasks that they have: `<application>.orders`.

    snapshot            SnapshotOrder    make a snapshot of tasks that are active here
    snapshot/<number>   SnapshotOrder    the same, for a host that pulls it
    rebuild/<task>      RebuildOrder     make one copy anew from a source

One small compacted topic with one partition, which every worker reads beside its assignments. The
operation that gives an order writes it in the transaction of its own lock, and takes it back when
it ends. What became of it is in statuses and in the repository; an order that is read again, by a
worker that has just started too, asks for what is not there yet and for nothing else. Each names
its `application`, "" where a release wrote it that did not: one of another is refused.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from streamer.control.numbers import Whole
from streamer.control.requests import refuse_foreign
from streamer.control.versions import check_format
from streamer.errors import InternalTopicError, StreamerError
from streamer.ids import TaskId

__all__ = [
    "FORMAT",
    "SNAPSHOT_KEY",
    "Order",
    "RebuildOrder",
    "SnapshotOrder",
    "decode_order",
    "encode_order",
    "export_key",
    "rebuild_key",
]

FORMAT = 1
SNAPSHOT_KEY = "snapshot"
_REBUILD = "rebuild/"


class SnapshotOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whoever processes one of these tasks makes a snapshot of it. `operation` is the id of who
    asks: a task that has a snapshot which names it is through."""

    format: Whole
    operation: str
    tasks: tuple[str, ...] = ()
    repository: str = ""
    at_ms: Whole = 0
    application: str = ""


class RebuildOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """This worker makes its copy of this task anew, from this source."""

    format: Whole
    operation: str
    task: str
    worker: str
    source: str = "auto"
    repository: str = ""
    at_ms: Whole = 0
    application: str = ""


Order = SnapshotOrder | RebuildOrder
Kind = TypeVar("Kind", SnapshotOrder, RebuildOrder)


_encoder = msgspec.json.Encoder()
_decoders: dict[type[Order], msgspec.json.Decoder[Order]] = {
    kind: msgspec.json.Decoder(kind) for kind in (SnapshotOrder, RebuildOrder)
}


def export_key(number: str) -> str:
    """The key of an order for a snapshot of its own, beside the scheduled ones."""
    return f"{SNAPSHOT_KEY}/{number}"


def rebuild_key(task: TaskId) -> str:
    """The key of an order to rebuild a copy of this task: one at a time."""
    return f"{_REBUILD}{task}"


def encode_order(order: Order, topic: str = "") -> bytes:
    """As it is written to this topic, whose application it names."""
    return _encoder.encode(replace(order, application=topic.rpartition(".")[0]))


def decode_order(topic: str, key: str, value: bytes) -> Order:
    """Raises InternalTopicError for another format version, an order of another application, or
    bytes of another kind."""
    kind: type[Order] = RebuildOrder if key.startswith(_REBUILD) else SnapshotOrder
    try:
        check_format(value, FORMAT, topic=topic, key=key)
        order = _decoders[kind].decode(value)
        refuse_foreign(order.application, topic, key)
        _check(order, key)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, StreamerError) as error:
        if isinstance(error, InternalTopicError):
            raise
        raise _foreign(topic, key, error) from error
    return order


def _check(order: Order, key: str) -> None:
    """Raise for a record that says something else than its key, or names no task."""
    if isinstance(order, RebuildOrder):
        expected = rebuild_key(TaskId.parse(order.task))
    else:
        expected = export_key(order.operation) if key != SNAPSHOT_KEY else SNAPSHOT_KEY
        for task in order.tasks:
            TaskId.parse(task)
    if key != expected:
        raise InternalTopicError(f"the record of key {key!r} belongs under {expected!r}")


def _foreign(topic: str, key: str, reason: Exception) -> InternalTopicError:
    return InternalTopicError(
        f"{topic}: the record of key {key!r} is no order: {reason}",
        hint="only operations of the application may write there; docs/security.md says who needs"
        " which right",
    )
