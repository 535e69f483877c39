"""An application's topology in a record, without its functions: what each part reads and keeps.

The controller tells it, so that whoever plans a change of the layout needs no code of the
application. `streamer.cluster.outline` makes one of a topology, and a topology of one.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from streamer.control.numbers import Whole

__all__ = ["Outline", "PartRecord", "StoreRecord", "WindowsRecord"]


class WindowsRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of an aggregation. `size_ms` is the gap of sessions; `advance_ms` is of hopping windows."""

    kind: Literal["tumbling", "hopping", "session"]
    size_ms: Whole
    advance_ms: Whole = 0
    grace_ms: Whole = 0


class StoreRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A store, and the steps that fill it. `used` says that code of `process` does, which may have
    keys of its own; `partition_key` names the function that says whose a row is then. Results of
    one that `reaches_windows` come to a windowed aggregation behind it. Windows of one that
    `stands_alone` come of records alone, and nothing but results comes of them."""

    name: str
    kind: Literal["key-value", "window", "session"]
    filled: Literal["", "table", "aggregate"] = ""
    used: bool = False
    windows: WindowsRecord | None = None
    emit: Literal["commit", "every", "final"] = "commit"
    partition_key: str = ""
    reaches_windows: bool = False
    stands_alone: bool = False


class PartRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A subtopology: topics that it `reads`, those of the application's `own` under their short
    names, which it reads or `rekeys` to, and its stores. `placed` names what the code declares of
    topics that it reads: by which partitioner their keys lie."""

    reads: tuple[str, ...] = ()
    placed: dict[str, str] = {}
    own: tuple[str, ...] = ()
    rekeys: tuple[str, ...] = ()
    stores: tuple[StoreRecord, ...] = ()


Outline = tuple[PartRecord, ...]
"""By the subtopologies' numbers; empty where it was not told."""
