"""Whether the layout that this worker runs still holds, as it follows the record."""

from __future__ import annotations

import logging

from streamer.control.layouts import LayoutRecord, decode_layout
from streamer.errors import InternalTopicError, LayoutChangedError, StreamerError
from streamer.ids import Layout
from streamer.kafka.table import Row

__all__ = ["Layouts", "check_newer"]

_log = logging.getLogger(__name__)


class Layouts:
    """Changed by the thread that reads; `failure` may be read by any. Once it is set, the worker
    must not process any more: the tasks that it has are of another layout than the others'."""

    def __init__(self, running: Layout) -> None:
        self.running = running
        self.failure: StreamerError | None = None

    def hear(self, row: Row) -> None:
        """A row of the topic was read. Reading the log again, or from its begin, does no harm."""
        if row.value is None:
            _log.error(
                "%s: somebody took the layout out; this worker goes on with layout %d, and none can"
                " start where another than the first was recorded",
                row.place.topic,
                self.running,
            )
            return
        try:
            record = decode_layout(row.place.topic, row.key, row.value)
        except InternalTopicError as error:
            self.failure = error
            return
        try:
            check_newer(record, self.running)
        except LayoutChangedError as error:
            self.failure = error


def check_newer(record: LayoutRecord, running: Layout) -> None:
    """Raise LayoutChangedError for a layout that has come after the one that runs."""
    if record.number > running:
        by = f" by operation {record.operation}" if record.operation else ""
        raise LayoutChangedError(
            f"layout {record.number} was recorded{by}; this worker runs layout {running}",
            hint="nothing is to be done: it closes its tasks and begins anew with that layout",
        )
