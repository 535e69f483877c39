"""What a placement is computed from, and what it is.

`owners` is where each task is, or is on its way to; `former` is where its state may still lie on a
disk. Both may name workers that are gone: such entries only express where a task came from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from streamer.ids import TaskId

__all__ = ["Placement", "Situation", "moves", "spread"]

Placement = Mapping[TaskId, str]


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that the solver may look at."""

    workers: frozenset[str]
    tasks: frozenset[TaskId]
    owners: Placement = field(default_factory=dict)
    former: Placement = field(default_factory=dict)


def moves(before: Placement, after: Placement) -> dict[TaskId, tuple[str | None, str]]:
    """Tasks that change hands: (from, to). A task that nobody had comes from None."""
    return {
        task: (before.get(task), worker)
        for task, worker in sorted(after.items())
        if before.get(task) != worker
    }


def spread(placement: Placement, workers: frozenset[str]) -> int:
    """How many tasks the fullest worker has more than the emptiest."""
    counts = Counter(placement.values())
    sizes = [counts[worker] for worker in workers]
    return max(sizes) - min(sizes) if sizes else 0
