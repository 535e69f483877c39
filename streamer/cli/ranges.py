"""Rows of many keys, gathered from all workers into one page.

Each worker answers for its own tasks and orders rows by a cursor. A page is cut where the first
worker's own page was cut, so rows are never left out between two pages. Tasks whose owner does not
answer are asked for at workers that keep copies of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamer.cli.client import NoAnswerError, ask

__all__ = ["gather", "merge"]

Page = Mapping[str, Any]


class _Workers:
    """Asks workers for their pages, and remembers which did not answer."""

    def __init__(self, target: str, parameters: Mapping[str, Any], limit: int) -> None:
        self.pages: dict[str, Page] = {}
        self.failures: dict[str, NoAnswerError] = {}
        self._target = target
        self._parameters = {**parameters, "limit": limit, "cursors": "1"}

    def ask(self, address: str, **more: Any) -> Page | None:
        try:
            page: Page = ask(address, self._target, self._parameters | more)
        except NoAnswerError as error:
            if error.status not in (None, 503):
                raise
            self.failures[address] = error
            return None
        self.pages[address] = page
        return page


def gather(
    addresses: Sequence[str], target: str, parameters: Mapping[str, Any], *, limit: int
) -> dict[str, Any]:
    """One page over all workers: `rows`, `next` (or None), `missing` tasks, and where there are any
    the `standbys` that were read, with their lag, and the workers that gave no answer (`silent`).
    Raises NoAnswerError when no worker answers."""
    workers = _Workers(target, parameters, limit)
    waiting = list(addresses)
    while waiting:
        address = waiting.pop(0)
        if address in workers.pages or address in workers.failures:
            continue
        page = workers.ask(address)
        # A worker knows the owners of what it has not itself.
        waiting += [task["owner"] for task in page["missing"] if task.get("owner")] if page else []
    if not workers.pages:
        raise next(iter(workers.failures.values()))
    pages = [*workers.pages.values(), *_from_copies(workers)]
    found = merge(pages, limit=limit)
    silent = {address: error.message for address, error in workers.failures.items()}
    return found | ({"silent": silent} if silent else {})


def _from_copies(workers: _Workers) -> list[Page]:
    """Pages of copies of the tasks that no owner has answered for."""
    pages: list[Page] = []
    asked: set[str] = set()
    for task, copies in _copies_of_missing(workers.pages).items():
        for _lag, address, max_lag in sorted(copies):
            if any(task in page["tasks"] for page in pages):
                break
            if address in workers.failures or address in asked:
                continue
            asked.add(address)
            page = workers.ask(address, max_lag=str(max_lag))
            pages += [page] if page else []
    return pages


def _copies_of_missing(pages: Mapping[str, Page]) -> dict[str, list[tuple[int, str, int]]]:
    """By task, each copy that may answer: what it lacks, its worker, and what it may lack."""
    taken = {task for page in pages.values() for task in page["tasks"]}
    found: dict[str, list[tuple[int, str, int]]] = {}
    for address, page in pages.items():
        max_lag = page.get("max_lag", -1)
        for task in page["missing"]:
            if task["task"] in taken:
                continue
            copies = [(one["lag_records"], one["worker"]) for one in task.get("copies", ())]
            if task.get("state") == "standby" and task["lag_records"] is not None:
                copies.append((task["lag_records"], address))
            known = found.setdefault(task["task"], [])
            known += [(lag, worker, max_lag) for lag, worker in copies if lag <= max_lag]
    return found


def merge(pages: Sequence[Mapping[str, Any]], *, limit: int) -> dict[str, Any]:
    """The first `limit` rows of all pages in order, and where the next page begins."""
    taken = _taken(pages)
    rows = [
        row
        for number, page in enumerate(pages)
        for row in page["rows"]
        if taken[row["task"]] == number
    ]
    rows.sort(key=lambda row: row["cursor"])
    ends = [page["next"] for page in pages if page["next"]]
    if ends:
        rows = [row for row in rows if row["cursor"] <= min(ends)]
    following = min(ends, default=None)
    if len(rows) > limit:
        last = rows[limit - 1]["cursor"]
        # Rows of one position in several tasks stay together: a cursor cannot tell them apart.
        rows = [row for row in rows if row["cursor"] <= last]
        following = last
    missing = {
        task["task"]: task
        for page in pages
        for task in page["missing"]
        if task["task"] not in taken
    }
    standbys = {
        task: pages[number]["tasks"][task]["lag_records"]
        for task, number in sorted(taken.items())
        if _is_copy(pages[number], task)
    }
    return {
        "store": pages[0]["store"] if pages else "",
        "rows": rows,
        "next": following,
        "missing": [missing[name] for name in sorted(missing)],
        **({"standbys": standbys} if standbys else {}),
    }


def _taken(pages: Sequence[Page]) -> dict[str, int]:
    """The page that each task is taken from: its owner's, else that of the copy that lacks least.
    A task that moved in between is in two owners' pages; either is a committed state."""
    taken: dict[str, int] = {}
    for number, page in enumerate(pages):
        for task in page["tasks"]:
            if task not in taken or _lacks(page, task) < _lacks(pages[taken[task]], task):
                taken[task] = number
    return taken


def _is_copy(page: Page, task: str) -> bool:
    return bool(page["tasks"][task].get("role") == "standby")


def _lacks(page: Page, task: str) -> int:
    return int(page["tasks"][task]["lag_records"]) if _is_copy(page, task) else -1
