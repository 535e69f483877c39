"""Aggregation per key: fold a batch into the store's cells, pass results on now or at the commit.

A folded batch gives exactly what its records give one by one: rows are folded in record order, and
a row whose value may expire inside the batch makes the batch be folded record by record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from operator import eq
from typing import Any, Literal

from streamer.engine.batch import Batch, store_results
from streamer.engine.care import Done, careful, isolated, take_back
from streamer.engine.fields import FieldError, Fields
from streamer.engine.fold import Cells, Collect, Loop, Told
from streamer.engine.node import Operator
from streamer.engine.policy import Policy
from streamer.engine.sharing import encoder
from streamer.errors import RAISED_BY_USERS
from streamer.kafka.api import AbortableError
from streamer.store.cache import KeyValueState, UnreadableKeysError, newest_times
from streamer.store.expiry import is_past_ttl
from streamer.store.keys import key_decoder
from streamer.topology.graph import Emit

__all__ = ["AggregateOperator", "Drop", "without_nulls"]

Drop = Callable[[str, int], None]


class AggregateOperator(Operator):
    """Folds records of a key into one aggregate. Windowed aggregation builds on it."""

    def __init__(
        self,
        name: str,
        policy: Policy,
        *,
        state: KeyValueState,
        loop: Loop,
        emit: Emit,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes], Any],
        decode_key: Callable[[bytes], Any],
        needs_keys: bool,
        needs_care: bool,
        drop: Drop,
        fields: Fields | None = None,
    ) -> None:
        super().__init__(name, policy)
        self.state = state
        self.emit = emit
        self.takes_payloads = False
        self.shares_values = False
        # Makes an aggregate an object that nobody else has; and when that is needed.
        self.own: Callable[[Any], Any] = lambda value: decode(encode(value))
        self.owns: Literal["nothing", "each", "batch"] = "nothing"
        self._loop = loop
        self._encode = encode
        self._decode = decode
        self._decode_key = decode_key
        self._needs_keys = needs_keys
        self._checked_key = None if needs_keys else key_decoder(state.spec)
        self._drop = drop
        state.on_unencodable = self._again
        self._needs_care = needs_care
        self._fields = fields
        self._has_all_checks = False
        # Whether built-in aggregates are folded so that a record can be taken back, as those of
        # functions are with `Care`: from the first record on that left something.
        self._takes_back = False

    def run(self, batch: Batch) -> None:
        batch = without_nulls(batch, self._drop)
        if len(batch):
            assert batch.raw_keys is not None
            self.fold(batch, batch.raw_keys)

    def fold(self, batch: Batch, row_keys: Sequence[bytes]) -> None:
        """Fold rows into the cells of these row keys."""
        newest = _newest_times(batch, row_keys)
        try:
            absent = self.state.load(newest, decode_key=self._checked_key)
        except UnreadableKeysError as unreadable:
            left = self.refuse_keys(batch, row_keys, unreadable.errors)
            if left:
                self.fold(batch.take(left), [row_keys[row] for row in left])
            return
        if self.state.spec.ttl_ms is not None and _may_expire(self.state, batch, row_keys):
            for row, row_key in enumerate(row_keys):
                _expire(self.state, row_key, batch.source.stream_times[batch.index[row]])
                newest = {row_key: batch.timestamps[row]}
                self._fold(batch.take([row]), [row_key], newest, absent=0)
            return
        self._fold(batch, row_keys, newest, absent=absent)

    def _fold(
        self, batch: Batch, row_keys: Sequence[bytes], newest: dict[bytes, int], *, absent: int
    ) -> None:
        """Fold rows whose cells are there; so many of the keys were just found to be absent."""
        payloads: list[bytes | None] = []
        left: list[int] = []
        is_passed_on = self.emit == "every"
        collect = (self._encode, payloads.append) if is_passed_on else None
        failed = self._fold_rows(batch, row_keys, collect, payloads=payloads, left=left)
        # Where more began than were absent, some were removed and came back.
        is_each = len(left) != absent if self._fields is None else self.state.has_removed
        kept: Sequence[int] = range(len(batch))
        begun = {len(batch) - 1 - behind for behind in left} if is_each or failed else set()
        if failed:
            is_each = True
            kept = [row for row in kept if row not in failed]
            batch = batch.take(kept)
            row_keys = [row_keys[row] for row in kept]
            newest = _newest_times(batch, row_keys)
        if not len(batch):
            return
        if self.owns == "batch":
            cells = self.state.values
            cells.update({key: self.own(cells[key]) for key in newest})
        if is_each:
            begins = [row in begun for row in kept]
            times = _stamp_each(self.state, row_keys, batch.timestamps, begins)
        else:
            times = _result_times(self.state, batch, row_keys) if is_passed_on else batch.timestamps
            self.state.touch(newest, *_bounds(batch))
        if is_passed_on:
            self._forward_each(batch, row_keys, payloads, timestamps=times)

    def _fold_rows(
        self,
        batch: Batch,
        row_keys: Sequence[bytes],
        collect: Collect | None,
        *,
        payloads: list[bytes | None],
        left: list[int],
    ) -> set[int]:
        """Run the loop over all rows, and again behind each record that failed and is skipped.
        `left` gets how many rows were left where an aggregate began."""
        cells: Cells = self.state.values
        failed: set[int] = set()
        start = 0
        values = batch.values
        keys: Sequence[Any] = batch.keys if self._needs_keys else row_keys
        loop, done = self._loop_now()
        while True:
            names = iter(row_keys[start:] if start else row_keys)
            rows = (
                zip(names, keys[start:], values[start:], strict=True)
                if start
                else zip(names, keys, values, strict=True)
            )
            # What is left in the iterator tells which record the loop is at.
            rows_left: Callable[[], int] = names.__length_hint__  # type: ignore[attr-defined]
            try:
                loop(cells, rows, Told(left.append, rows_left, collect))
                return failed
            except RAISED_BY_USERS as error:
                row = len(values) - 1 - rows_left()
                record = self._rows_of(batch, row_keys, row)
                self._mind(error, has_folded=record.start < row)
                self.policy.failed(batch, row, error=error, node=self.name)
                take_back(cells, done, count=row - record.start, decode=self._decode)
                del payloads[record.start - len(failed) :]
                failed.update(record)
                start = record.stop

    def _mind(self, error: BaseException, *, has_folded: bool) -> None:
        """Raise AbortableError for what has to be folded again with care: where the record may
        have left something, or has folded rows before the one that failed."""
        if self._needs_care:
            self.policy.take_care(error)
            return
        if not isinstance(error, FieldError):
            self._again(error)
        if has_folded:
            self._take_back(error)

    def _take_back(self, error: BaseException) -> None:
        """Fold again so that records can be taken back, where a failing one is not to stop."""
        if self.policy.goes_on and not self._takes_back:
            self._has_all_checks = self._takes_back = True
            raise AbortableError(f"{self.name}: a record failed, {error}: again with care")

    def _loop_now(self) -> tuple[Loop, Done]:
        """The loop, and what it tells of the rows that it folded, if it is a careful one."""
        done: Done = deque(maxlen=self._rows_max - 1)
        loop, is_careful = self._loop, self._takes_back
        if self._fields is not None and self._has_all_checks:
            loop = self._fields.loop
        if self._needs_care:
            is_careful = self._has_all_checks or self.policy.care.is_taken
        if self.owns == "each":
            loop = isolated(loop, self.own)
        if is_careful:
            loop = careful(loop, encoder(self.state), self._decode, done=done)
        return loop, done

    @property
    def _rows_max(self) -> int:
        """How many rows a record may have."""
        return 1

    def _rows_of(self, batch: Batch, row_keys: Sequence[bytes], row: int) -> range:
        """All rows of the record that has this row."""
        return range(row, row + 1)

    def _forward_each(
        self,
        batch: Batch,
        row_keys: Sequence[bytes],
        payloads: list[bytes | None],
        *,
        timestamps: Sequence[int],
    ) -> None:
        values: Sequence[Any] = payloads
        if not self.takes_payloads:
            decode = self._decode
            values = [None if payload is None else decode(payload) for payload in payloads]
        self.forward(
            Batch(
                source=batch.source,
                values=values,
                timestamps=timestamps,
                index=batch.index,
                raw_keys=self.result_keys(row_keys),
                decode_key=self._decode_key,
                payloads=payloads,
                headers=batch.headers,
                order=batch.order,
            )
        )

    def result_keys(self, row_keys: Sequence[bytes]) -> Sequence[bytes]:
        """The result's key bytes for each row key."""
        return row_keys

    def _again(self, error: BaseException) -> None:
        """Raise AbortableError for a result that cannot be stored: the records are folded again one
        by one, so that the one at fault is refused, and not whatever comes after it."""
        if self._needs_care:
            self.policy.take_care(error)
        can_tell = self._fields is None or self._fields.can_refuse
        if can_tell and not self._has_all_checks:
            self._has_all_checks = True
            raise AbortableError(f"a result of {self.name} cannot be stored: again one by one")
        if self._fields is not None:
            self._take_back(error)

    def forward(self, batch: Batch) -> None:
        if batch.source.raw is None and not self.shares_values:
            decode = self._decode
            batch.values = [None if one is None else decode(one) for one in batch.payloads or ()]
        super().forward(batch)

    def flush(self, stream_time_ms: int) -> None:
        if self.emit != "commit":
            return
        dirty = self.state.dirty()
        if dirty.keys:
            self.forward(
                store_results(
                    stream_time_ms,
                    self.result_keys(dirty.keys),
                    dirty.values,
                    timestamps=dirty.timestamps,
                    payloads=dirty.payloads,
                    decode_key=self._decode_key,
                )
            )

    def abort(self) -> None:
        self.state.abort()


