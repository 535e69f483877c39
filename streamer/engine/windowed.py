"""Aggregation per key and time window (tumbling and hopping)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from streamer.engine.aggregate import AggregateOperator, without_nulls
from streamer.engine.batch import Batch, store_results
from streamer.engine.closing import Closer, Room
from streamer.engine.times import StreamTime, present
from streamer.topology.interval import Interval
from streamer.topology.windows import HoppingWindows, TumblingWindows

__all__ = ["WindowedOperator", "closed_windows"]

_TIME = struct.Struct(">Q")


class WindowedOperator(AggregateOperator):
    """Gives each record the row of each window it falls into, and folds as ever.

    What is late or closed goes by the aggregation's own `time`. With `emit="final"` a window's
    result is passed on once, whatever crashes, at the first commits after it closed: the `closer`
    knows how far that has come. A record for it is late from then on, passed on or not.
    With an `interval` windows that do not begin in it are left as they are.
    """

    windows: TumblingWindows | HoppingWindows
    time: StreamTime
    closer: Closer | None = None
    interval: Interval | None = None

    def run(self, batch: Batch) -> None:
        if not len(batch):
            return
        times, came = self.time.advance(batch), batch
        batch = without_nulls(batch, self._drop)
        if not len(batch):
            return
        if len(batch) < len(came):
            times = present(times, came)
        if isinstance(self.windows, TumblingWindows):
            size = self.windows.size_ms
            starts = [stamp - stamp % size for stamp in batch.timestamps]
        else:
            rows, starts = self._spread(batch.timestamps)
            batch = batch.spread(rows, keeps_order=self.keeps_order)
            times = [times[row] for row in rows]
        if self.interval is not None:
            rows = [row for row, start in enumerate(starts) if self.interval.has(start)]
            if not rows:
                return
            batch, starts = batch.take(rows), [starts[row] for row in rows]
            times = [times[row] for row in rows]
        batch, starts = self._without_late(batch, starts, times)
        if len(batch):
            assert batch.raw_keys is not None
            heads = {start: _TIME.pack(start) for start in set(starts)}
            row_keys = [
                heads[start] + key for start, key in zip(starts, batch.raw_keys, strict=True)
            ]
            self.fold(batch, row_keys)

    def _spread(self, timestamps: Sequence[int]) -> tuple[list[int], list[int]]:
        """For each record a row per window that holds it, oldest window first."""
        size, advance = self.windows.size_ms, self.windows.advance_ms
        rows: list[int] = []
        starts: list[int] = []
        for row, stamp in enumerate(timestamps):
            newest = stamp - stamp % advance
            oldest = max(newest - (size - advance) // advance * advance, 0)
            # Where size is no multiple of advance, one older window may still reach the record.
            if oldest >= advance and oldest - advance + size > stamp:
                oldest -= advance
            while oldest + size <= stamp:
                oldest += advance
            for start in range(oldest, newest + 1, advance):
                rows.append(row)
                starts.append(start)
        return rows, starts

    def _without_late(
        self, batch: Batch, starts: list[int], times: Sequence[int]
    ) -> tuple[Batch, list[int]]:
        kept_ms = self.windows.size_ms + self.windows.grace_ms
        if min(starts) + kept_ms > max(times):
            return batch, starts
        rows = [row for row, start in enumerate(starts) if start + kept_ms > times[row]]
        if len(rows) == len(starts):
            return batch, starts
        self._drop("late", len(starts) - len(rows))
        return batch.take(rows), [starts[row] for row in rows]

    @property
    def _rows_max(self) -> int:
        windows = self.windows
        if isinstance(windows, TumblingWindows):
            return 1
        return -(-windows.size_ms // windows.advance_ms)

    def _rows_of(self, batch: Batch, row_keys: Sequence[bytes], row: int) -> range:
        """A record that fails in one of its windows is left out of all of them. Its rows follow
        each other; where the windows go back, another one begins that was made of the same."""

        def is_next(row: int) -> bool:
            return (
                batch.index[row - 1] == batch.index[row]
                and batch.timestamps[row - 1] == batch.timestamps[row]
                and row_keys[row - 1][:8] < row_keys[row][:8]
            )

        start, stop = row, row + 1
        while start > 0 and is_next(start):
            start -= 1
        while stop < len(batch) and is_next(stop):
            stop += 1
        return range(start, stop)

    def result_keys(self, row_keys: Sequence[bytes]) -> Sequence[bytes]:
        """Key, then window start, as Kafka Streams writes windowed keys."""
        return [row_key[8:] + row_key[:8] for row_key in row_keys]

    def close(self, stream_time_ms: int, room: Room) -> Iterator[None]:
        """Pass on the results of closed windows (emit="final"), a page at a time, as many as there
        is room for; the caller settles each page before it asks for the next. The results come at
        the task's stream time, which is given."""
        if self.closer is None:
            return
        for found in self.closer.pages(self.state.scan, room):
            keys, values, timestamps = zip(*found, strict=True)
            self.forward(
                store_results(
                    stream_time_ms,
                    self.result_keys(keys),
                    values,
                    timestamps=timestamps,
                    payloads=list(map(self._encode, values)),
                    decode_key=self._decode_key,
                )
            )
            yield

    def committed(self) -> None:
        """The results passed on so far are committed."""
        self.time.committed()
        if self.closer is not None:
            self.closer.committed()

    def abort(self) -> None:
        super().abort()
        self.time.abort()
        if self.closer is not None:
            self.closer.abort()


def closed_windows(stream_time_ms: int, windows: TumblingWindows | HoppingWindows) -> int:
    """Windows that start below this are closed: start + size + grace <= stream time."""
    return max(stream_time_ms - windows.size_ms - windows.grace_ms + 1, 0)
