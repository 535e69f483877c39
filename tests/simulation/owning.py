"""A task has one owner that can commit, and whoever answers as its owner is that one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from streamer.ids import TaskId
from tests.simulation.process import Process

__all__ = ["check_leases", "single_owners"]


def single_owners(
    processes: Iterable[Process], describe: Callable[[], str]
) -> dict[TaskId, Process]:
    """Who can commit for each task. AssertionError where two can, or two releases own any."""
    owners: dict[TaskId, Process] = {}
    for process in processes:
        if not process.owned or process.is_fenced:
            continue
        other = next(iter(owners.values()), process)
        assert other.shape == process.shape, (
            f"{other.worker} {other.seat.incarnation} and {process.worker}"
            f" {process.seat.incarnation} of two releases own tasks: {describe()}"
        )
        for task in process.owned:
            other = owners.setdefault(task, process)
            assert other is process, (
                f"{task} is owned by {other.worker} {other.seat.incarnation} and"
                f" {process.worker} {process.seat.incarnation}: {describe()}"
            )
    return owners


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
