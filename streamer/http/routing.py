"""Which task has a key, and where that task can be read: here, at another worker, or nowhere yet.

A key's task is the one that reads the partition which its topics' partitioner chooses for its
bytes; where that is a hash, among so many partitions as tasks, since these divide all. A store that
is fed by a `partition=` of the user's own has keys elsewhere, which only a range finds.

Places are tried in this order, the next when one cannot answer: the task where it runs here; a copy
here, when the client takes one at once; the owner; a copy here; copies elsewhere, the one that
lacks least first. Those of which the address did not answer a moment ago come last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from streamer.errors import ProcessingError
from streamer.http.answers import QueryError
from streamer.http.catalog import StoreView
from streamer.http.copies import Wish, wish_of
from streamer.http.requests import Request
from streamer.http.serving import ServedTask, Serving
from streamer.ids import TaskId
from streamer.topology.partitioner import partitions_of

__all__ = ["Place", "Places", "Routing"]

# Each that does not answer is waited for, so a request must come to an end.
_COPIES_MAX = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A database that is open `here`, or the worker at `address`: as the owner, or with `limit` as
    one that has a copy which lacks no more records."""

    here: ServedTask | None = None
    address: str = ""
    limit: int | None = None


class Places:
    """Where one request finds the tasks of a store. Those that were forwarded (`is_strict`) are
    answered here or not at all."""

    def __init__(
        self,
        serving: Serving,
        view: StoreView,
        *,
        wish: Wish,
        is_strict: bool,
        is_silent: Callable[[str], bool],
    ) -> None:
        self.wish = wish
        self._serving = serving
        self._subtopology = view.subtopology
        self._is_strict = is_strict
        self._is_silent = is_silent
        self._served = {one.task: one for one in serving.tasks()}

    # -- of keys -------------------------------------------------------------------------------

    def tasks_of(self, keys: list[bytes]) -> dict[TaskId, list[int]]:
        """The tasks that have the keys, each with their indexes in the list."""
        found: dict[TaskId, list[int]] = {}
        count = self._count()
        width, by = self._serving.placing(self._subtopology)
        try:
            numbers = partitions_of(keys, width, by)
        except ProcessingError as error:
            raise QueryError(400, error.describe()) from error
        for index, number in enumerate(numbers):
            task = TaskId(self._subtopology, number % count)
            found.setdefault(task, []).append(index)
        return found

    def here(self, task: TaskId) -> ServedTask | None:
        """What is open here and may be read without asking anybody."""
        found = self._served.get(task)
        if found is None or found.is_readable:
            return found
        # What is restored here is on its way to its owner's state: nobody else runs it. And who
        # was asked as the owner that it was cannot know of another.
        was_owner = not found.is_standby or (found.is_lapsed and self._is_strict)
        is_first = self.wish.at_once or was_owner
        return found if found.is_copy and is_first and self.wish.takes(found.behind) else None

    def others(self, task: TaskId, *, is_local: bool) -> list[Place]:
        """Where else it may be read, in the order of trying. `is_local`: only here; raises
        QueryError (421) that tells the owner."""
        if self._is_strict:
            return []
        owner = self._owner(task)
        if is_local and owner is not None:
            raise _elsewhere(task, owner)
        copies = self._copies(task)
        places = []
        if owner is not None:
            # One that is about to run what it has a copy of may answer from the copy.
            has_copy = owner in (address for address, _lag in copies)
            places.append(Place(address=owner, limit=self.wish.limit if has_copy else None))
        found = self._served.get(task)
        if found is not None and found.is_standby and not self.wish.at_once:
            places += [Place(here=found)] if self.wish.takes(found.behind) else []
        if not is_local:
            elsewhere = [address for address, _lag in copies if address != owner]
            limit = self.wish.limit
            places += [Place(address=one, limit=limit) for one in elsewhere[:_COPIES_MAX]]
        return sorted(places, key=lambda one: bool(one.address) and self._is_silent(one.address))

    @property
    def may_be_exchanged(self) -> bool:
        """Whether workers may be exchanging the roles that they have in a task that nobody answers
        for. What is known of them may be of before: that another runs it, or that nobody has it."""
        return self._serving.keeps_copies and not self._is_strict and self.wish.limit is not None

    def refusal(self, task: TaskId) -> QueryError:
        """Why a task is read nowhere."""
        found = self._served.get(task)
        copies = [] if self._is_strict else self._serving.standbys(task)
        return _unreadable(task, found, owner=self._owner(task), copies=copies)

    # -- of ranges -----------------------------------------------------------------------------

    def readable(self, left_out: Collection[TaskId]) -> list[ServedTask]:
        """The tasks, and copies where the client takes them or the owner cannot be asked."""
        found = (one for one in self._served.values() if one.task[0] == self._subtopology)
        chosen = [one for one in found if one.task not in left_out and self._is_in_range(one)]
        return sorted(chosen, key=lambda one: one.task)

    def missing(self, read: Collection[TaskId]) -> list[dict[str, Any]]:
        """The tasks that a range leaves out, why, and the other workers that could answer."""
        missing = []
        for partition in range(self._count()):
            task = TaskId(self._subtopology, partition)
            if task in read:
                continue
            found = self._served.get(task)
            told = {"task": str(task), "owner": self._owner(task), **_condition(found)}
            copies = _shown(self._copies(task))
            missing.append(told | ({"copies": copies} if copies else {}))
        return missing

    def _is_in_range(self, found: ServedTask) -> bool:
        if self.here(found.task) is not None:
            return True
        if not (found.is_copy and self.wish.takes(found.behind)):
            return False
        owner = self._owner(found.task)
        return owner is None or self._is_silent(owner)

    # -- of both -------------------------------------------------------------------------------

    def _owner(self, task: TaskId) -> str | None:
        """The owner, if that is another worker: one that has the task open, but not ready, is."""
        found = self._served.get(task)
        is_own = found is not None and not found.is_standby
        return None if is_own else self._serving.owner(task)

    def _copies(self, task: TaskId) -> list[tuple[str, int]]:
        """Workers with a copy that may answer."""
        if self.wish.limit is None:
            return []
        return [one for one in self._serving.standbys(task) if self.wish.takes(one[1])]

    def _count(self) -> int:
        count = self._serving.task_count(self._subtopology)
        if count < 1:
            raise QueryError(
                503,
                f"the number of tasks of subtopology {self._subtopology} is not known yet",
                hint="the worker is starting: ask again",
                retry_after_s=1,
            )
        return count


