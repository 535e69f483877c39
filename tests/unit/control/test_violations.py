"""What a proposal mends, and what is not worth moving state for."""

from __future__ import annotations

import pytest

from streamer.control.requests import ModeRecord, ProposalRecord
from streamer.control.violations import violations


def modes(**counts: int) -> tuple[ModeRecord, ...]:
    return tuple(ModeRecord(name=name, concerns=count) for name, count in counts.items())


def proposal(
    standing: tuple[ModeRecord, ...], *spread: int, moves: bool = True, **left: int
) -> ProposalRecord:
    """`spread` is that of the bytes, before and after."""
    before, after = spread or (0, 0)
    return ProposalRecord(
        id="p",
        after={"0_0": ("a",)} if moves else {},
        modes_before=standing,
        modes=modes(**left),
        spread_before={"bytes": before},
        spread_after={"bytes": after},
    )


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (proposal(()), 0),
        (proposal((), 90, 10), 1),
        (proposal(modes(zones_shared=4), zones_shared=4), 0),
        (proposal(modes(zones_shared=4), zones_shared=1), 1),
        (proposal(modes(zones_shared=4)), 1),
        (proposal(modes(zones_shared=4), moves=False), 0),
        (proposal((), 30, 0), 0),
        (proposal((), 31, 0), 1),
        (proposal((), 60, 58), 0),
        (proposal(modes(zones_shared=1), 80, 10), 2),
    ],
)
def test_violations_are_what_would_be_better(made: ProposalRecord, count: int) -> None:
    assert len(violations(made, spread_percent_max=30)) == count


def test_a_later_look_counts_for_whoever_asks_whether_it_is_still_of_use() -> None:
    made = proposal(modes(zones_shared=4), zones_shared=1)
    assert not violations(made, spread_percent_max=30, standing=())
    assert not violations(made, spread_percent_max=30, standing=modes(zones_shared=1))
    assert violations(made, spread_percent_max=30, standing=modes(zones_shared=2))


def test_they_are_told_with_what_is_left() -> None:
    made = proposal(modes(zones_shared=4), 80, 10, zones_shared=1)
    found = violations(made, spread_percent_max=30)
    assert found == [
        "zones_shared: 4 (), 1 would be left",
        "the fullest worker is 80 % above its share of bytes, and would be 10 %",
    ]