def without_nulls(batch: Batch, drop: Drop) -> Batch:
    """Records without a key or value are not folded: dropped and counted, as in Kafka
    Streams."""
    assert batch.raw_keys is not None
    if batch.is_whole or (None not in batch.raw_keys and None not in batch.values):
        return batch
    kept = [
        row
        for row, key in enumerate(batch.raw_keys)
        if key is not None and batch.values[row] is not None
    ]
    without_key = sum(key is None for key in batch.raw_keys)
    drop("null_key", without_key)
    drop("null_value", len(batch) - len(kept) - without_key)
    return batch.take(kept)


def _newest_times(batch: Batch, row_keys: Sequence[bytes]) -> dict[bytes, int]:
    # The source's stream times are its own timestamps where those are in order.
    is_in_order = batch.timestamps is batch.source.stream_times
    return newest_times(row_keys, batch.timestamps, is_in_order=is_in_order)


def _may_expire(state: KeyValueState, batch: Batch, row_keys: Sequence[bytes]) -> bool:
    end = batch.source.stream_times[batch.index[-1]]
    oldest = min(
        (state.timestamp_of(key) for key in set(row_keys) if state.values[key] is not None),
        default=end,
    )
    return is_past_ttl(state.spec, min(oldest, min(batch.timestamps)), end)


