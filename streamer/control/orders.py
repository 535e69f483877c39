"""What workers are asked to do beside their assignments: `<application>.orders`.

    snapshot            SnapshotOrder    make a snapshot of tasks that are active here
    snapshot/<number>   SnapshotOrder    the same, for a host that pulls it
    rebuild/<task>      RebuildOrder     make one copy anew from a source
    shadow/<worker>     ShadowOrder      keep copies of tasks of the layout that is to follow
    former              FormerOrder      remove state of layouts that were left; it stands for good

One small compacted topic with one partition, which every worker reads beside its assignments. The
operation that gives an order writes it in the transaction of its own lock, and takes it back when
it ends, but for the last one. What became of it is in statuses and in the repository; an order that
is read again, by a worker that has just started too, asks for what is not there yet and for nothing
else. Each names its `application`, "" where a release wrote it that did not: one of another is
refused.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from streamer.control.layouts import LayoutRecord, check_layout
from streamer.control.numbers import Whole
from streamer.control.requests import refuse_foreign
from streamer.control.versions import check_format
from streamer.errors import ConfigError, InternalTopicError, StreamerError
from streamer.ids import Layout, TaskId, parse_state_name, state_name

__all__ = [
    "FORMAT",
    "FORMER_KEY",
    "SNAPSHOT_KEY",
    "FormerOrder",
    "Order",
    "RebuildOrder",
    "ShadowOrder",
    "SnapshotOrder",
    "decode_order",
    "encode_order",
    "export_key",
    "rebuild_key",
    "shadow_key",
]

FORMAT = 1
SNAPSHOT_KEY = "snapshot"
FORMER_KEY = "former"
_REBUILD = "rebuild/"
_SHADOW = "shadow/"


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


class ShadowOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """This worker keeps copies of these tasks of a layout that is not recorded yet: shadows, which
    follow its changelogs and are warm when it comes. The switch to it has to name the same
    `operation`, and orders are taken back after it, or when it is certain that there is none: a
    shadow that nobody wants is removed unless its layout is recorded by then."""

    format: Whole
    operation: str
    worker: str
    layout: LayoutRecord
    tasks: tuple[str, ...] = ()
    at_ms: Whole = 0
    application: str = ""


class FormerOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nobody needs the state that tasks of these subtopologies, by number, had under these layouts:
    the application has left them, and their changelogs are deleted. Layouts are never used again,
    so this is never taken back, and a worker that was away reads it when it is back."""

    format: Whole
    operation: str
    left: dict[str, tuple[Whole, ...]]
    at_ms: Whole = 0
    application: str = ""

    def names(self, state: str) -> bool:
        """Whether it is about the state of this name, such as `0_3.layout-2`. Raises ConfigError
        for what is no such name."""
        task, layout = parse_state_name(state)
        return layout in self.left.get(str(task.subtopology), ())


Order = SnapshotOrder | RebuildOrder | ShadowOrder | FormerOrder


_encoder = msgspec.json.Encoder()
_decoders: dict[type[Order], msgspec.json.Decoder[Order]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (SnapshotOrder, RebuildOrder, ShadowOrder, FormerOrder)
}


def export_key(number: str) -> str:
    """The key of an order for a snapshot of its own, beside the scheduled ones."""
    return f"{SNAPSHOT_KEY}/{number}"


def rebuild_key(task: TaskId) -> str:
    """The key of an order to rebuild a copy of this task: one at a time."""
    return f"{_REBUILD}{task}"


def shadow_key(worker: str) -> str:
    """The key of an order to keep shadows: one for each worker, with all of its tasks."""
    return f"{_SHADOW}{worker}"


def encode_order(order: Order, topic: str = "") -> bytes:
    """As it is written to this topic, whose application it names."""
    return _encoder.encode(replace(order, application=topic.rpartition(".")[0]))


def decode_order(topic: str, key: str, value: bytes) -> Order:
    """Raises InternalTopicError for another format version, an order of another application, or
    bytes of another kind."""
    kind = _kind(key)
    try:
        check_format(value, FORMAT, topic=topic, key=key)
        order = _decoders[kind].decode(value)
        refuse_foreign(order.application, topic, key)
        _check(order, topic, key)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, StreamerError) as error:
        if isinstance(error, InternalTopicError):
            raise
        raise _foreign(topic, key, error) from error
    return order


def _kind(key: str) -> type[Order]:
    if key == FORMER_KEY:
        return FormerOrder
    if key.startswith(_REBUILD):
        return RebuildOrder
    return ShadowOrder if key.startswith(_SHADOW) else SnapshotOrder


def _check(order: Order, topic: str, key: str) -> None:
    """Raise for a record that says something else than its key, or names no task."""
    match order:
        case RebuildOrder():
            expected = rebuild_key(TaskId.parse(order.task))
        case ShadowOrder():
            expected = shadow_key(order.worker)
            _check_shadows(order, topic.rpartition(".")[0])
        case FormerOrder():
            expected = FORMER_KEY
            for number, layouts in order.left.items():
                for layout in layouts:
                    parse_state_name(state_name(TaskId(_subtopology(number), 0), Layout(layout)))
        case SnapshotOrder():
            expected = export_key(order.operation) if key != SNAPSHOT_KEY else SNAPSHOT_KEY
            for task in order.tasks:
                TaskId.parse(task)
    if key != expected:
        raise InternalTopicError(f"the record of key {key!r} belongs under {expected!r}")


def _subtopology(text: str) -> int:
    """Raises ConfigError for what is no number, or not written as it always is."""
    number = TaskId.parse(f"{text}_0").subtopology
    if str(number) != text:
        raise ConfigError(f"{text!r} is not the number of a subtopology", hint="such as 0")
    return number


def _check_shadows(order: ShadowOrder, application: str) -> None:
    """Raise for a layout that cannot be right, and for a task that is not new in it, whose state
    is that of the layout that holds, or keeps none."""
    layout = check_layout(order.layout, application)
    new = {
        str(task)
        for task in layout.tasks
        for part in [layout.subtopologies[task.subtopology]]
        if part.since == layout.number and part.keeps_state
    }
    if other := sorted(set(order.tasks) - new):
        raise InternalTopicError(
            f"task {other[0]} is not one that layout {layout.number} brings with a state"
        )


def _foreign(topic: str, key: str, reason: Exception) -> InternalTopicError:
    return InternalTopicError(
        f"{topic}: the record of key {key!r} is no order: {reason}",
        hint="only operations of the application may write there; docs/security.md says who needs"
        " which right",
    )
