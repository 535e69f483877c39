"""Rows of many keys, gathered from all workers into one page.

Each worker answers for its own tasks and orders rows by a cursor. A page is cut where the first
worker's own page was cut, so rows are never left out between two pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamer.cli.client import ask

__all__ = ["gather", "merge"]


def gather(
    addresses: Sequence[str], target: str, parameters: Mapping[str, Any], *, limit: int
) -> dict[str, Any]:
    """One page over all workers: `rows`, `next` (or None), and `missing` tasks."""
    waiting, asked = list(addresses), set[str]()
    pages: list[dict[str, Any]] = []
    while waiting:
        address = waiting.pop(0)
        if address in asked:
            continue
        asked.add(address)
        page = ask(address, target, {**parameters, "limit": limit, "cursors": "1"})
        pages.append(page)
        # A worker knows the owners of what it has not itself.
        waiting += [task["owner"] for task in page["missing"] if task.get("owner")]
    return merge(pages, limit=limit)


def merge(pages: Sequence[Mapping[str, Any]], *, limit: int) -> dict[str, Any]:
    """The first `limit` rows of all pages in order, and where the next page begins."""
    taken: dict[str, int] = {}
    for number, page in enumerate(pages):
        for task in page["tasks"]:
            # A task that moved in between is in two pages; either is a committed state.
            taken.setdefault(task, number)
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
    return {
        "store": pages[0]["store"] if pages else "",
        "rows": rows,
        "next": following,
        "missing": [missing[name] for name in sorted(missing)],
    }
