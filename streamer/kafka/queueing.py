"""How many records are under way to the brokers at a time: what the memory for them takes.

librdkafka refuses what its queue has no room for, and says neither how much is in it in bytes nor
when there is room again. So records are handed over in chunks, each as soon as it fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamer.kafka.outgoing import Records
from streamer.kafka.writer import Writer

__all__ = ["SendQueue"]

# Several chunks fill the queue, one alone never does, also where memory is small: a queue that is
# full with one would be waited for until it is empty, each time.
_CHUNK_RECORDS_MAX, _CHUNKS = 10_000, 8


class SendQueue:
    """The queue of one client, with the settings that it was made with."""

    def __init__(self, made: Mapping[str, Any]) -> None:
        # 0 is no bound.
        messages = int(made["queue.buffering.max.messages"]) or _CHUNKS * _CHUNK_RECORDS_MAX
        self._chunk_records = max(min(_CHUNK_RECORDS_MAX, messages // _CHUNKS), 1)
        self._records_max = messages - 2 * self._chunk_records
        self._bytes_max = int(made["queue.buffering.max.kbytes"]) * 1024 // 2
        self._bytes = 0

    def make_room(self, records: Records, start: int, writer: Writer) -> int:
        """Wait until records from `start` on fit; returns the end of those, which are taken to be
        in the queue from now on. Raises what `writer` does when records cannot be delivered."""
        count = min(self._chunk_records, len(records.keys) - start)
        while (added := records.size(start, start + count)) > self._bytes_max and count > 1:
            count //= 2
        began = len(writer)
        held = self._bytes if began else 0

        def is_enough(left: int) -> bool:
            return left <= self._records_max and held * left // began + added <= self._bytes_max

        if began:
            writer.wait_until(is_enough)
        self._bytes = (held * len(writer) // began if began else 0) + added
        return start + count

    def emptied(self) -> None:
        """All that was handed over is delivered or dropped."""
        self._bytes = 0
