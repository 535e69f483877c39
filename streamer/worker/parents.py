"""What a task knows of its parents' final results, where it was made of several tasks.

The group tells it for as long as anything is left to pass on (docs/decisions/0055), and so does the
task's database, since a group can be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streamer.changelog.format import Positions
from streamer.split.carried import passed_known, passed_metadata, passed_rows
from streamer.store.closing import Passed
from streamer.store.rocks import TaskDatabase
from streamer.worker.positions import Start

__all__ = ["known_of_parents"]

Rows = dict[str, Callable[[bytes], bool]]


def known_of_parents(
    database: TaskDatabase, start: Start, lags: Mapping[str, int]
) -> tuple[dict[str, Passed], Rows]:
    """By the stores that have some left: how far the parents had come, and whether a row that has
    closed was passed on by the one that it is of. Written into the database where the group tells
    it; done again after a kill, it writes the same. Raises TopologyError as `passed_rows` does."""
    metadata = database.metadata()
    passed = passed_known(metadata, lags, start.closings) | start.passed
    noted = passed_metadata(passed, lags)
    if start.passed:
        closings = {store: start.closings[store] for store in start.passed}
        database.write({}, noted | Positions(closings=closings).encode())
    kinds = {name: spec.kind for name, spec in database.specs.items()}
    return passed, passed_rows({**metadata, **noted}, kinds, start.closings)