class Routing:
    """Tells each request where tasks are. `is_silent`: whether an address did not answer lately."""

    def __init__(self, serving: Serving, is_silent: Callable[[str], bool]) -> None:
        self._serving = serving
        self._is_silent = is_silent

    def places(self, view: StoreView, request: Request) -> Places:
        return Places(
            self._serving,
            view,
            wish=wish_of(request, self._serving.acceptable_lag),
            is_strict=request.is_forwarded,
            is_silent=self._is_silent,
        )


def _shown(copies: list[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"worker": address, "lag_records": lag} for address, lag in copies]


def _condition(found: ServedTask | None) -> dict[str, Any]:
    if found is None:
        return {"state": None, "lag_records": None}
    return {"state": found.state, "lag_records": found.lag_records}


def _elsewhere(task: TaskId, owner: str) -> QueryError:
    return QueryError(
        421,
        f"task {task} is at another worker: {owner}",
        hint="ask that worker, or leave out local=1 to have the request forwarded",
        details={"task": str(task), "owner": owner},
    )


def _unreadable(
    task: TaskId, found: ServedTask | None, *, owner: str | None, copies: list[tuple[str, int]]
) -> QueryError:
    details = {"task": str(task), "owner": owner, **_condition(found)}
    if copies:
        details["copies"] = _shown(copies)
    if found is not None and found.is_lapsed:
        ago = "" if found.age_ms is None else f" for {found.age_ms / 1000:.0f} s"
        message = f"whether task {task} is still run here has not been known{ago}"
        hint = "brokers have not acknowledged what this worker says of itself: ask again, or with a"
        hint += " max_lag= to take what it had"
    elif found is not None and found.is_standby:
        message = f"task {task} is a copy here, {_distance(found.behind)}"
        hint = "ask again, or with a max_lag= that allows for so much"
    elif found is not None:
        message = f"task {task} is {found.state}, with {found.lag_records} records to go"
        hint = "ask again: a task is read as soon as it runs; /tasks shows its progress"
    elif owner is None:
        message = f"nobody is known to run task {task}"
        hint = "ask again: a task that lost its worker is given to another within seconds"
    else:
        message = f"task {task} is not here: {owner} is said to run it"
        hint = "ask again: the task is on its way from one worker to another"
    return QueryError(503, message, hint=hint, details=details, retry_after_s=1)


def _distance(behind: int | None) -> str:
    return "how far behind is not known" if behind is None else f"{behind} records behind"