def _expire(state: KeyValueState, row_key: bytes, stream_time_ms: int) -> None:
    if state.get(row_key) is None:
        return
    if is_past_ttl(state.spec, state.timestamp_of(row_key), stream_time_ms):
        state.forget(row_key)


def _bounds(batch: Batch) -> tuple[int, int]:
    """The least and the greatest timestamp."""
    times = batch.timestamps
    if times is batch.source.stream_times:  # in order
        return times[0], times[-1]
    return min(times), max(times)


def _result_times(state: KeyValueState, batch: Batch, row_keys: Sequence[bytes]) -> Sequence[int]:
    """A result's time is the latest of its records' (as in Kafka Streams). To be called before
    the rows are touched: then the state knows the time before this batch."""
    source_times = batch.source.stream_times
    timestamps = batch.timestamps
    if timestamps is source_times or all(
        map(eq, timestamps, map(source_times.__getitem__, batch.index))
    ):
        return timestamps
    latest: dict[bytes, int] = {}
    times = []
    for key, stamp in zip(row_keys, timestamps, strict=True):
        known = latest.get(key)
        if known is None:
            known = state.timestamp_of(key)
        latest[key] = known if known > stamp else stamp
        times.append(latest[key])
    return times


def _stamp_each(
    state: KeyValueState,
    row_keys: Sequence[bytes],
    timestamps: Sequence[int],
    begins: Sequence[bool],
) -> Sequence[int]:
    """Notes changes one by one, since some begin anew; returns the results' times."""
    times = []
    for key, stamp, is_begun in zip(row_keys, timestamps, begins, strict=True):
        state.stamp(key, stamp, begins=is_begun)
        times.append(state.timestamp_of(key))
    return times
