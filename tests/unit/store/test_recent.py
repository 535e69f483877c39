"""Rows at hand are bounded, whatever one commit brings and whenever the bound changes."""

from __future__ import annotations

import pytest

from streamer.store.recent import RecentRows


def held(recent: RecentRows) -> dict[bytes, bytes | None]:
    young, old = recent.generations
    return old | young


def pairs(numbers: range, size: int = 30) -> tuple[list[bytes], list[bytes | None]]:
    keys = [b"%06d" % number for number in numbers]
    return keys, [bytes(size)] * len(keys)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 7, 50, 20_000])
def test_it_never_holds_more_than_its_bound_and_keeps_what_came_last(batch: int) -> None:
    recent = RecentRows(40_000)
    for start in range(0, 20_000, batch):
        recent.add(*pairs(range(start, start + batch)))
        assert recent.size_bytes <= 40_000
        size = sum(len(key) + len(row or b"") + 170 for key, row in held(recent).items())
        assert size <= recent.size_bytes
    # A generation of 20,000 bytes has room for 97 rows of 206.
    last = {b"%06d" % number for number in range(20_000 - min(batch, 97), 20_000)}
    assert last <= held(recent).keys()
    if batch <= 50:
        assert len(held(recent)) > 97 - 50


def test_a_smaller_bound_holds_at_once() -> None:
    recent = RecentRows(40_000)
    recent.add(*pairs(range(90)))
    recent.add(*pairs(range(90, 130)))
    assert len(held(recent)) == 130
    recent.resize(20_000)
    assert held(recent).keys() == {b"%06d" % number for number in range(90, 130)}
    recent.resize(1_000)
    assert (held(recent), recent.size_bytes) == ({}, 0)


def test_an_absent_row_is_known_to_be_absent_until_it_is_dropped() -> None:
    recent = RecentRows(40_000)
    recent.add([b"a", b"b"], [None, b"1"])
    assert held(recent) == {b"a": None, b"b": b"1"}
    recent.drop([b"a"])
    assert held(recent) == {b"b": b"1"}
