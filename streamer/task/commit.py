"""The order of a commit, for all tasks of a worker. Nowhere else is it written down.

    1  flush: results and changes of every task go into the open transaction
    2  the input positions join it; Kafka commits all of it, or nothing
    3  changes and positions go to each task's RocksDB, in one batch a task

A crash before 2 ends: the next owner of the transactional id aborts it, the input is read again
from the last commit. A crash after it: the changes are in the changelog, and a task that opens its
database reads there on from the position it has stored. So nothing is lost or done twice, and
local state is never ahead of the changelog.

At least once is the same without the transaction: 2 waits for every delivery and then commits the
positions, so a crash in between processes those records again.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamer import failpoints
from streamer.ids import TopicPartition
from streamer.kafka.api import Committed, ResultProducer
from streamer.task.active import ActiveTask

__all__ = ["commit"]


def commit(
    tasks: Sequence[ActiveTask], producer: ResultProducer, reader: InputReader, *, now_ms: int
) -> None:
    """Commit everything that these tasks did since the last commit.

    Raises AbortableError or ProcessingError before 2 has happened: then the caller aborts.
    FencedError: another worker owns these tasks; what was not committed is void.
    """
    failpoints.hit("commit.before_flush")
    changes = [(task, task.flush()) for task in tasks]
    for task, changed in changes:
        for store, rows in changed.items():
            producer.send_changes(task.changelogs[store], rows)
    failpoints.hit("commit.after_flush")
    offsets: dict[TopicPartition, Committed] = {}
    for task in tasks:
        offsets.update(task.offsets())
    failpoints.hit("commit.before_transaction_commit")
    ends = producer.commit(offsets, reader.group())
    if not producer.is_transactional and offsets:
        reader.commit(offsets)
    failpoints.hit("commit.after_transaction_commit")
    failpoints.hit("commit.before_store_write")
    for task, changed in changes:
        task.store(changed, ends, now_ms=now_ms)
    failpoints.hit("commit.after_store_write")
