"""Whoever answers as the owner of a task is the only one who can change it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from streamer.ids import TaskId
from tests.simulation.process import Process

__all__ = ["check_leases"]


def check_leases(
    processes: Iterable[Process], owners: Mapping[TaskId, Process], *, doubled: Collection[str]
) -> None:
    """Raises AssertionError. `owners` are those who can commit; `doubled` are workers whose id two
    processes had at once, which no lease can know."""
    for process in processes:
        is_fenced = process.is_fenced and process.worker not in doubled
        if not (is_fenced and process.is_running and process.lease.holds):
            continue
        for task in process.owned.keys() & owners.keys():
            owner = owners[task]
            assert owner.worker == process.worker, (
                f"{task} is answered for by {process.worker} {process.seat.incarnation} with a"
                f" lease of {process.lease.age_ms} ms beside its owner {owner.worker}"
                f" {owner.seat.incarnation}"
            )
