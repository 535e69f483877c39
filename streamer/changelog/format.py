"""The changelog's records, and the positions that a task keeps beside its state.

A changelog record has the stored key as its key and the row, byte for byte, as its value; no value
means that the row was removed. Its partition is the task's. Event time is inside the row; the
record's own timestamp is the broker's.

Positions live in the metadata of the task's database, in the same write batch as the rows:

    changelog/<store>             the next offset to apply to the store
    topic/<store>                 Kafka's id of the changelog topic that this is an offset of
    input/<topic>/<partition>     the next offset to process; -1 where a restore has passed it
    stream_time                   ms; the latest event time that the task has seen
    time/<store>                  ms; the same of what a windowed store aggregates
    closing/<store>               ms; how far it has passed on final results, -1 where none are left
    closing_rows/<store>          and how many of that time
    as_of                         ms; when the changelog positions were last known to be the ends

Each value is a version byte, and a signed 64-bit number, big-endian, or the id as text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streamer.errors import InternalTopicError, StateDirectoryError, TaskCorruptedError
from streamer.ids import TopicPartition
from streamer.store.closing import Closing
from streamer.store.keys import ROW_FORMS, ROW_VERSION, kind_of
from streamer.store.schema import CHANGELOG_POSITION
from streamer.topology.stores import StoreKind

__all__ = ["FORMAT_VERSION", "PASSED", "Positions", "check_rows"]

FORMAT_VERSION = 1
# An input position that the state has been moved beyond, nobody knows how far.
PASSED = -1
_NUMBER = struct.Struct(">Bq")
_CHANGELOG, _INPUT = CHANGELOG_POSITION, "input/"
_TOPIC = "topic/"
_TIME = "time/"
_CLOSING, _CLOSING_ROWS = "closing/", "closing_rows/"
_STREAM_TIME, _AS_OF = "stream_time", "as_of"


@dataclass(frozen=True, slots=True)
class Positions:
    """How far a task has come. -1 where a time is not known; what is left out is not changed.

    `as_of_ms` bounds how old a state may be and still be brought up to date: a row removed after
    it can have left a compacted changelog no earlier than delete.retention.ms later.
    """

    changelogs: Mapping[str, int] = field(default_factory=dict)
    inputs: Mapping[TopicPartition, int] = field(default_factory=dict)
    stream_time_ms: int = -1
    as_of_ms: int = -1
    topic_ids: Mapping[str, str] = field(default_factory=dict)
    times: Mapping[str, int] = field(default_factory=dict)
    closings: Mapping[str, Closing | None] = field(default_factory=dict)

    def encode(self) -> dict[str, bytes]:
        """As metadata of a database."""
        numbers = {_CHANGELOG + store: at for store, at in self.changelogs.items()}
        numbers |= {f"{_INPUT}{place}": at for place, at in self.inputs.items()}
        numbers |= {_TIME + store: time for store, time in self.times.items()}
        for store, place in self.closings.items():
            time_ms, rows = place or (-1, 0)
            numbers |= {_CLOSING + store: time_ms, _CLOSING_ROWS + store: rows}
        if self.stream_time_ms >= 0:
            numbers[_STREAM_TIME] = self.stream_time_ms
        if self.as_of_ms >= 0:
            numbers[_AS_OF] = self.as_of_ms
        encoded = {name: _NUMBER.pack(FORMAT_VERSION, number) for name, number in numbers.items()}
        version = bytes([FORMAT_VERSION])
        ids = {_TOPIC + store: version + one.encode() for store, one in self.topic_ids.items()}
        return encoded | ids

    @classmethod
    def decode(cls, metadata: Mapping[str, bytes]) -> Positions:
        """Raises StateDirectoryError for a version that is not known."""
        changelogs: dict[str, int] = {}
        inputs: dict[TopicPartition, int] = {}
        topic_ids: dict[str, str] = {}
        times: dict[str, int] = {}
        closings: dict[str, Closing | None] = {}
        for name, value in metadata.items():
            if name.startswith(_CHANGELOG):
                changelogs[name.removeprefix(_CHANGELOG)] = _number(name, value)
            elif name.startswith(_TOPIC):
                topic_ids[name.removeprefix(_TOPIC)] = _text(name, value)
            elif name.startswith(_TIME):
                times[name.removeprefix(_TIME)] = _number(name, value)
            elif name.startswith(_CLOSING):
                store = name.removeprefix(_CLOSING)
                rows = _number(name, metadata.get(_CLOSING_ROWS + store))
                time_ms = _number(name, value)
                closings[store] = Closing(time_ms, rows) if time_ms >= 0 else None
            elif name.startswith(_INPUT):
                topic, _, partition = name.removeprefix(_INPUT).rpartition("/")
                inputs[TopicPartition(topic, int(partition))] = _number(name, value)
        return cls(
            changelogs=changelogs,
            inputs=inputs,
            stream_time_ms=_number(_STREAM_TIME, metadata.get(_STREAM_TIME)),
            as_of_ms=_number(_AS_OF, metadata.get(_AS_OF)),
            topic_ids=topic_ids,
            times=times,
            closings=closings,
        )


def _number(name: str, value: bytes | None) -> int:
    if value is None:
        return -1
    if len(value) != _NUMBER.size or value[0] != FORMAT_VERSION:
        raise _unknown(name, value)
    number: int = _NUMBER.unpack(value)[1]
    return number


def _text(name: str, value: bytes) -> str:
    if value[:1] != bytes([FORMAT_VERSION]):
        raise _unknown(name, value)
    return value[1:].decode()


def _unknown(name: str, value: bytes) -> StateDirectoryError:
    return StateDirectoryError(
        f"the stored position {name} has an unknown format: {value.hex()}",
        hint=f"this version of Streamer reads version {FORMAT_VERSION}; run the version that "
        "wrote it, or move the task's directory away to restore it from its changelog",
    )


def check_rows(place: TopicPartition, kind: StoreKind, rows: Iterable[bytes | None]) -> None:
    """Raise unless every row was written by a store of this kind, in a form that is read here.

    InternalTopicError for rows of another kind of store, TaskCorruptedError for an unknown form.
    """
    forms = {row[:1] for row in rows if row is not None} - {bytes([ROW_FORMS[kind]])}
    if not forms:
        return
    form = min(forms)
    written_by = kind_of(form)
    if written_by is None:
        raise TaskCorruptedError(
            f"changelog {place} has rows of form {form.hex() or 'none'}, "
            f"this version of Streamer reads version {ROW_VERSION}",
            hint="only the application may write to its changelogs; upgrade Streamer if a newer "
            "version wrote them",
        )
    raise InternalTopicError(
        f"changelog {place} holds rows of a {written_by.value} store, but the topology now makes "
        f"it the changelog of a {kind.value} store",
        hint="give the new store another name, or bring the old topology back: rows of one kind "
        "cannot be read as another. Nothing was changed",
    )
