"""What a proposal mends, and what is not worth moving state for."""

from __future__ import annotations

import pytest

from streamer.control.requests import ModeRecord, PlanRecord, ProposalRecord
from streamer.control.violations import violations


def plan(**modes: int) -> PlanRecord:
    found = tuple(ModeRecord(name=name, concerns=count) for name, count in modes.items())
    return PlanRecord(controller="w1", modes=found)


def proposal(before: int = 0, after: int = 0, moves: bool = True, **modes: int) -> ProposalRecord:
    return ProposalRecord(
        id="p",
        after={"0_0": ("a",)} if moves else {},
        modes=tuple(ModeRecord(name=name, concerns=count) for name, count in modes.items()),
        spread_before={"bytes": before},
        spread_after={"bytes": after},
    )


@pytest.mark.parametrize(
    ("seen", "made", "count"),
    [
        (plan(), proposal(), 0),
        (None, proposal(before=90, after=10), 1),
        (plan(zones_shared=4), proposal(zones_shared=4), 0),
        (plan(zones_shared=4), proposal(zones_shared=1), 1),
        (plan(zones_shared=4), proposal(), 1),
        (plan(zones_shared=4), proposal(moves=False), 0),
        (plan(), proposal(before=30, after=0), 0),
        (plan(), proposal(before=31, after=0), 1),
        (plan(), proposal(before=60, after=58), 0),
        (plan(zones_shared=1), proposal(before=80, after=10), 2),
    ],
)
def test_violations_are_what_would_be_better(
    seen: PlanRecord | None, made: ProposalRecord, count: int
) -> None:
    found = violations(seen, made, spread_percent_max=30)
    assert len(found) == count


def test_they_are_told_with_what_is_left() -> None:
    found = violations(
        plan(zones_shared=4), proposal(80, 10, zones_shared=1), spread_percent_max=30
    )
    assert found == [
        "zones_shared: 4 (), 1 would be left",
        "the fullest worker is 80 % above its share of bytes, and would be 10 %",
    ]
