"""`Pipeline`: one subtopology at work in one task.

    run(batch)     records go through the nodes; results and changes stay in the open transaction
    flush(room)    what waits for the commit is passed on: changed results, closed windows
    changes()      the rows to write to changelogs and stores
    committed()    all of it is durable          abort()  none of it happened

Stream time is the task's: the latest timestamp of its records, the current one included. It only
moves with `run`, and goes back with `abort`. Windowed aggregations have times of their own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from streamer.engine.batch import Batch, Source
from streamer.engine.closing import Room
from streamer.engine.compile import Compiler, Entry
from streamer.engine.process import ProcessOperator
from streamer.engine.sessions import SessionOperator
from streamer.engine.windowed import WindowedOperator
from streamer.errors import RAISED_BY_USERS
from streamer.record import RawBatch
from streamer.store.cache import ANY_TIME_MS, KeyValueState
from streamer.store.closing import Closing
from streamer.store.expiry import Expiry

__all__ = ["Pipeline"]

Changes = dict[str, list[tuple[bytes, bytes | None]]]


class Pipeline:
    """Compiled operators of a task with their states."""

    def __init__(
        self,
        compiler: Compiler,
        *,
        expiries: Mapping[str, Expiry],
        stream_time_ms: int = -1,
    ) -> None:
        operators = compiler.operators()
        self.entries: dict[str, Entry] = compiler.entries(operators)
        self._operators = list(operators.values())
        self.policy = compiler.policy
        self._states: Mapping[str, KeyValueState] = compiler.states
        self._expiries = expiries
        self._index_keys: dict[str, list[bytes]] = {}
        self._processors = [one for one in self._operators if isinstance(one, ProcessOperator)]
        self._windowed = [
            one for one in self._operators if isinstance(one, WindowedOperator | SessionOperator)
        ]
        self._times = compiler.times
        self._closers = {one.state.spec.name: one.closer for one in self._windowed if one.closer}
        self.stream_time_ms = stream_time_ms
        self._committed_time_ms = stream_time_ms
        for state in self._states.values():
            state.committed_time_ms = self._row_time_max_ms
        for operator in self._windowed:
            operator.committed()
        for processor in self._processors:
            processor.start(stream_time_ms)

    @property
    def _row_time_max_ms(self) -> int:
        """What no committed row is later than: stream time, but `process` may forward any time."""
        return ANY_TIME_MS if self._processors else self.stream_time_ms

    # -- records -------------------------------------------------------------------------------

    def run(self, raw: RawBatch) -> None:
        """Process consecutive records of one topic. Raises ProcessingError where a record fails
        and the policy is to stop; then the transaction has to be aborted."""
        entry = self.entries[raw.topic]
        times = self._stream_times(raw.timestamps)
        start = 0
        while start < len(raw):
            end = start + 1 if entry.runs_singly else self._end_of_part(times, start)
            if end - start == len(raw):
                self._run(entry, raw, times)
            else:
                self._run(entry, raw.part(start, end), times[start:end])
            start = end

    def _end_of_part(self, times: Sequence[int], start: int) -> int:
        """Up to the record after which a punctuation is due, so that it comes between the same two
        records whatever the batch."""
        end = len(times)
        for processor in self._processors:
            due_ms = processor.next_punctuation_ms(times[start])
            if due_ms is not None:
                end = min(end, bisect_left(times, due_ms, start, end) + 1)
        return end

    def _run(self, entry: Entry, raw: RawBatch, times: Sequence[int]) -> None:
        batch = self._decode(entry, raw, times)
        if len(batch):
            for child in entry.children:
                child.run(batch)
        self.stream_time_ms = times[-1]
        self._settle()
        for processor in self._processors:
            processor.punctuate("stream", self.stream_time_ms, self.stream_time_ms)
        if self._processors:
            self._settle()

    def _settle(self) -> None:
        for operator in self._operators:
            operator.end_of_batch()

    def _stream_times(self, timestamps: Sequence[int]) -> Sequence[int]:
        """Stream time at each record. In order, it is the record's own timestamp."""
        if timestamps[0] >= self.stream_time_ms and list(timestamps) == sorted(timestamps):
            return timestamps
        return list(accumulate(timestamps, max, initial=self.stream_time_ms))[1:]

    def _decode(self, entry: Entry, raw: RawBatch, times: Sequence[int]) -> Batch:
        is_whole = None not in raw.keys and None not in raw.values
        values, failed = self._column(
            entry.value.decode, raw, raw.values, part="value", is_whole=is_whole
        )
        keys: list[Any] | None = None
        if entry.decodes_keys:
            keys, failed_keys = self._column(
                entry.key.decode, raw, raw.keys, part="key", is_whole=is_whole, skipped=failed
            )
            failed |= failed_keys
        batch = Batch(
            source=Source(raw, times),
            values=values,
            timestamps=raw.timestamps,
            index=range(len(raw)),
            raw_keys=raw.keys,  # type: ignore[arg-type]
            is_whole=is_whole and not failed,
            _keys=keys,
        )
        if failed:
            return batch.take([row for row in range(len(raw)) if row not in failed])
        return batch

    def _column(
        self,
        decode: Any,
        raw: RawBatch,
        encoded: Sequence[bytes | None],
        *,
        part: str,
        is_whole: bool,
        skipped: set[int] | frozenset[int] = frozenset(),
    ) -> tuple[list[Any], set[int]]:
        """Decode a column at the speed of `map`; rows that fail are reported one by one."""
        if not is_whole:
            some = decode

            def decode(item: bytes | None) -> Any:
                return None if item is None else some(item)

        values: list[Any] = []
        failed: set[int] = set()
        calls = map(decode, encoded)
        while True:
            try:
                values.extend(calls)
                if len(values) == len(encoded):
                    return values, failed
                raise RuntimeError("the serde raised StopIteration")
            except RAISED_BY_USERS as error:
                row = len(values)
                if row not in skipped:
                    self.policy.undecodable(raw, row, error=error, part=part)
                failed.add(row)
                values.append(None)

    # -- time ----------------------------------------------------------------------------------

    def punctuate(self, wall_time_ms: int) -> None:
        """Run the punctuations that are due by the wall clock."""
        for processor in self._processors:
            processor.punctuate("wall", wall_time_ms, self.stream_time_ms)
        if self._processors:
            self._settle()

    @property
    def has_punctuation(self) -> bool:
        return any(processor.context.schedules for processor in self._processors)

    @property
    def has_punctuated(self) -> bool:
        """Whether a punctuation ran since the last commit: what it sent is to be committed too."""
        return any(processor.has_punctuated for processor in self._processors)

    @property
    def times(self) -> dict[str, int]:
        """Stream time of each windowed aggregation, by its store."""
        return {store: own.now_ms for store, own in self._times.items()}

    @property
    def closings(self) -> dict[str, Closing | None]:
        """How far final results were passed on, by store; None where none of them are left."""
        return {store: closer.place for store, closer in self._closers.items()}

    @property
    def is_closing(self) -> bool:
        """Whether the last commit left final results to the next."""
        return any(closer.is_left for closer in self._closers.values())

    # -- the commit ----------------------------------------------------------------------------

    def flush(self, room: Room | None = None) -> None:
        """Pass on what waited for the commit, in topological order, so that a result which feeds
        another store is in that store's changes as well; then find what has expired."""
        room = room or Room()
        for operator in self._operators:
            if isinstance(operator, WindowedOperator | SessionOperator):
                # All before it have passed on what they had for it.
                operator.time.settle()
                for _page in operator.close(self.stream_time_ms, room):
                    self._settle()
            operator.flush(self.stream_time_ms)
        for name, expiry in self._expiries.items():
            state = self._states[name]
            dirty = state.dirty()
            now_ms = own.now_ms if (own := self._times.get(name)) else self.stream_time_ms
            kept_ms = place.time_ms if (place := self.closings.get(name)) else None
            expired = expiry.find(now_ms, changed=len(dirty.keys), kept_from_ms=kept_ms)
            state.purge(expired.keys, expiry.among(dirty, now_ms, kept_from_ms=kept_ms))
            self._index_keys[name] = expired.index_keys

    def changes(self) -> Changes:
        """The rows that this transaction changed, by store; None removes a row."""
        return {name: state.changes() for name, state in self._states.items()}

    def stale_index(self) -> Mapping[str, list[bytes]]:
        """Time-index entries that no longer point to a row."""
        return self._index_keys

    def committed(self, changes: Changes) -> None:
        """The changes are durable, in the changelog and in the store."""
        for name, state in self._states.items():
            state.committed(changes[name])
            state.committed_time_ms = self._row_time_max_ms
        for expiry in self._expiries.values():
            expiry.committed()
        self._index_keys = {}
        self._committed_time_ms = self.stream_time_ms
        for operator in self._windowed:
            operator.committed()
        for processor in self._processors:
            processor.committed()

    def abort(self) -> None:
        """Forget all since the last commit."""
        for operator in self._operators:
            operator.abort()
        self.policy.abort()
        for state in self._states.values():
            state.abort()
        for expiry in self._expiries.values():
            expiry.rewind()
        self._index_keys = {}
        self.stream_time_ms = self._committed_time_ms

    def close(self) -> None:
        """Let the processors close what they hold."""
        for processor in self._processors:
            processor.close()

    def keep_recent(self, bytes_max: int) -> None:
        """Bound the committed rows kept at hand, over all stores."""
        for state in self._states.values():
            state.recent.resize(bytes_max // len(self._states))

    @property
    def touched(self) -> int:
        """Keys that the open transaction holds, over all stores."""
        return sum(state.touched for state in self._states.values())

    @property
    def held_bytes(self) -> int:
        """About how much memory they take."""
        return sum(state.held_bytes for state in self._states.values())
