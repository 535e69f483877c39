"""The layout that an application runs, as a record: `<application>.layout`, under one key.

A small compacted topic of one partition. Whoever begins reads it first, and follows it while it
runs. Without the topic, or without a record in it, layout 1 holds: a task for each partition.
A record is taken as a whole or refused by name: of another application, of another release, or one
that would part the records of a key. Nobody goes on with half of it.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from streamer.control.numbers import Whole
from streamer.control.versions import check_format
from streamer.errors import InternalTopicError, TopologyError
from streamer.ids import Layout
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout

__all__ = [
    "FORMAT",
    "LAYOUT_KEY",
    "InputRecord",
    "LayoutRecord",
    "SubtopologyRecord",
    "check_layout",
    "decode_layout",
    "encode_layout",
    "layout_record",
]

FORMAT = 1
LAYOUT_KEY = "current"


class InputRecord(
    Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One topic that is read. `internal` topics are called here as in layout 1."""

    topic: str
    partitions: Whole
    partitioner: str = "murmur2"
    internal: bool = False


class SubtopologyRecord(
    Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One subtopology; `since` is the layout that its state was built for."""

    number: Whole
    tasks: Whole
    since: Whole
    mode: Literal["fold", "grow", "routed"]
    keeps_state: bool
    inputs: tuple[InputRecord, ...]


class LayoutRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of it. `operation` is the one that wrote it, "" where none did. Fields that are added are
    for show alone: what changes where a key's records meet needs another format."""

    format: Whole
    application: str
    number: Whole
    subtopologies: tuple[SubtopologyRecord, ...]
    operation: str = ""
    at_ms: Whole = 0

    @property
    def layout(self) -> ApplicationLayout:
        """The value. Raises TopologyError for one that cannot be right."""
        numbers = [each.number for each in self.subtopologies]
        if len(set(numbers)) != len(numbers):
            raise TopologyError("it lists a subtopology twice")
        return ApplicationLayout(
            Layout(self.number), {each.number: _value(each) for each in self.subtopologies}
        ).check()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LayoutRecord)


def layout_record(
    application: str, layout: ApplicationLayout, *, operation: str = "", at_ms: int = 0
) -> LayoutRecord:
    """Raises TopologyError for a layout that cannot be right."""
    return LayoutRecord(
        format=FORMAT,
        application=application,
        number=layout.check().number,
        subtopologies=tuple(
            SubtopologyRecord(
                number=number,
                tasks=one.tasks,
                since=one.since,
                mode=one.mode,
                keeps_state=one.keeps_state,
                inputs=tuple(
                    InputRecord(
                        topic=topic,
                        partitions=each.partitions,
                        partitioner=each.partitioner,
                        internal=each.is_internal,
                    )
                    for topic, each in sorted(one.inputs.items())
                ),
            )
            for number, one in sorted(layout.subtopologies.items())
        ),
        operation=operation,
        at_ms=at_ms,
    )


def encode_layout(record: LayoutRecord) -> bytes:
    return _encoder.encode(record)


def decode_layout(topic: str, key: str, value: bytes) -> LayoutRecord:
    """Raises InternalTopicError for another format version, another application's record, bytes of
    another kind, and a layout that cannot be right."""
    try:
        check_format(value, FORMAT, topic=topic, key=key)
        record = _decoder.decode(value)
        if key != LAYOUT_KEY:
            raise TopologyError(f"it belongs under {LAYOUT_KEY!r}")
        check_layout(record, topic.rpartition(".")[0])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TopologyError) as error:
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} is no layout of this application: {error}",
            hint="only operations of the application may write there, and without it nobody knows"
            " which task has which key: docs/operations.md says how to bring the right one back."
            " Nothing was changed",
        ) from error
    return record


def check_layout(record: LayoutRecord, application: str) -> ApplicationLayout:
    """The layout in a record. Raises TopologyError for another format version, one of another
    application, and one that cannot be right."""
    if record.format != FORMAT:
        raise TopologyError(f"it has format version {record.format}; this release reads {FORMAT}")
    if record.application != application:
        raise TopologyError(f"it is of application {record.application!r}")
    return record.layout


def _value(record: SubtopologyRecord) -> SubtopologyLayout:
    names = [each.topic for each in record.inputs]
    if len(set(names)) != len(names) or not names:
        raise TopologyError(f"subtopology {record.number} lists no input, or one twice")
    return SubtopologyLayout(
        record.tasks,
        Layout(record.since),
        {
            each.topic: InputLayout(each.partitions, each.partitioner, each.internal)
            for each in record.inputs
        },
        record.mode,
        record.keeps_state,
    )
