"""The application that the state comes from, where that is another one beside the live one: how far
behind it is, and who is missing of its workers."""

from __future__ import annotations

from streamer.operations.repartition.copies import not_running
from streamer.operations.repartition.ports import World
from streamer.operations.repartition.request import Asked

__all__ = ["BEHIND_MAX", "behind", "who_is_missing"]

BEHIND_MAX = 100_000
"""Offsets that it may be behind when the switch begins to pause: what it is behind by design, by a
look and two commits, at some 100,000 records a second."""


def behind(world: World, asked: Asked, *, is_stable: bool = False) -> int:
    """Offsets of the input by which an application that the state comes from is behind the live
    one; -1 where it has not committed of all partitions. 0 where it is the live one itself."""
    if asked.source is None:
        return 0
    ask = world.ports.committed if is_stable else world.ports.known
    live, own = (ask(each, asked.input_places) for each in (asked.application, asked.origin))
    if live.keys() != own.keys():
        return -1
    return sum(abs(one.position - own[place].position) for place, one in live.items())


def who_is_missing(world: World, asked: Asked) -> str:
    """Which of its tasks does not run, and what to do; "" where all do, or it is the live one."""
    if asked.source is None:
        return ""
    statuses = world.others(asked.origin)
    for worker, one in sorted(statuses.items()):
        for task, report in one.tasks.items():
            if report.state == "failed":
                return (
                    f"task {task} of {asked.origin}, which has failed on {worker}: its log says why"
                )
    if idle := not_running(asked.source, statuses, lambda _shape: True):
        return (
            f"task {idle[0]} of {asked.origin}, which does not run: streamer replay work"
            f" {asked.number} MODULE:APP"
        )
    return ""
