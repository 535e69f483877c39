"""A proposal of any number of moves, as records that each fit into a message.

    proposal        ProposalRecord    what it comes to, the first tasks that change, the first moves
    proposal/<n>    PageRecord        further tasks and moves, from 1 on

All of them are written in one transaction, the proposal last: whoever has read it has read all of
its pages. Those of an earlier proposal are overwritten, or taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

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

__all__ = ["PAGE_SIZE", "is_page", "joined", "pages_of"]

# So many tasks and so many moves. A move has some 200 bytes, a task with a copy 100; where all
# names are as long as they may be 1 KB each, and a task 240 bytes more for each further copy: far
# from a megabyte.
PAGE_SIZE = 200
_KEY = key_of(ProposalRecord)
_PREFIX = f"{_KEY}/"


Named = dict[str, tuple[str, ...]]


class PageRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Further tasks and moves of the proposal that was asked for by this number."""

    format: Whole = FORMAT
    number: str = ""
    before: Named = {}
    after: Named = {}
    moves: tuple[MoveRecord, ...] = ()
    application: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(PageRecord)


def is_page(key: str) -> bool:
    return key.startswith(_PREFIX)


def pages_of(
    proposal: ProposalRecord, *, application: str = "", standing: Iterable[str] = ()
) -> list[tuple[str, bytes | None]]:
    """The rows to write, by key, in this order. `standing` are the keys of pages that are there:
    None takes back those that are of no use any more."""
    rows: dict[str, bytes | None] = dict.fromkeys(standing)
    count = max(len(proposal.after), len(proposal.moves), 1)
    pages = range(1, -(-count // PAGE_SIZE))
    for number in pages:
        before, after, moves = _part(proposal, number)
        page = PageRecord(
            number=proposal.number,
            before=before,
            after=after,
            moves=moves,
            application=application,
        )
        rows[f"{_PREFIX}{number}"] = _encoder.encode(
            {"format": page.format, **msgspec.to_builtins(page)}
        )
    before, after, moves = _part(proposal, 0)
    first = replace(proposal, before=before, after=after, moves=moves, pages=len(pages))
    rows[_KEY] = encode(first, application)
    return list(rows.items())


def _part(proposal: ProposalRecord, number: int) -> tuple[Named, Named, tuple[MoveRecord, ...]]:
    """The tasks before and after, and the moves, of one page; 0 for the first record."""
    start, stop = number * PAGE_SIZE, (number + 1) * PAGE_SIZE
    after = dict(islice(proposal.after.items(), start, stop))
    before = {task: proposal.before[task] for task in after if task in proposal.before}
    return before, after, proposal.moves[start:stop]


def joined(rows: Mapping[str, bytes | None], topic: str) -> ProposalRecord | None:
    """The proposal that stands in these rows, with all tasks and moves. None where there is none,
    or where its pages are of another one, which was made a moment later: what takes its place is
    about to be read, and a part of a proposal is nothing to go by.

    Raises InternalTopicError for records of another format, application or kind.
    """
    value = rows.get(_KEY)
    if value is None:
        return None
    proposal = decode(ProposalRecord, topic, value)
    before, after, moves = dict(proposal.before), dict(proposal.after), list(proposal.moves)
    for number in range(1, proposal.pages + 1):
        page = _page(rows.get(f"{_PREFIX}{number}"), topic, f"{_PREFIX}{number}")
        if page is None or page.number != proposal.number:
            return None
        before |= page.before
        after |= page.after
        moves += page.moves
    return replace(proposal, before=before, after=after, moves=tuple(moves))


def _page(value: bytes | None, topic: str, key: str) -> PageRecord | None:
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
