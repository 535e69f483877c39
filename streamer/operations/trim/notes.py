"""What a trim did to one changelog partition, and by what right: a note on the task's shelf.

    trims/<mark>/<partition>-<hash of the topic>      written after the log was read back

It says how far the log was cut and which snapshots and disks justified that, for whoever asks
later why the log begins where it does. `mark` is of a plan: what was noted is not done again.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import msgspec
from msgspec import Struct

from streamer.errors import SnapshotDamagedError, SnapshotMissingError
from streamer.ids import TopicPartition
from streamer.snapshot.shelf import Shelf

__all__ = ["TrimNote", "forget_older", "noted", "read_notes", "write_note"]


class TrimNote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`asked` is how far the plan went, `reached` how far the log was cut, `left` who then held
    back the rest. `snapshots` (by stem) and `disks` are positions: the evidence."""

    topic: str
    partition: int
    began: int
    asked: int
    reached: int
    left: str = ""
    snapshots: dict[str, int] = {}
    disks: dict[str, int] = {}
    operation: str = ""
    by: str = ""
    at_ms: int = 0


_decoder = msgspec.json.Decoder(TrimNote)


def write_note(shelf: Shelf, mark: str, note: TrimNote) -> None:
    """Keep it, unless the same plan has noted this partition before."""
    place = TopicPartition(note.topic, note.partition)
    shelf.write_document(f"{_root(shelf)}{mark}/{_name(place)}", msgspec.json.encode(note))


def noted(shelf: Shelf, mark: str, places: Iterable[TopicPartition]) -> set[TopicPartition]:
    """Those of the places that this plan has dealt with."""
    prefix = f"{_root(shelf)}{mark}/"
    there = {stored.key.removeprefix(prefix) for stored in shelf.backend.list(prefix)}
    return {place for place in places if _name(place) in there}


def read_notes(shelf: Shelf, place: TopicPartition) -> list[TrimNote]:
    """What trims have noted of a partition, the newest last."""
    found = []
    for stored in shelf.backend.list(_root(shelf)):
        if stored.key.rpartition("/")[2] != _name(place):
            continue
        try:
            raw = shelf.document(stored.key)
        except SnapshotMissingError:
            continue
        try:
            found.append(_decoder.decode(raw))
        except msgspec.DecodeError as error:
            raise SnapshotDamagedError(
                f"{shelf.backend.address}: {stored.key} cannot be read: {error}",
                hint="it only tells of an earlier trim; a newer release may have written it",
            ) from error
    return sorted(found, key=lambda note: (note.at_ms, note.reached))


def forget_older(shelf: Shelf, mark: str, places: Iterable[TopicPartition]) -> None:
    """Remove the notes of earlier plans on these places. Idempotent."""
    for key in older(shelf, mark, places):
        shelf.backend.delete(key)


def older(shelf: Shelf, mark: str, places: Iterable[TopicPartition]) -> list[str]:
    """The notes that another plan than this one has left on these places."""
    names = {_name(place) for place in places}
    found = []
    for stored in shelf.backend.list(_root(shelf)):
        theirs, _, name = stored.key.removeprefix(_root(shelf)).partition("/")
        if name in names and theirs != mark:
            found.append(stored.key)
    return found


def _root(shelf: Shelf) -> str:
    return f"{shelf.root}trims/"


def _name(place: TopicPartition) -> str:
    return f"{place.partition}-{sha256(place.topic.encode()).hexdigest()[:16]}"
