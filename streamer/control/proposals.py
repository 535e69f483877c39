"""A proposal of any number of moves, as records that each fit into a message.

    proposal        ProposalRecord    what is to change, and the first moves
    proposal/<n>    MovesRecord       further moves, from 1 on

All of them are written in one transaction, the proposal last: whoever has read it has read all of
its pages. Those of an earlier proposal are overwritten, or taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from streamer.control.numbers import Whole
from streamer.control.requests import (
    FORMAT,
    MoveRecord,
    ProposalRecord,
    decode,
    encode,
    key_of,
    refuse_foreign,
)
from streamer.control.versions import check_format
from streamer.errors import InternalTopicError

__all__ = ["PAGE_MOVES", "is_page", "joined", "pages_of"]

# Some 200 bytes each, and 3 KB where all names are as long as they may be: far from a megabyte.
PAGE_MOVES = 250
_KEY = key_of(ProposalRecord)
_PREFIX = f"{_KEY}/"


class MovesRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Further moves of the proposal that was asked for by this number."""

    format: Whole = FORMAT
    number: str = ""
    moves: tuple[MoveRecord, ...] = ()
    application: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(MovesRecord)


def is_page(key: str) -> bool:
    return key.startswith(_PREFIX)


def pages_of(
    proposal: ProposalRecord, *, application: str = "", standing: Iterable[str] = ()
) -> list[tuple[str, bytes | None]]:
    """The rows to write, by key, in this order. `standing` are the keys of pages that are there:
    None takes back those that are of no use any more."""
    first, rest = proposal.moves[:PAGE_MOVES], proposal.moves[PAGE_MOVES:]
    rows: dict[str, bytes | None] = dict.fromkeys(standing)
    pages = 0
    for start in range(0, len(rest), PAGE_MOVES):
        pages += 1
        moves = rest[start : start + PAGE_MOVES]
        page = MovesRecord(number=proposal.number, moves=moves, application=application)
        rows[f"{_PREFIX}{pages}"] = _encoder.encode(
            {"format": page.format, **msgspec.to_builtins(page)}
        )
    rows[_KEY] = encode(replace(proposal, moves=first, pages=pages), application)
    return list(rows.items())


def joined(rows: Mapping[str, bytes | None], topic: str) -> ProposalRecord | None:
    """The proposal that stands in these rows, with all moves; None where there is none. Where its
    pages are of another one, which was made a moment later, the first moves are all there is.

    Raises InternalTopicError for records of another format, application or kind.
    """
    value = rows.get(_KEY)
    if value is None:
        return None
    proposal = decode(ProposalRecord, topic, value)
    moves = list(proposal.moves)
    for number in range(1, proposal.pages + 1):
        page = _page(rows.get(f"{_PREFIX}{number}"), topic, f"{_PREFIX}{number}")
        if page is None or page.number != proposal.number:
            break
        moves += page.moves
    return replace(proposal, moves=tuple(moves))


def _page(value: bytes | None, topic: str, key: str) -> MovesRecord | None:
    if value is None:
        return None
    try:
        check_format(value, FORMAT, topic=topic, key=key)
        page = _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise InternalTopicError(
            f"{topic}: the record of key {key!r} is not a page of a proposal: {error}",
            hint="only workers of the application may write there",
        ) from error
    refuse_foreign(page.application, topic, key)
    return page
