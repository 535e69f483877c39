"""Assignments that a new controller cannot read: what is put in their place. Pure.

Who cannot read one does not know what its worker may own. So the worker is fenced before anything
is granted to anybody: after that nothing that it does counts, whatever it was told. Then its record
is replaced, so that the worker hears of it and joins anew, and the next controller reads on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from streamer.control.messages import FORMAT, AssignmentRecord, StatusRecord
from streamer.control.numbers import Whole

__all__ = ["replacements"]


class _Numbered(Struct):
    version: Whole = 0


_numbered = msgspec.json.Decoder(_Numbered)


def replacements(
    unreadable: Mapping[str, bytes],
    assignments: Iterable[AssignmentRecord],
    statuses: Iterable[StatusRecord],
    *,
    wall_ms: int,
) -> dict[str, AssignmentRecord | None]:
    """By worker, the end of the incarnation that spoke last; None, so that the record goes, where
    nobody did. Its version is above all that anybody may have seen."""
    words = {one.worker: one for one in statuses}
    versions = [
        *(one.version for one in assignments),
        *(one.seen for one in words.values()),
        *(_version(value) for value in unreadable.values()),
    ]
    version = max(versions, default=0) + 1
    return {
        worker: AssignmentRecord(
            format=FORMAT,
            version=version,
            worker=worker,
            incarnation=words[worker].incarnation,
            ended=True,
            shape=words[worker].shape,
            why="its assignment could not be read: it was fenced, and may come back",
            at_ms=wall_ms,
        )
        if worker in words
        else None
        for worker in sorted(unreadable)
    }


def _version(value: bytes) -> int:
    try:
        return _numbered.decode(value).version
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0
