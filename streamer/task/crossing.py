"""A task and the strays of one topic that was grown: those that it finds, and those that it gets.

    found in its partition    forwarded ahead of processing, with a position of their own
    of its own keys           come by the strays topic; what its partition holds waits for them

Both positions are committed with the transaction in which strays were sent, so each is forwarded
once. Once strays are not expected any more, nothing waits, and what still comes is forwarded while
its batch is processed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from streamer import metrics
from streamer.engine.sink import Output
from streamer.errors import ProcessingError
from streamer.ids import TaskId, TopicPartition
from streamer.record import RawBatch
from streamer.split.homes import Homes
from streamer.strays.carried import headers_of, taken_in
from streamer.strays.quiet import Quiet
from streamer.strays.sorting import sort
from streamer.strays.wait import Look, Wait
from streamer.task.input import TaskInput

__all__ = ["Ahead", "Crossing", "Lost"]

Lost = Callable[[RawBatch, int, ProcessingError], None]
"""A row of a batch, and why a declared partitioner does not place it."""


class Ahead(Protocol):
    """What is read and asked ahead of processing. Used by the worker's main thread."""

    def read(self, place: TopicPartition, position: int) -> tuple[list[RawBatch], int]:
        """What there is now from this position on, and the position behind it. Raises the
        StreamerError of a partition that cannot be read."""

    def leave(self, place: TopicPartition) -> None:
        """It is read no more."""

    def asked(self) -> int:
        """How many looks have begun; the next one has a higher number. Looks go on for as long as
        this is called."""

    def look(self, topic: str) -> tuple[int, Look]:
        """The last look that has ended, and its number."""


class Crossing:
    """One topic of one task. `forwarded` is up to where strays of its partition are forwarded,
    `committed` what is committed of that. A `quiet` that is over is taken for committed."""

    def __init__(
        self,
        task: TaskId,
        source: TopicPartition,
        strays: TopicPartition,
        *,
        homes: Homes,
        forwarded: int,
        quiet: Quiet,
        ahead: Ahead,
        output: Output,
    ) -> None:
        self._task = str(task)
        self.source = source
        self.strays = strays
        self.quiet = quiet
        self.forwarded = self.committed = forwarded
        self._homes = homes
        self._ahead = ahead
        self._output = output
        # Of `quiet`, what is committed; a time that nobody has noted yet is not.
        self._was_quiet, self._noted_ms = quiet.is_over, quiet.noted_ms
        self._wait: Wait | None = None
        # What was asked, and what was held, when the wait began.
        self._asked = self._batches = self._began_ms = 0

    # -- before records are processed ----------------------------------------------------------

    def turn(
        self, task_input: TaskInput, positions: Mapping[TopicPartition, int], now_ms: int
    ) -> None:
        """Forward what has come, and release what has waited for long enough. `positions` are up to
        where both topics were processed."""
        if self.quiet.is_over:
            task_input.open(self.source)
            if self.has_passed(positions):
                self._ahead.leave(self.source)
                return
        # Others may wait for what is found here, also where this task waits for nobody any more.
        batches, position = self._ahead.read(self.source, self.forwarded)
        for batch in batches:
            self._forward(batch, sort(batch, self._homes).strays)
        # Behind the last record there may be markers of transactions.
        self.forwarded = max(self.forwarded, position)
        if self.quiet.is_over:
            return
        held = task_input.held(self.source)
        # Where nothing comes there is nothing to hold, and all the same it gets quiet.
        if self._wait is None and (held or self.quiet.may_end(now_ms)):
            self._wait, self._batches, self._began_ms = Wait(), held, now_ms
            self._asked = self._ahead.asked()
        if self._wait is None:
            return
        self._ahead.asked()
        number, look = self._ahead.look(self.source.topic)
        if number > self._asked:
            self._wait = self._wait.looked(look, self.source.partition)
        if self._wait.is_over(positions[self.strays]):
            task_input.release(self.source, self._batches)
            self._wait = None
            self.quiet.waited(self._began_ms)

    def _forward(self, batch: RawBatch, strays: dict[int, int]) -> None:
        if strays:
            rows = list(strays)
            found = batch.take(rows)
            self._output.send(
                self.strays.topic,
                found.keys,
                found.values,
                timestamps=found.timestamps,
                headers=headers_of(batch, rows),
                partitions=list(strays.values()),
            )
            metrics.strays_forwarded.labels(self._task, batch.topic).inc(len(rows))
        self.forwarded = max(self.forwarded, batch.position)

    # -- while they are ------------------------------------------------------------------------

    def own(self, batch: RawBatch, lost: Lost) -> Iterator[RawBatch]:
        """The records of a batch of the topic that are at home here. Strays that nobody has
        forwarded yet are. `lost` decides about those whose home cannot be told."""
        strays, failures = sort(batch, self._homes)
        for row, error in failures.items():
            lost(batch, row, error)
        if batch.position > self.forwarded:
            late = {row: to for row, to in strays.items() if batch.offsets[row] >= self.forwarded}
            self._forward(batch, late)
        rows = [row for row in range(len(batch)) if row not in strays and row not in failures]
        if rows:
            yield batch.take(rows)

    def taken_in(self, batch: RawBatch, now_ms: int) -> Iterator[RawBatch]:
        """Strays of this task, as records of the topic."""
        if self.quiet.is_over:
            metrics.strays_late.labels(self._task, self.source.topic).inc(len(batch))
        self.quiet.saw_stray(now_ms)
        return taken_in(batch, self.source.topic)

    # -- the commit ----------------------------------------------------------------------------

    def has_passed(self, positions: Mapping[TopicPartition, int]) -> bool:
        """Whether all that was forwarded lies behind this task, so that nobody finds it again."""
        return positions[self.source] >= self.forwarded

    @property
    def is_news(self) -> bool:
        """Whether there is anything to commit."""
        is_noted = (self.quiet.is_over, self.quiet.last_stray_ms) == (
            self._was_quiet,
            self._noted_ms,
        )
        return self.forwarded != self.committed or not is_noted

    def stored(self) -> None:
        """What was forwarded is committed."""
        self.committed = self.forwarded
        self._was_quiet, self._noted_ms = self.quiet.is_over, self.quiet.last_stray_ms

    def abort(self) -> None:
        """Nothing since the last commit happened; what was held comes again."""
        self.forwarded = self.committed
        self.quiet.is_over = self._was_quiet
        self._wait = None

    def close(self) -> None:
        """The task is not here any more, or does not go on."""
        self._ahead.leave(self.source)
