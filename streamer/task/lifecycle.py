"""The states of a task and the moves between them that are legal.

    CREATED -> RESTORING -> RUNNING -> CLOSED
                   |           |
                   +-> FAILED <+        FAILED -> CLOSED
                   +-----------------> CLOSED

A failed task keeps its place and its state: it processes nothing until it is closed, and the other
tasks of the worker go on.
"""

from __future__ import annotations

from enum import Enum

from streamer.errors import InvariantError

__all__ = ["TaskState", "checked_move"]


class TaskState(Enum):
    CREATED = "created"
    RESTORING = "restoring"
    RUNNING = "running"
    FAILED = "failed"
    CLOSED = "closed"


_MOVES: dict[TaskState, frozenset[TaskState]] = {
    TaskState.CREATED: frozenset({TaskState.RESTORING, TaskState.FAILED, TaskState.CLOSED}),
    TaskState.RESTORING: frozenset({TaskState.RUNNING, TaskState.FAILED, TaskState.CLOSED}),
    TaskState.RUNNING: frozenset({TaskState.FAILED, TaskState.CLOSED}),
    TaskState.FAILED: frozenset({TaskState.CLOSED}),
    TaskState.CLOSED: frozenset(),
}


def checked_move(task: object, before: TaskState, after: TaskState) -> TaskState:
    """The new state. Raises InvariantError for a move that must not happen."""
    if after not in _MOVES[before]:
        raise InvariantError(f"task {task} cannot go from {before.value} to {after.value}")
    return after
