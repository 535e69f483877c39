"""What a proposed placement would mend: degraded modes that it ends, and shares that are uneven.

Pure. A conductor that looks every few minutes acts only on these: a proposal that differs from what
is there for another reason is not worth moving state for. What is violated, what would be left of
it and which tasks change is of one moment, since the proposal tells all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamer.control.requests import ModeRecord, ProposalRecord

__all__ = ["violations"]

# A fullest worker that is a little less full is no reason to move.
_GAIN_PERCENT = 5


def violations(
    proposal: ProposalRecord,
    *,
    spread_percent_max: int,
    standing: Sequence[ModeRecord] | None = None,
) -> list[str]:
    """Sentences about what is not as it should be and would be better then; empty where nothing is.

    `spread_percent_max` is how far the fullest worker may be above its share, in per cent.
    `standing` are the degraded modes of a later moment, for whoever looks whether a proposal is
    still of use; by default those that it was made for.
    """
    if not proposal.after:
        return []
    left = {mode.name: mode.concerns for mode in proposal.modes}
    found = [
        f"{mode.name}: {mode.concerns} ({', '.join(mode.examples)}),"
        f" {left.get(mode.name, 0)} would be left"
        for mode in (proposal.modes_before if standing is None else standing)
        if left.get(mode.name, 0) < mode.concerns
    ]
    for measure, before in sorted(proposal.spread_before.items()):
        after = proposal.spread_after.get(measure, 0)
        if before > spread_percent_max and before - after >= _GAIN_PERCENT:
            found.append(
                f"the fullest worker is {before} % above its share of {measure},"
                f" and would be {after} %"
            )
    return found
