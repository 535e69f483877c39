"""The version of a control record's format, which is looked at before anything else in it."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from streamer.control.numbers import Whole
from streamer.errors import InternalTopicError

__all__ = ["check_format"]

_UPGRADE = "another release wrote it: run one release, or upgrade this worker"


class _Versioned(Struct):
    format: Whole


_version = msgspec.json.Decoder(_Versioned)


def check_format(value: bytes, known: int, *, topic: str, key: str, hint: str = _UPGRADE) -> None:
    """Raises InternalTopicError for a version that is not `known`, and MsgspecError where there is
    none to be found."""
    version = _version.decode(value).format
    if version != known:
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} has format version {version};"
            f" this release reads {known}",
            hint=hint,
        )
