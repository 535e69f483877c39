"""In which mode subtopologies have other numbers of tasks, there and back. Pure.

fold    back by a fold
grow    back by a fold where the former number divides what the topics have by then, which they
        keep; else routed
routed  stays so, with any number of tasks
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamer.errors import OperationRefusedError, TopologyError
from streamer.layout import ApplicationLayout, Mode
from streamer.operations.repartition.refusals import check_carried
from streamer.topology.graph import Topology
from streamer.topology.routed import routed

__all__ = ["Wish", "modes", "modes_back", "one_way", "routed_back"]

Wish = Mode | Mapping[int, Mode] | None
"""One for all, one for each, or for each that which changes least."""


def modes(layout: ApplicationLayout, tasks: Mapping[int, int], wish: Wish) -> dict[int, Mode]:
    """That of each subtopology which is to have so many tasks."""
    known = layout.subtopologies
    if isinstance(wish, Mapping):
        return {number: wish[number] for number in tasks}
    return {
        number: wish or (known[number].fits(count) if number in known else "fold")
        for number, count in tasks.items()
    }


def modes_back(
    before: ApplicationLayout, after: ApplicationLayout, moved: Sequence[int]
) -> dict[int, Mode]:
    """Those in which the `moved` ones have the numbers of tasks again that they had before."""

    def back(number: int) -> Mode:
        one, tasks = after.subtopologies[number], before.task_count(number)
        widths = [each.partitions for each in one.external.values()]
        is_odd = one.keeps_state and any(width % tasks for width in widths)
        return "routed" if is_odd or one.mode == "routed" else "fold"

    return {number: back(number) for number in moved}


def routed_back(
    before: ApplicationLayout, after: ApplicationLayout, moved: Sequence[int]
) -> dict[int, list[str]]:
    """Those that are routed only by the way back, and the topics of others that they read until
    then."""
    return {
        number: sorted(after.subtopologies[number].external)
        for number, mode in modes_back(before, after, moved).items()
        if mode == "routed" and after.subtopologies[number].mode != "routed"
    }


def one_way(
    topology: Topology,
    before: ApplicationLayout,
    after: ApplicationLayout,
    *,
    moved: Sequence[int],
) -> str:
    """Why nobody could go back from the layout `after` to the former numbers of tasks; "" where
    somebody could."""
    wanted = {number: before.task_count(number) for number in moved}
    by = modes_back(before, after, moved)
    try:
        back = after.moved(wanted, by, application=topology.application_id)
        if all(back.since(number) != back.number for number in moved):
            return "the numbers of tasks are the former ones, and what is routed stays so"
        for number in moved:
            old, new = (one.subtopologies[number] for one in (after, back))
            check_carried(topology.subtopologies[number], old, new)
        routed(topology, back)
    except (TopologyError, OperationRefusedError) as error:
        return error.message
    return ""
