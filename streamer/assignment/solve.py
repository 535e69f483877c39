"""The placement of active tasks: even, sticky, and the same for the same facts in any order.

    1. even     the fullest worker has at most one task more than the emptiest
    2. sticky   of all even placements, one that moves the fewest tasks away from their owner
    3. spread   of those, tasks of one subtopology on as many workers as the moves allow
    4. former   a task that moves anyway goes where its state was before, if there is room

Rule 2 is exact: a worker keeps min(what it has, its quota), and the quotas with the extra task go
to those who have most. Rules 3 and 4 are greedy and never cost a move.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from streamer.assignment.model import Placement, Situation
from streamer.ids import TaskId

__all__ = ["solve"]


def solve(situation: Situation) -> dict[TaskId, str]:
    """Place every task. Without workers nothing is placed."""
    if not situation.workers:
        return {}
    held = _held(situation)
    quotas = _quotas(situation, held)
    placement: dict[TaskId, str] = {}
    for worker, tasks in held.items():
        kept = _kept(tasks, quotas[worker], situation=situation, worker=worker)
        placement.update(dict.fromkeys(kept, worker))
    room = Counter(quotas)
    room.subtract(Counter(placement.values()))
    _return_to_former(placement, room, situation)
    _fill(placement, room, situation.tasks - placement.keys())
    return placement


def _held(situation: Situation) -> dict[str, list[TaskId]]:
    held: dict[str, list[TaskId]] = {worker: [] for worker in sorted(situation.workers)}
    for task in sorted(situation.tasks):
        owner = situation.owners.get(task)
        if owner in held:
            held[owner].append(task)
    return held


def _quotas(situation: Situation, held: dict[str, list[TaskId]]) -> dict[str, int]:
    """How many tasks each worker shall have; the larger quotas go to those who have most."""
    size, larger = divmod(len(situation.tasks), len(held))

    def guests(worker: str) -> int:
        return sum(_is_guest(task, worker, situation) for task in held[worker])

    ranked = sorted(held, key=lambda worker: (-len(held[worker]), guests(worker), worker))
    return {worker: size + (rank < larger) for rank, worker in enumerate(ranked)}


def _is_guest(task: TaskId, worker: str, situation: Situation) -> bool:
    """The task's state lies with another live worker too, so it costs least to give away."""
    home = situation.former.get(task)
    return home is not None and home != worker and home in situation.workers


def _kept(
    tasks: list[TaskId], quota: int, *, situation: Situation, worker: str
) -> Iterable[TaskId]:
    """All, or all but the surplus: guests leave first, then the most crowded subtopology."""
    surplus = len(tasks) - quota
    if surplus <= 0:
        return tasks
    everywhere = Counter(task.subtopology for task in situation.tasks)
    groups: dict[int, list[TaskId]] = defaultdict(list)
    for task in tasks:
        groups[task.subtopology].append(task)
    for group in groups.values():  # the last of a group leaves first
        group.sort(key=lambda task: (_is_guest(task, worker, situation), task))

    def urgency(group: list[TaskId]) -> tuple[bool, int, int]:
        number = group[0].subtopology
        above_share = len(group) * len(situation.workers) - everywhere[number]
        return (_is_guest(group[-1], worker, situation), above_share, -number)

    for _ in range(surplus):
        max(filter(None, groups.values()), key=urgency).pop()
    return [task for group in groups.values() for task in group]


def _return_to_former(
    placement: dict[TaskId, str], room: Counter[str], situation: Situation
) -> None:
    for task in sorted(situation.tasks - placement.keys()):
        home = situation.former.get(task)
        if home is not None and home in situation.workers and room[home] > 0:
            placement[task] = home
            room[home] -= 1


def _fill(placement: dict[TaskId, str], room: Counter[str], missing: Iterable[TaskId]) -> None:
    """Each task to the worker with room that has fewest of its subtopology, then most room."""
    counts = _count_by_subtopology(placement)
    groups: dict[int, list[TaskId]] = defaultdict(list)
    for task in sorted(missing):
        groups[task.subtopology].append(task)
    for number, tasks in sorted(groups.items()):
        count = counts[number]
        heap = [(count[worker], -left, worker) for worker, left in room.items() if left > 0]
        heapify(heap)
        for task in tasks:
            _, _, worker = heappop(heap)
            placement[task] = worker
            room[worker] -= 1
            count[worker] += 1
            if room[worker] > 0:
                heappush(heap, (count[worker], -room[worker], worker))


def _count_by_subtopology(placement: Placement) -> dict[int, Counter[str]]:
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for task, worker in placement.items():
        counts[task.subtopology][worker] += 1
    return counts
