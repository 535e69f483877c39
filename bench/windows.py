"""What a change of a fleet costs in bytes: a stretch of time with one against stretches without.

Statuses are repeated at an interval, so a window is several intervals long. Those that a change
caused are told from the others by what they say (statuses.py).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import MeasureError
from bench.statuses import Statuses
from streamer.ids import TopicPartition, control_topic

WINDOW_S = 16.0


@dataclass(frozen=True)
class Window:
    """`loopback` bytes went over the interface meanwhile, and `stored` by partition into logs, the
    statuses apart: `said` are bytes of those that tell of a change."""

    loopback: int
    stored: Mapping[TopicPartition, int]
    said: int


@dataclass
class Windows:
    """The windows of one run. `logs` is where the broker keeps the partitions of `application`."""

    logs: Path
    application: str
    statuses: Statuses
    quiet: list[Window] = field(default_factory=list)
    changed: list[Window] = field(default_factory=list)

    def watch_quiet(self) -> None:
        """Let time pass, and count."""
        self.quiet.append(self._watched(lambda: None))

    def watch(self, change: Callable[[], None]) -> None:
        """Bring the change about, and count until all that follows from it should be over."""
        self.changed.append(self._watched(change))

    @property
    def bytes_per_s(self) -> float:
        """What goes over the interface when nothing changes."""
        return statistics.median(each.loopback for each in self.quiet) / WINDOW_S

    @property
    def loopback_per_change(self) -> float:
        """What went over the interface because of a change."""
        return self._difference(lambda window: window.loopback)

    @property
    def noise_bytes(self) -> int:
        """By how much the interface differs between windows in which nothing changes."""
        seen = [each.loopback for each in self.quiet]
        return max(seen) - min(seen)

    def records_per_change(self, readers: Mapping[TopicPartition, int]) -> float:
        """Bytes of the batches that a change caused, as they are stored: once written, and read by
        so many; one reads what is not named, and the statuses."""

        def moved(window: Window) -> int:
            stored = window.stored.items()
            return (
                sum(size * (1 + readers.get(place, 1)) for place, size in stored) + 2 * window.said
            )

        return self._difference(moved)

    def _difference(self, size: Callable[[Window], int]) -> float:
        quiet = statistics.median(map(size, self.quiet))
        return statistics.median(map(size, self.changed)) - quiet

    def _watched(self, change: Callable[[], None]) -> Window:
        self.statuses.mark()
        sent, before, until = _loopback_bytes(), self._stored(), time.monotonic() + WINDOW_S
        change()
        time.sleep(max(until - time.monotonic(), 0))
        after, received = self._stored(), _loopback_bytes() - sent
        grown = {place: size - before.get(place, 0) for place, size in after.items()}
        return Window(received, grown, self.statuses.caused())

    def _stored(self) -> dict[TopicPartition, int]:
        """Bytes of all segments by partition; nothing is compacted within a run's few minutes."""
        statuses = control_topic(self.application, "status")
        found: dict[TopicPartition, int] = {}
        for segment in self.logs.glob(f"{self.application}.*/*.log"):
            topic, _, number = segment.parent.name.rpartition("-")
            if topic == statuses:
                continue
            place = TopicPartition(topic, int(number))
            found[place] = found.get(place, 0) + segment.stat().st_size
        return found


def _loopback_bytes() -> int:
    """Received bytes of the loopback interface; each is also one that was sent."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, figures = line.partition(":")
        if name.strip() == "lo":
            return int(figures.split()[0])
    raise MeasureError("/proc/net/dev has no loopback interface")
