from __future__ import annotations

import random
from typing import Any

import pytest

from streamer.cli.ranges import merge

TASKS = ("0_0", "0_1", "0_2", "0_3")


def _answer(
    rows: list[dict[str, Any]], tasks: tuple[str, ...], *, after: str, limit: int
) -> dict[str, Any]:
    """What a worker with these tasks answers; it ends a page early now and then, as it may."""
    own = [row for row in rows if row["task"] in tasks and row["cursor"] > after]
    own.sort(key=lambda row: row["cursor"])
    size = min(limit, random.randint(1, limit + 3))
    while 0 < size < len(own) and own[size]["cursor"] == own[size - 1]["cursor"]:
        size += 1
    page = own[:size]
    missing = [{"task": task, "owner": None} for task in TASKS if task not in tasks]
    return {
        "store": "totals",
        "rows": page,
        "next": page[-1]["cursor"] if len(own) > size else None,
        "tasks": {task: {} for task in tasks},
        "missing": missing,
    }


@pytest.mark.parametrize("seed", range(200))
def test_following_the_cursors_sees_every_row_once_and_in_order(seed: int) -> None:
    random.seed(seed)
    count = random.randint(0, 60)
    positions = [f"{random.randint(0, 40):04x}" for _ in range(count)]
    # A position may be in several tasks (windows), but once in each.
    places = {(cursor, random.choice(TASKS)) for cursor in positions}
    rows = [{"cursor": cursor, "task": task} for cursor, task in places]
    workers = [TASKS[:2], TASKS[2:]] if seed % 2 else [TASKS[:1], TASKS[1:], TASKS[1:3]]
    limit = random.randint(1, 12)
    seen: list[tuple[str, str]] = []
    after = ""
    for _ in range(500):
        pages = [_answer(rows, tasks, after=after, limit=limit) for tasks in workers]
        merged = merge(pages, limit=limit)
        assert merged["missing"] == []
        seen += [(row["cursor"], row["task"]) for row in merged["rows"]]
        if merged["next"] is None:
            break
        assert merged["next"] > after
        after = merged["next"]
    assert len(seen) == len(set(seen))
    assert set(seen) == places
    assert [cursor for cursor, _task in seen] == sorted(cursor for cursor, _task in seen)


def test_a_task_that_nobody_answered_for_is_missing() -> None:
    page = _answer([], TASKS[:3], after="", limit=5)
    assert merge([page], limit=5)["missing"] == [{"task": "0_3", "owner": None}]


def test_a_task_is_taken_from_its_owner_else_from_the_copy_that_lacks_least() -> None:
    def page(name: str, **tasks: int | None) -> dict[str, Any]:
        told = {
            task: {} if lag is None else {"role": "standby", "lag_records": lag}
            for task, lag in tasks.items()
        }
        rows = [{"task": task, "cursor": task, "from": name} for task in tasks]
        return {"store": "s", "rows": rows, "next": None, "tasks": told, "missing": []}

    pages = [page("a", x=5, y=5, z=0), page("b", y=3, z=None), page("c", x=5, y=4)]
    for order in (pages, pages[::-1]):
        found = merge(order, limit=10)
        taken = {row["task"]: row["from"] for row in found["rows"]}
        assert taken == {"x": order[0]["rows"][0]["from"], "y": "b", "z": "b"}
        assert found["standbys"] == {"x": 5, "y": 3}
