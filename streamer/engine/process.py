"""User code on full records: the `process` step."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

from streamer.engine.batch import Batch, Order, Source, flushed, spread_order
from streamer.engine.context import ProcessContext, Schedule
from streamer.engine.node import Operator
from streamer.engine.policy import Policy
from streamer.errors import RAISED_BY_USERS, ProcessingError, StreamerError
from streamer.record import Record

__all__ = ["ProcessOperator"]

_log = logging.getLogger(__name__)


class ProcessOperator(Operator):
    """Calls a processor record by record.

    Punctuation is the pipeline's: it comes between two batches, and ends a batch with the record
    that moved stream time to where one is due, whether or not that record reached this step.
    """

    def __init__(
        self, name: str, policy: Policy, *, processor: Any, context: ProcessContext
    ) -> None:
        super().__init__(name, policy)
        self.context = context
        self.has_punctuated = False
        self._processor = self._begun(processor) if inspect.isclass(processor) else processor
        function: Any = self._processor
        if hasattr(function, "process"):
            function = function.process
        self._process: Callable[[Record, ProcessContext], Any] = function
        opened = getattr(self._processor, "open", None)
        if opened is not None:
            self._begun(opened, context)
        context.may_schedule = False
        # Where a failure stops the task, the whole transaction is taken back.
        if policy.goes_on:
            context.moment.undo = []

    def _begun(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a processor does before any record: its errors are those of its task alone."""
        try:
            return function(*arguments)
        except StreamerError:
            raise
        except RAISED_BY_USERS as error:
            name = getattr(function, "__qualname__", repr(function))
            raise ProcessingError(
                f"{name} of step {self.name}: {type(error).__name__}: {error}",
                hint="the task cannot start before this works",
            ) from error

    def close(self) -> None:
        closed = getattr(self._processor, "close", None)
        if closed is None:
            return
        self.context.moment.call += 1
        try:
            closed()
        except RAISED_BY_USERS:
            # All that it had is committed, and the worker's other tasks have no part in this.
            _log.exception("close() of step %s failed; its task is closed all the same", self.name)

    def run(self, batch: Batch) -> None:
        context = self.context
        moment, forwarded = context.moment, context.forwarded
        rows: list[int] = []
        records: list[tuple[Any, Any, int, Any]] = []
        raw = batch.source.raw
        times = batch.source.stream_times
        cancelled = self._cancelled()
        for row, place in enumerate(batch.index):
            moment.call += 1
            moment.stream_time_ms = times[place]
            try:
                moment.record = Record(
                    key=batch.keys[row],
                    value=batch.values[row],
                    timestamp_ms=batch.timestamps[row],
                    headers=batch.headers_at(row),
                    topic=raw.topic if raw is not None else None,
                    partition=raw.partition if raw is not None else None,
                    offset=raw.offsets[place] if raw is not None else None,
                )
                self._process(moment.record, context)
            except RAISED_BY_USERS as error:
                self._undo(cancelled)
                self.policy.failed(batch, row, error=error, node=self.name)
            finally:
                moment.record = None
            if moment.undo:
                moment.undo.clear()
            if context.schedules:
                cancelled = self._cancelled()
            rows += [row] * len(forwarded)
            records += forwarded
            forwarded.clear()
        if records:
            order = spread_order(batch.places, rows) if self.keeps_order else None
            index = batch.index
            self._forward(batch.source, [index[row] for row in rows], records, order=order)

    def _cancelled(self) -> list[Schedule]:
        return [entry for entry in self.context.schedules if not entry.is_active]

    def _undo(self, cancelled: list[Schedule]) -> None:
        """Take back what a record did before it failed."""
        context = self.context
        context.forwarded.clear()
        undo = context.moment.undo or []
        while undo:
            saved = undo.pop()
            saved.state.put_back(saved)
        for entry in context.schedules:
            entry.is_active = not any(entry is other for other in cancelled)

    def _forward(
        self,
        source: Source,
        index: Sequence[int],
        records: list[tuple[Any, Any, int, Any]],
        *,
        order: Sequence[Order] | None = None,
    ) -> None:
        keys, values, timestamps, headers = zip(*records, strict=True)
        self.forward(
            Batch(
                source=source,
                values=values,
                timestamps=timestamps,
                index=index,
                headers=headers,
                order=order,
                _keys=keys,
            )
        )

    def next_punctuation_ms(self, stream_time_ms: int) -> int | None:
        """The stream time at which the punctuations want to be asked next; None where there are
        none. The first time they see, given here, is what they count from."""
        times = [
            stream_time_ms if entry.next_ms is None else entry.next_ms
            for entry in self.context.schedules
            if entry.by == "stream" and entry.is_active
        ]
        return min(times, default=None)

    def punctuate(self, by: str, now_ms: int, stream_time_ms: int) -> None:
        """Run what is due by stream time, or by the wall clock. That clock has not gone over the
        records of a replay; and at its end, where the live application stands, nothing may move."""
        if by == "wall" and self.context.is_replay:
            return
        moment = self.context.moment
        moment.stream_time_ms = stream_time_ms
        for entry in self.context.schedules:
            if entry.by == by and entry.is_due(now_ms):
                self.has_punctuated = True
                moment.call += 1
                entry.function(now_ms)
        if moment.undo:
            # It has no record that could be left out: it stops its task where it fails.
            moment.undo.clear()
        records = list(self.context.forwarded)
        self.context.forwarded.clear()
        if records:
            count = len(records)
            self._forward(flushed(stream_time_ms, count), range(count), records)

    def start(self, stream_time_ms: int) -> None:
        """Punctuate by stream time as if there had been no restart at this stream time."""
        for entry in self.context.schedules:
            if entry.by == "stream" and stream_time_ms >= 0:
                entry.next_ms = entry.next_after(stream_time_ms)
        self.committed()

    def committed(self) -> None:
        """What the punctuations did so far is committed."""
        self.has_punctuated = False
        for entry in self.context.schedules:
            entry.committed = (entry.next_ms, entry.is_active)

    def abort(self) -> None:
        self.has_punctuated = False
        self.context.forwarded.clear()
        if self.context.moment.undo:
            self.context.moment.undo.clear()
        for entry in self.context.schedules:
            entry.next_ms, entry.is_active = entry.committed
