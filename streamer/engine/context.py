"""What user code in `process` sees: its record, its stores, the time, and ways to act.

The stores are those of the open transaction (see `streamer.engine.stores`). What a record did up to
where it failed is taken back, where failing records do not stop the task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from streamer.engine.sendable import check_headers, check_time
from streamer.engine.sharing import copied
from streamer.engine.stores import KeyValueStore, Moment, WindowedStore
from streamer.errors import ConfigError, MisuseError
from streamer.record import Headers, Record
from streamer.store.cache import KeyValueState
from streamer.topology.calls import check_call
from streamer.topology.stores import StoreKind

__all__ = ["ProcessContext", "Schedule"]


@dataclass(slots=True)
class Schedule:
    """A function called whenever its time has advanced by `every_ms`; None before the first."""

    every_ms: int
    function: Callable[[int], Any]
    by: Literal["stream", "wall"]
    next_ms: int | None = None
    is_active: bool = True
    committed: tuple[int | None, bool] = (None, True)

    def next_after(self, now_ms: int) -> int:
        """The next multiple of `every_ms`."""
        return now_ms - now_ms % self.every_ms + self.every_ms

    def is_due(self, now_ms: int) -> bool:
        """Whether it is to be called now; then the next time lies after `now_ms`. Times that
        were jumped over are called once, as in Kafka Streams."""
        is_due = self.is_active and self.next_ms is not None and now_ms >= self.next_ms
        if is_due or self.next_ms is None:
            self.next_ms = self.next_after(now_ms)
        return is_due

    def cancel(self) -> None:
        self.is_active = False


class ProcessContext:
    """Given to `process(record, context)`, `open(context)` and nobody else."""

    def __init__(
        self,
        *,
        task: str,
        states: dict[str, KeyValueState],
        wall_time_ms: Callable[[], int],
    ) -> None:
        self.task = task
        self.moment = Moment(wall_time_ms)
        self.schedules: list[Schedule] = []
        self.may_schedule = True
        self.is_replay = False
        """Whether records are read once more beside the live application: what is forwarded to
        topics of others goes where the replay says, by default nowhere, and punctuations by the
        wall clock do not come."""
        self.forwarded: list[tuple[Any, Any, int, Headers]] = []
        self._stores: dict[str, KeyValueStore | WindowedStore] = {
            name: WindowedStore(state, self.moment)
            if state.spec.kind is StoreKind.WINDOW
            else KeyValueStore(state, self.moment)
            for name, state in states.items()
        }

    @property
    def record(self) -> Record | None:
        """The record that is being processed; None inside a punctuation."""
        return self.moment.record

    @property
    def stream_time_ms(self) -> int:
        """The latest timestamp of the task's records, this one included; -1 before the first."""
        return self.moment.stream_time_ms

    @property
    def timestamp_ms(self) -> int:
        """The record's timestamp; inside a punctuation stream time, or wall-clock time where no
        record has come yet."""
        return self.moment.timestamp_ms

    @property
    def wall_time_ms(self) -> int:
        return self.moment.clock_ms()

    def store(self, name: str) -> Any:
        """One of the stores that were named in `stores=[...]`. Raises MisuseError for others."""
        try:
            return self._stores[name]
        except KeyError:
            raise MisuseError(
                f"this step has no store {name!r}; it has {sorted(self._stores)}",
                hint="name it in process(..., stores=[...])",
            ) from None

    def forward(
        self,
        *,
        value: Any,
        key: Any = ...,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> None:
        """Pass a record on. What is left out is as in the record that is being processed. It goes
        as it is now: what is done to the objects afterwards is not seen.

        Raises ProcessingError for a timestamp or headers that no record can have.
        """
        moment = self.moment
        record = moment.record
        if timestamp_ms is None:
            timestamp_ms = moment.timestamp_ms
        else:
            check_time("forward(timestamp_ms=...)", timestamp_ms)
        if headers is not None:
            check_headers("forward(headers=...)", headers)
        self.forwarded.append(
            (
                (None if record is None else record.key) if key is ... else copied(key),
                copied(value),
                timestamp_ms,
                list(record.headers if record else ()) if headers is None else list(headers),
            )
        )

    def schedule(
        self,
        every: timedelta,
        function: Callable[[int], Any],
        *,
        by: Literal["stream", "wall"] = "stream",
    ) -> Schedule:
        """Call `function(now_ms)` whenever stream time (or wall-clock time) passes a multiple of
        `every`. To be called in `open`; the returned schedule can be cancelled."""
        if not self.may_schedule:
            raise MisuseError(
                "schedule() was called outside open(context)",
                hint="make the processor a class with open: only what is scheduled there is"
                " scheduled again after a restart",
            )
        every_ms = every // timedelta(milliseconds=1) if isinstance(every, timedelta) else 0
        if every_ms <= 0 or by not in ("stream", "wall"):
            raise ConfigError(
                f"schedule(every={every!r}, by={by!r}) is not possible",
                hint="every is a timedelta of a millisecond or more, by is stream or wall",
            )
        check_call("schedule()", function, "now_ms")
        entry = Schedule(every_ms, function, by)
        self.schedules.append(entry)
        return entry
