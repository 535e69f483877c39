"""Which task has a key, and where that task can be read: here, at another worker, or nowhere yet.

A key's partition is the one that Kafka's default partitioner chooses for its bytes. A store that is
fed by a `partition=` of the user's own has keys elsewhere, which only a range finds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from streamer.http.answers import QueryError
from streamer.http.catalog import StoreView
from streamer.http.serving import ServedTask, Serving
from streamer.ids import TaskId
from streamer.topology.partitioner import partitions_of

__all__ = ["Places", "Routing"]


@dataclass(slots=True)
class Places:
    """Where the keys of one request are, as indexes into its list of keys."""

    here: dict[TaskId, list[int]] = field(default_factory=dict)
    elsewhere: dict[str, list[int]] = field(default_factory=dict)
    tasks: dict[TaskId, ServedTask] = field(default_factory=dict)
    owned: dict[str, TaskId] = field(default_factory=dict)


class Routing:
    """`is_strict` requests were forwarded already: they are answered here or not at all."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def places(self, view: StoreView, keys: list[bytes], *, is_strict: bool) -> Places:
        """Where each key is. Raises QueryError (503) for a key that cannot be read anywhere."""
        served = {one.task: one for one in self._serving.tasks()}
        places = Places()
        for index, partition in enumerate(partitions_of(keys, self._count(view))):
            task = TaskId(view.subtopology, partition)
            found = served.get(task)
            if found is not None and found.is_readable:
                places.tasks[task] = found
                places.here.setdefault(task, []).append(index)
                continue
            # A worker that has the task open, but not ready, is its owner.
            owner = None if found is not None else self._serving.owner(task)
            if owner is None or is_strict:
                raise _unreadable(task, found, owner)
            places.owned.setdefault(owner, task)
            places.elsewhere.setdefault(owner, []).append(index)
        return places

    def here(self, view: StoreView) -> list[ServedTask]:
        """The tasks of a store that can be read here."""
        return [one for one in self._of(view) if one.is_readable]

    def missing(self, view: StoreView) -> list[dict[str, Any]]:
        """The tasks of a store that a range over this worker's tasks leaves out, and why."""
        served = {one.task: one for one in self._of(view)}
        missing = []
        for partition in range(self._count(view)):
            task = TaskId(view.subtopology, partition)
            found = served.get(task)
            if found is None or not found.is_readable:
                owner = None if found is not None else self._serving.owner(task)
                missing.append({"task": str(task), "owner": owner, **_condition(found)})
        return missing

    def _of(self, view: StoreView) -> Iterable[ServedTask]:
        found = (one for one in self._serving.tasks() if one.task[0] == view.subtopology)
        return sorted(found, key=lambda one: one.task)

    def _count(self, view: StoreView) -> int:
        count = self._serving.task_count(view.subtopology)
        if count < 1:
            raise QueryError(
                503,
                f"the number of tasks of subtopology {view.subtopology} is not known yet",
                hint="the worker is starting: ask again",
                retry_after_s=1,
            )
        return count


def _condition(found: ServedTask | None) -> dict[str, Any]:
    if found is None:
        return {"state": None, "lag_records": None}
    return {"state": found.state, "lag_records": found.lag_records}


def _unreadable(task: TaskId, found: ServedTask | None, owner: str | None) -> QueryError:
    details = {"task": str(task), "owner": owner, **_condition(found)}
    if found is not None:
        message = f"task {task} is {found.state}, with {found.lag_records} records to go"
        hint = "ask again: a task is read as soon as it runs; /tasks shows its progress"
    elif owner is None:
        message = f"nobody is known to run task {task}"
        hint = "ask again: a task that lost its worker is given to another within seconds"
    else:
        message = f"task {task} is not here: {owner} is said to run it"
        hint = "ask again: the task is on its way from one worker to another"
    return QueryError(503, message, hint=hint, details=details, retry_after_s=1)
