"""User code on full records: the `process` step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from streamer.engine.aggregate import FLUSHED
from streamer.engine.batch import Batch
from streamer.engine.context import ProcessContext, Schedule
from streamer.engine.node import Operator
from streamer.engine.policy import Policy
from streamer.record import Record

__all__ = ["ProcessOperator"]

_CANCELLED = 0


class ProcessOperator(Operator):
    """Calls a processor record by record, and its punctuations between records.

    Stream-time punctuation comes after the record that moved stream time and before the next, also
    when that record did not reach this step.
    """

    def __init__(
        self, name: str, policy: Policy, *, processor: Any, context: ProcessContext
    ) -> None:
        super().__init__(name, policy)
        self.context = context
        self._processor = processor() if inspect.isclass(processor) else processor
        function: Any = self._processor
        if hasattr(function, "process"):
            function = function.process
        self._process: Callable[[Record, ProcessContext], Any] = function
        opened = getattr(self._processor, "open", None)
        if opened is not None:
            opened(context)

    def close(self) -> None:
        closed = getattr(self._processor, "close", None)
        if closed is not None:
            closed()

    def run(self, batch: Batch) -> None:
        context = self.context
        rows: list[int] = []
        records: list[tuple[Any, Any, int, Any]] = []
        raw = batch.source.raw
        times = batch.source.stream_times
        for row, place in enumerate(batch.index):
            if place > 0 and times:
                self._punctuate_stream(times[place - 1])
            context.stream_time_ms = times[place] if times else context.stream_time_ms
            try:
                context.record = Record(
                    key=batch.keys[row],
                    value=batch.values[row],
                    timestamp_ms=batch.timestamps[row],
                    headers=batch.headers_at(row),
                    topic=raw.topic if raw is not None else None,
                    partition=raw.partition if raw is not None else None,
                    offset=raw.offsets[place] if raw is not None else None,
                )
                self._process(context.record, context)
            except Exception as error:
                context.forwarded.clear()
                self.policy.failed(batch, row, error=error, node=self.name)
            finally:
                context.record = None
            if times:
                self._punctuate_stream(times[place])
            rows += [place] * len(context.forwarded)
            records += context.forwarded
            context.forwarded.clear()
        self._forward(batch, rows, records)

    def _forward(
        self, batch: Batch | None, rows: list[int], records: list[tuple[Any, Any, int, Any]]
    ) -> None:
        if records:
            keys, values, timestamps, headers = zip(*records, strict=True)
            self.forward(
                Batch(
                    source=FLUSHED if batch is None else batch.source,
                    values=values,
                    timestamps=timestamps,
                    index=rows,
                    headers=headers,
                    _keys=keys,
                )
            )

    def _punctuate_stream(self, stream_time_ms: int) -> None:
        self.context.stream_time_ms = stream_time_ms
        for entry in self.context.schedules:
            if entry.by == "stream":
                self._call(entry, stream_time_ms)

    def punctuate_stream(self, stream_time_ms: int) -> None:
        """Run what is due by stream time, of records that may not have come here."""
        self._punctuate_stream(stream_time_ms)
        self._forward_alone()

    def punctuate_wall(self, stream_time_ms: int, wall_time_ms: int) -> None:
        """Run what is due by the wall clock."""
        self.context.stream_time_ms = stream_time_ms
        for entry in self.context.schedules:
            if entry.by == "wall":
                self._call(entry, wall_time_ms)
        self._forward_alone()

    def _forward_alone(self) -> None:
        records = list(self.context.forwarded)
        self.context.forwarded.clear()
        self._forward(None, list(range(len(records))), records)

    def _call(self, entry: Schedule, now_ms: int) -> None:
        if entry.every_ms != _CANCELLED and entry.is_due(now_ms):
            entry.function(now_ms)

    def abort(self) -> None:
        self.context.forwarded.clear()
        for entry in self.context.schedules:
            entry.next_ms = None
