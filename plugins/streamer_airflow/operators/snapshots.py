"""Look at snapshots, each task of Airflow at some of them: `UnitsOperator`, `CheckOperator`.

What goes from one to the other names tasks and no data: each unit finds the manifests itself, on
whatever host it runs, and reads the repository from there.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from streamer.errors import OperationRefusedError
from streamer.ids import Layout, TaskId
from streamer.operations.words import size
from streamer.restore.checking import Checked, check_snapshot
from streamer.snapshot.choosing import Chosen, newest, shelves
from streamer.snapshot.listing import made_for
from streamer.snapshot.opening import open_repository
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Progress, each
from streamer.snapshot.verified import LEVELS, Level, is_verified_as, verified
from streamer_airflow.names import nearest
from streamer_airflow.operators.failures import translated
from streamer_airflow.operators.operation import StreamerOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["CheckOperator", "UnitsOperator", "longest_unrestored", "units_of", "wanted"]

_log = logging.getLogger(__name__)

# Airflow maps 1,024 at most by default, and a row for each is too many to look at.
UNITS_MAX = 32


def units_of(tasks: Sequence[str], units_max: int = UNITS_MAX) -> list[dict[str, Any]]:
    """Tasks dealt to at most so many units, about the same to each, with a name for people."""
    ordered = sorted(tasks, key=TaskId.parse)
    count = min(len(ordered), units_max)
    dealt = [ordered[number::count] for number in range(count)]
    more = [f" and {len(one) - 1} more" if len(one) > 1 else "" for one in dealt]
    return [{"name": one[0] + rest, "tasks": one} for one, rest in zip(dealt, more, strict=True)]


class UnitsOperator(StreamerOperator):
    """The tasks whose snapshots are to be looked at, in units: those of an operation (`made`, what
    its task has returned), else those that a form names (`takes`), else all of the repository.

    `sample` names the field with how many at most; those that were not restored for the longest
    come first. `level` names the one that may say that nothing is to be looked at.
    """

    template_fields: Sequence[str] = ("made",)

    def __init__(
        self,
        *,
        made: Any = None,
        takes: str = "tasks",
        sample: str = "",
        level: str = "level",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.made = made
        self.takes = takes
        self.sample = sample
        self.level = level

    def execute(self, context: Context) -> list[dict[str, Any]]:
        params: Mapping[str, Any] = context["params"]
        if params[self.level] not in LEVELS:
            raise AirflowSkipException(f"the form says {params[self.level]}: nothing is looked at")
        with translated():
            tasks = self._ordered() if self.made else self._stored(params)
        if not tasks:
            raise AirflowFailException(
                "there is no snapshot to look at\nhint: make one: the DAG snapshot_stores, or"
                " streamer snapshot create"
            )
        if self.sample:
            tasks = tasks[: int(params[self.sample])]
        return units_of(tasks)

    def _ordered(self) -> list[str]:
        with self.hook.executor() as executor:
            record = executor.books().operation(str(self.made["operation"]))
        return list(record.plan.steps[0].parameters["tasks"])

    def _stored(self, params: Mapping[str, Any]) -> list[str]:
        config = self.hook.config()
        named = list(params.get(self.takes) or ())
        with open_repository(config) as repository:
            found = _shelves_of(repository, config.application_id, named)
            if not self.sample:
                return list(dict.fromkeys(str(shelf.task) for shelf in found))
            return longest_unrestored(repository, found)


class CheckOperator(StreamerOperator):
    """Look at the newest snapshots of a unit's tasks, or at those that an operation has made, and
    note what was found. `level` names the field with how thoroughly. `again` looks also at what is
    noted as whole already."""

    template_fields: Sequence[str] = ("unit", "made")

    def __init__(
        self,
        *,
        unit: Mapping[str, Any],
        made: Any = None,
        level: str = "level",
        repository: str = "",
        directory: str = "",
        again: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.unit = unit
        self.made = made
        self.level = level
        self.repository = repository
        self.directory = directory
        self.again = again

    def execute(self, context: Context) -> dict[str, Any]:
        params: Mapping[str, Any] = context["params"]
        level, operation = params[self.level], self.made["operation"] if self.made else ""
        address = params[self.repository] if self.repository else ""
        place = params[self.directory] if self.directory else ""
        found: list[Checked] = []
        with translated():
            config = self.hook.config()
            with open_repository(config, address) as repository:
                shelved = shelves(repository, config.application_id, self.unit["tasks"])
                for one in wanted(shelved, operation):
                    if self._is_noted(one, level):
                        continue
                    found.append(
                        check_snapshot(
                            repository,
                            one,
                            level,
                            directory=Path(place) if place else None,
                            report=_telling(str(one.shelf.task)),
                        )
                    )
                    self._tell(found[-1])
        return _counted(found)

    def _is_noted(self, one: Chosen, level: Level) -> bool:
        """Whether it need not be looked at."""
        noted = verified(one.shelf).get(one.stem)
        if self.again or not is_verified_as(noted, level):
            return False
        self.log.info("%s %s is noted as whole already", one.shelf.task, one.stem)
        return True

    def _tell(self, checked: Checked) -> None:
        rows = f", {sum(checked.rows.values()):,} rows were read" if checked.rows else ""
        how = "whole" if checked.is_whole else "NOT whole"
        self.log.info("snapshot %s of %s is %s%s", checked.id[:12], checked.task, how, rows)


def _counted(found: Sequence[Checked]) -> dict[str, Any]:
    """Names and counts. Raises where one is damaged: its notes are taken back by now."""
    damaged = [one for one in found if not one.is_whole]
    if damaged:
        named = "; ".join(
            f"{one.id[:12]} of {one.task}: "
            + ", ".join(f"{name}: {what}" for name, what in list(one.problems.items())[:2])
            for one in damaged[:5]
        )
        raise AirflowFailException(
            f"{len(damaged)} of {len(found)} snapshots are not whole: {named}\nhint: make new ones"
            " (DAG snapshot_stores) and look at the repository's disk; nothing rests on these any"
            " more, and older ones that are whole stay: streamer snapshot list"
        )
    return {
        "snapshots": [f"{one.task}/{one.id}" for one in found],
        "rows": sum(sum(one.rows.values()) for one in found),
    }


def _shelves_of(repository: Repository, application: str, named: list[str]) -> list[Shelf]:
    """Those of the form; a refusal has the names that were probably meant."""
    try:
        return shelves(repository, application, named)
    except OperationRefusedError as refused:
        known = [str(shelf.task) for shelf in shelves(repository, application)]
        hint = " ".join(filter(None, [nearest(named, known), refused.hint]))
        raise OperationRefusedError(refused.message, hint=hint) from refused


def wanted(shelved: Iterable[Shelf], operation: str = "") -> Iterator[Chosen]:
    """Of each task what the operation has made, or the newest of each of its shelves: it has one
    for each layout, and an operation makes snapshots of the layout that holds.

    Raises AirflowException for a task that has no such snapshot.
    """
    of_task: dict[TaskId, list[Shelf]] = {}
    for shelf in shelved:
        of_task.setdefault(shelf.task, []).append(shelf)
    for own in of_task.values():
        found = [_made(shelf, operation) if operation else newest(shelf) for shelf in own]
        there = [one for one in found if one is not None]
        if not there:
            raise AirflowException(
                f"{own[-1]} has no snapshot" + (f" of operation {operation}" if operation else "")
            )
        yield from there


def longest_unrestored(repository: Repository, found: Sequence[Shelf]) -> list[str]:
    """Tasks, those first that were not restored for the longest. A look at one is two requests, and
    a large application has thousands: as many at a time as the repository takes."""
    looked: dict[tuple[Layout, TaskId], float] = {}

    def look(shelf: Shelf) -> None:
        looked[shelf.layout, shelf.task] = _since_restored(shelf)

    each(found, look, parallel=repository.transfers.parallel)
    # The last layout of a task counts.
    since = {task: looked[layout, task] for layout, task in sorted(looked)}
    return [str(task) for task in sorted(since, key=lambda task: (-since[task], task))]


def _made(shelf: Shelf, operation: str) -> Chosen | None:
    manifest = made_for(shelf, operation)
    return None if manifest is None else Chosen(shelf, manifest.stem)


def _since_restored(shelf: Shelf) -> float:
    """How many snapshots were made since one was restored for a look; infinite where none was."""
    noted = verified(shelf)
    for newer, entry in enumerate(reversed(shelf.entries())):
        if noted.get(entry.stem) == "restored":
            return newer
    return math.inf


def _telling(task: str) -> Callable[[Progress], None]:
    """Tells the log now and then; called by threads that hold a lock meanwhile."""
    said = [0]

    def tell(progress: Progress) -> None:
        tenth = progress.bytes_done * 10 // max(progress.bytes_total, 1)
        if tenth > said[0]:
            said[0] = tenth
            _log.info("%s: %s of %s", task, size(progress.bytes_done), size(progress.bytes_total))

    return tell
