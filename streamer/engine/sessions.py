"""Aggregation per key and session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from streamer.engine.aggregate import Drop
from streamer.engine.batch import Batch, store_results
from streamer.engine.closing import Closer, Room
from streamer.engine.fields import Fields
from streamer.engine.node import Operator
from streamer.engine.policy import Policy
from streamer.engine.sharing import encoder
from streamer.engine.times import StreamTime
from streamer.errors import RAISED_BY_USERS
from streamer.kafka.api import AbortableError
from streamer.store.cache import UnreadableKeysError
from streamer.store.keys import session_key
from streamer.store.session import Session, SessionState
from streamer.topology.aggregates import BuiltIn, Fold, Reduce
from streamer.topology.graph import Emit
from streamer.topology.windows import SessionWindows

__all__ = ["SessionFold", "SessionOperator", "closed_sessions", "session_fold"]


class SessionFold:
    """How sessions are made and joined: `step(key, value, aggregate or None)`, `merge`."""

    def __init__(
        self, step: Callable[[Any, Any, Any], Any], merge: Callable[[Any, Any, Any], Any]
    ) -> None:
        self.step = step
        self.merge = merge


class _Result(NamedTuple):
    """A session's new value, or None where it is gone; its time is the session's end."""

    row: int
    key: bytes
    start_ms: int
    end_ms: int
    payload: bytes | None


class SessionOperator(Operator):
    """Merges each record with the sessions it touches; a gap is inclusive.

    A merged session takes the place of those it joins: they are removed, and where results are
    passed on they get a None, as in Kafka Streams. What is late or closed goes by the aggregation's
    own `time`. A session beyond its retention is not seen, whether or not its row was removed
    already; with `emit="final"` that is as soon as it closed, so that what was passed on as final
    is never joined to anything.
    """

    def __init__(
        self,
        name: str,
        policy: Policy,
        *,
        state: SessionState,
        windows: SessionWindows,
        time: StreamTime,
        fold: SessionFold,
        emit: Emit,
        closer: Closer | None,
        encode: Callable[[Any], bytes],
        decode_key: Callable[[bytes], Any],
        needs_care: bool,
        drop: Drop,
    ) -> None:
        super().__init__(name, policy)
        self.state = state
        self.windows = windows
        self.time = time
        self.emit = emit
        self.closer = closer
        closed_ms = windows.gap_ms + windows.grace_ms
        self._kept_ms = closed_ms if emit == "final" else state.spec.retention_ms or closed_ms
        self.takes_payloads = False
        self.shares_values = False
        self._fold = fold
        self._encode = encode
        self._decode_key = decode_key
        self._drop = drop
        state.on_unencodable = self._again
        self._needs_care = needs_care
        self._has_all_checks = False

    def run(self, batch: Batch) -> None:
        if not len(batch):
            return
        assert batch.raw_keys is not None
        results: list[_Result] = []
        times = self.time.advance(batch)
        for row, raw_key in enumerate(batch.raw_keys):
            if raw_key is None or batch.values[row] is None:
                self._drop("null_key" if raw_key is None else "null_value", 1)
                continue
            try:
                results += self._record(batch, row, raw_key, stream_time=times[row])
            except UnreadableKeysError as unreadable:
                self.refuse_keys(batch.take([row]), [raw_key], unreadable.errors)
            except RAISED_BY_USERS as error:
                if self._needs_care:
                    self.policy.take_care(error)
                self.policy.failed(batch, row, error=error, node=self.name)
        if self.emit == "every" and results:
            self._forward_each(batch, results)

    def _record(self, batch: Batch, row: int, raw_key: bytes, *, stream_time: int) -> list[_Result]:
        stamp = batch.timestamps[row]
        gap = self.windows.gap_ms
        near = self.state.sessions(raw_key, stamp - gap, stream_time)
        oldest = max(stamp - gap, stream_time - self._kept_ms)
        merged = [one for one in near if one.start_ms - gap <= stamp and one.end_ms >= oldest]
        start = min([stamp, *(one.start_ms for one in merged)])
        end = max([stamp, *(one.end_ms for one in merged)])
        if end + gap + self.windows.grace_ms < stream_time:
            self._drop("late", 1)
            return []
        is_careful = self._needs_care and (self._has_all_checks or self.policy.care.is_taken)
        saved = [self._encode(one.value) for one in merged] if is_careful else []
        try:
            value = self._folded(batch.keys[row], batch.values[row], merged)
            if is_careful and value is not None:
                encoder(self.state)(value)
        except RAISED_BY_USERS:
            for one, encoded in zip(merged, saved, strict=False):
                self.state.restore(raw_key, one, encoded)
            raise
        payload = None if self.emit != "every" or value is None else self._encode(value)
        self.state.replace(raw_key, merged, Session(start, end, value))
        if self.emit != "every":
            return []
        removed = [
            _Result(row, raw_key, one.start_ms, one.end_ms, None)
            for one in merged
            if (one.start_ms, one.end_ms) != (start, end)
        ]
        return [*removed, _Result(row, raw_key, start, end, payload)]

    def _folded(self, key: Any, value: Any, merged: list[Session]) -> Any:
        before: Any = None
        for one in merged:
            before = one.value if before is None else self._fold.merge(key, before, one.value)
        return self._fold.step(key, value, before)

    def _forward_each(self, batch: Batch, results: Sequence[_Result]) -> None:
        decode = self.state.decode
        taken = [result.row for result in results]
        rows = batch.spread(taken, keeps_order=self.keeps_order)
        payloads = [result.payload for result in results]
        self.forward(
            Batch(
                source=batch.source,
                values=[None if payload is None else decode(payload) for payload in payloads],
                timestamps=[result.end_ms for result in results],
                index=rows.index,
                raw_keys=[
                    session_key(result.key, result.start_ms, result.end_ms) for result in results
                ],
                decode_key=self._decode_key,
                payloads=payloads,
                headers=rows.headers,
                order=rows.order,
            )
        )

    def _again(self, error: BaseException) -> None:
        """As that of an aggregation without sessions."""
        if self._needs_care:
            self.policy.take_care(error)
            if not self._has_all_checks:
                self._has_all_checks = True
                raise AbortableError(f"a result of {self.name} cannot be stored: again with care")

    def forward(self, batch: Batch) -> None:
        if batch.source.raw is None and not self.shares_values:
            decode = self.state.decode
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
                    dirty.keys,
                    dirty.values,
                    timestamps=dirty.timestamps,
                    payloads=dirty.payloads,
                    decode_key=self._decode_key,
                )
            )

    def close(self, stream_time_ms: int, room: Room) -> Iterator[None]:
        """Pass on closed sessions (emit="final"), as `WindowedOperator` does windows."""
        if self.closer is None:
            return
        for found in self.closer.pages(self.state.ended, room):
            ends_and_keys, values = zip(*found, strict=True)
            keys = [one[8:] for one in ends_and_keys]
            self.forward(
                store_results(
                    stream_time_ms,
                    keys,
                    values,
                    timestamps=[int.from_bytes(key[-16:-8], "big") for key in keys],
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
        self.state.abort()
        self.time.abort()
        if self.closer is not None:
            self.closer.abort()


def closed_sessions(stream_time_ms: int, windows: SessionWindows) -> int:
    """Sessions that end below this are closed: end + gap + grace < stream time."""
    return max(stream_time_ms - windows.gap_ms - windows.grace_ms, 0)


def session_fold(
    aggregate: Fold | Reduce | Mapping[str, BuiltIn],
    fields: Fields | None,
    *,
    own: Callable[[Any], Any],
    isolates: bool,
) -> SessionFold:
    """The fold of an aggregation. `own` makes an object that nobody else has: of a first value, and
    of each aggregate where others may have what it holds (`isolates`)."""
    fold = _plain_fold(aggregate, fields, own)
    if not isolates:
        return fold
    step = fold.step

    def isolated(key: Any, value: Any, before: Any) -> Any:
        after = step(key, value, before)
        return None if after is None else own(after)

    return SessionFold(isolated, fold.merge)


def _plain_fold(
    aggregate: Fold | Reduce | Mapping[str, BuiltIn],
    fields: Fields | None,
    own: Callable[[Any], Any],
) -> SessionFold:
    if fields is not None:
        return SessionFold(fields.step, fields.merge)
    if isinstance(aggregate, Fold):
        initial, step, merge = aggregate.initial, aggregate.step, aggregate.merge
        assert merge is not None
        return SessionFold(
            lambda key, value, before: step(key, value, initial() if before is None else before),
            merge,
        )
    assert isinstance(aggregate, Reduce)
    reduce = aggregate.step
    return SessionFold(
        lambda _key, value, before: own(value) if before is None else reduce(before, value),
        lambda _key, one, other: reduce(one, other),
    )
