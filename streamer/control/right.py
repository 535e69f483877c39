"""The right to record layouts, which one has at a time, and the pause that it may ask for.

    with LayoutRight.claim(config, admin) as right:
        right.pause(lease_ms=10_000, by="...")      every worker commits and stops processing
        right.wait_until_held(timeout_s=5)
        ...                                         read positions: nothing moves any more
        right.switch(layout, positions)             or right.lift()

Whoever claims it ends the right of those before, with what they had begun: also an operation that
stood still and wakes. A worker does so that finds the lease of a pause over, so a switch that comes
too late is refused, and nothing of it was done.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Self

from streamer.clock import SystemClock
from streamer.config import Config
from streamer.control.current import (
    check_successor,
    current_layout,
    layout_row,
    layout_writer,
)
from streamer.control.requests import PauseRecord, PlanRecord, decode, encode, key_of
from streamer.control.topics import make_layout_topic
from streamer.errors import FencedError, PauseError
from streamer.ids import TopicPartition, control_topic
from streamer.kafka.admin import Admin
from streamer.kafka.api import Committed
from streamer.kafka.consumer import InputConsumer
from streamer.kafka.table import ExclusiveWriter, Positions, TableReader, newest
from streamer.layout import ApplicationLayout

__all__ = ["LayoutRight"]

Row = tuple[TopicPartition, str, bytes | None]

# Requests of operators and positions of tasks wait behind a switch that died on its way.
_TRANSACTION_MS = 10_000
_POLL_S = 0.05
_READ_S = 30.0


class LayoutRight:
    """Used by one thread. `number` tells this claim from every other."""

    def __init__(self, config: Config, admin: Admin, writer: ExclusiveWriter) -> None:
        self._config = config
        self._admin = admin
        self._writer = writer
        self._place = TopicPartition(control_topic(config.application_id, "operations"), 0)
        self._reader: TableReader | None = None
        self._told: PlanRecord | None = None
        self.number = uuid.uuid4().hex[:16]

    @classmethod
    def claim(cls, config: Config, admin: Admin, *, timeout_s: float = 30.0) -> Self:
        """Raises KafkaUnavailableError."""
        make_layout_topic(config, admin)
        writer = ExclusiveWriter(
            config, layout_writer(config.application_id), transaction_ms_max=_TRANSACTION_MS
        )
        try:
            writer.claim(timeout_s)
        except BaseException:
            writer.close()
            raise
        return cls(config, admin, writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """The right stays with this claim until another one is made; it is of no use any more."""
        self._writer.close()
        if self._reader is not None:
            self._reader.close()

    # -- the pause -------------------------------------------------------------------------------

    def pause(self, *, lease_ms: int, by: str = "") -> None:
        """Ask for it; it ends by itself `lease_ms` after a worker began to keep it. Raises
        FencedError where somebody has the right by now, KafkaUnavailableError."""
        if self._reader is None:
            # What was said of others before is read while nobody waits.
            self._state()
        self._writer.write([self._asking(lease_ms=lease_ms, by=by)])

    def wait_until_held(self, *, timeout_s: float) -> None:
        """Until every worker that may own anything has committed and keeps it. Raises PauseError
        where that does not come about, with who is missing, and where the pause is over already."""
        deadline = time.monotonic() + timeout_s
        while (state := self._state()) != "holds":
            if state in ("lapsed", "lifted"):
                raise PauseError(
                    f"the pause of {self._config.application_id} is over: its lease has ended",
                    hint="nothing was switched, the application goes on; a longer lease gives its"
                    " workers more time to commit",
                )
            if time.monotonic() >= deadline:
                raise PauseError(self._who_is_missing(timeout_s), hint=_MISSING)

    def lift(self) -> None:
        """End it: nothing came of it. Raises as `pause` does."""
        self._writer.write([self._asking(is_over=True)])

    def _who_is_missing(self, timeout_s: float) -> str:
        told = self._told
        if told is None or told.pause[0] != self.number:
            return f"no controller has answered within {timeout_s:g} s: nothing was paused"
        missing = ", ".join(told.unpaused) or "nobody is named"
        return f"not all workers have paused within {timeout_s:g} s; missing: {missing}"

    def _state(self) -> str:
        """What the controller says of this pause, waiting a moment for news."""
        if self._reader is None:
            self._reader = TableReader(self._config, [self._place])
            ends = self._admin.ends([self._place], "read_uncommitted")
            rows = self._reader.read_to(ends, timeout_s=_READ_S)
        else:
            rows = self._reader.read(_POLL_S)
        for row in newest(rows):
            if row.key == key_of(PlanRecord) and row.value is not None:
                self._told = decode(PlanRecord, self._place.topic, row.value)
        told = self._told
        return told.pause[1] if told is not None and told.pause[0] == self.number else ""

    # -- the switch ------------------------------------------------------------------------------

    def switch(
        self,
        layout: ApplicationLayout,
        positions: Mapping[TopicPartition, Committed],
        *,
        operation: str = "",
        rows: Sequence[Row] = (),
    ) -> None:
        """Record the layout that follows, commit where its tasks read on, write `rows` (such as
        where they shall go, `goal_rows`), and end the pause: all of it, or nothing. After it, no
        worker processes under the former layout.

        Raises OperationRefusedError where another layout holds than it follows, FencedError where
        the lease was over or somebody else has the right, KafkaUnavailableError where it is not
        known what became of it: the record says so.
        """
        check_successor(
            self._config.application_id, layout, current_layout(self._config, self._admin)
        )
        row = layout_row(
            self._config.application_id,
            layout,
            operation=operation,
            at_ms=SystemClock().now_ms(),
        )
        reader = InputConsumer(self._config)
        try:
            self._writer.write(
                [row, *rows, self._asking(is_over=True)],
                positions=Positions(positions, self._config.application_id, reader.group()),
            )
        except FencedError as error:
            raise FencedError(
                f"the switch to layout {layout.number} came too late, and was not made: {error}",
                hint="the lease of the pause was over, or another operation has begun; the"
                " application goes on with the layout that it had",
            ) from error
        finally:
            reader.close()

    def _asking(
        self, *, lease_ms: int = 0, is_over: bool = False, by: str = ""
    ) -> tuple[TopicPartition, str, bytes]:
        record = PauseRecord(
            number=self.number,
            lease_ms=lease_ms,
            is_over=is_over,
            by=by,
            at_ms=SystemClock().now_ms(),
        )
        return self._place, key_of(PauseRecord), encode(record, self._config.application_id)


_MISSING = (
    "nothing was switched: lift the pause, or let its lease end. A worker that is busy with slow"
    " code commits when it is through, one that stands still is fenced within session_timeout_ms"
)
