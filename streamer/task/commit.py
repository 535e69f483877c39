"""The order of a commit, for all tasks of a worker. Nowhere else is it written down.

    1  flush: results and changes of every task go into the open transaction
    2  the input positions join it; Kafka commits all of it, or nothing
    3  changes and positions go to each task's RocksDB, in one batch a task

A crash before 2 ends: the next owner of the transactional id aborts it, the input is read again
from the last commit. A crash after it: the changes are in the changelog, and a task that opens its
database reads there on from the position it has stored. So nothing is lost or done twice, and
local state is never ahead of the changelog.

At least once is the same, but for the results: they are written at once, outside of the
transaction, and 2 waits for them first. A crash before it ends writes them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamer import failpoints
from streamer.engine.closing import Room
from streamer.engine.pipeline import Changes
from streamer.errors import (
    RAISED_BY_USERS,
    FencedError,
    KafkaUnavailableError,
    ProcessingError,
    StreamerError,
)
from streamer.ids import TopicPartition
from streamer.kafka.api import AbortableError, Committed, InputReader, ResultProducer
from streamer.task.active import ActiveTask

__all__ = ["TaskFailedError", "commit"]

# What concerns the whole transaction, whichever task met it.
_SHARED = (AbortableError, FencedError, KafkaUnavailableError)


class TaskFailedError(Exception):
    """One task cannot commit; the transaction is to be aborted and the others go on."""

    def __init__(self, task: ActiveTask, error: StreamerError) -> None:
        super().__init__(str(error))
        self.task = task
        self.error = error


def commit(
    tasks: Sequence[ActiveTask],
    producer: ResultProducer,
    reader: InputReader,
    *,
    now_ms: int,
    is_late: Callable[[], bool] = lambda: False,
) -> dict[ActiveTask, StreamerError]:
    """Commit everything that these tasks did since the last commit. Of what has closed some is
    left to the next one where it is a lot, or once `is_late`: `is_closing` of a task tells.

    Returns the tasks whose database could not be written, after the transaction: their changes are
    safe in the changelog, but they cannot go on. Raises AbortableError or TaskFailedError before
    the transaction was committed, FencedError when another worker owns the tasks.
    """
    failpoints.hit("commit.before_flush")
    room = Room(is_late)
    changes = [(task, _flush(task, producer, room)) for task in tasks]
    failpoints.hit("commit.after_flush")
    offsets: dict[TopicPartition, Committed] = {}
    for task in tasks:
        offsets.update(task.offsets())
    failpoints.hit("commit.before_transaction_commit")
    ends = producer.commit(offsets, reader.group())
    failpoints.hit("commit.after_transaction_commit")
    failpoints.hit("commit.before_store_write")
    failures: dict[ActiveTask, StreamerError] = {}
    for task, changed in changes:
        try:
            task.store(changed, ends, now_ms=now_ms)
        except StreamerError as error:
            failures[task] = error
    failpoints.hit("commit.after_store_write")
    return failures


def _flush(task: ActiveTask, producer: ResultProducer, room: Room) -> Changes:
    try:
        changes = task.flush(room)
        for store, rows in changes.items():
            producer.send_changes(task.changelogs[store], rows)
        return changes
    except _SHARED:
        raise
    except StreamerError as error:
        raise TaskFailedError(task, error) from error
    except RAISED_BY_USERS as error:
        problem = ProcessingError(
            f"{type(error).__name__} while task {task.task} committed: {error}",
            hint="a value in a store cannot be encoded, or a step after an aggregation raised",
        )
        problem.__cause__ = error
        raise TaskFailedError(task, problem) from error
