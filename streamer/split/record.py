"""The record of a unit: one task's state, split. It is written last, and decides: what has none is
made again."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from streamer.errors import OperationRefusedError
from streamer.split.move import MoveRecord, Text
from streamer.split.totals import Totals

__all__ = [
    "Misplaced",
    "Part",
    "PartFile",
    "StoreRecord",
    "UnitRecord",
    "check_places",
    "unit_decoder",
]

Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*\Z")]
Rows = Annotated[int, Meta(ge=0)]


class PartFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sorted file; `name` is its path below the unit's directory."""

    name: Annotated[str, Meta(pattern=r"^to-[0-9]{1,6}/[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.sst\Z")]
    size: Annotated[int, Meta(ge=1)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one family has for one target."""

    target: Annotated[int, Meta(ge=0, lt=10**6)]
    family: Text
    totals: Totals
    files: list[PartFile]


class Misplaced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of a family that lie in another task than their keys say; some of their stored keys."""

    family: Text
    rows: Rows
    examples: list[Hex]


class StoreRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Text
    kind: Text
    # Whether its index by time is complete.
    is_indexed: bool


class UnitRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`origin` says what was split, such as a snapshot's id; `metadata` is that of its database in
    hex; `passed` is by store with final results the first row that was not passed on."""

    version: int
    move: MoveRecord
    task: Text
    origin: Text
    families: list[Text]
    stores: list[StoreRecord]
    metadata: dict[str, Hex]
    passed: dict[Text, Hex]
    misplaced: list[Misplaced]
    parts: list[Part]

    @property
    def rows(self) -> int:
        return sum(part.totals.rows for part in self.parts)


unit_decoder = msgspec.json.Decoder(UnitRecord)


def check_places(record: UnitRecord) -> None:
    """Raise OperationRefusedError where rows lie in another task than their keys say."""
    if not record.misplaced:
        return
    first = record.misplaced[0]
    store = first.family.partition(".")[2]
    others = f", and {len(record.misplaced) - 1} more families" * (len(record.misplaced) > 1)
    raise OperationRefusedError(
        f"{first.rows:,} rows of store {store} lie in task {record.task} and belong to others by"
        f" their keys, such as {first.examples[0]} (hexadecimal){others}",
        hint="where `process` writes them under other keys than its records', name theirs by"
        " Store(partition_key=...); else their producers use another partitioner than"
        f" {record.move.source.partitioner}",
    )
