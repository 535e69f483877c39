"""How far another application has come with the topics that both read: nobody who follows it goes
further.

A thread asks for the other one's committed positions. So what is processed between two answers is
what the other one had processed between two of its commits, and never more than it has committed.
It asks as well whether there is anything to follow any more, and stops the worker where not.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from streamer.closable import Closable
from streamer.config import Config
from streamer.errors import KafkaUnavailableError, StreamerError
from streamer.ids import TopicPartition
from streamer.kafka.positions import committed
from streamer.record import Headers
from streamer.topology.partitions import Partitions

__all__ = ["Followed", "Lead", "following"]

_log = logging.getLogger(__name__)

_LOOK_S = 0.25
_ASK_S = 30.0
# In looks: a question about the operation reads a topic.
_OVER_LOOKS = 8


@dataclass(frozen=True, slots=True)
class Lead:
    """The group that is followed, and whether that `is_over` for good. Asked by one thread at a
    time. Results carry the `stamp` behind their headers."""

    group: str
    is_over: Callable[[], bool]
    stamp: Headers = field(default_factory=list)


class Followed(Closable):
    """`committed` asks for positions, of those partitions that have some; `ended` is told once it
    `is_over`."""

    def __init__(
        self,
        committed: Callable[[], Mapping[TopicPartition, int]],
        places: Iterable[TopicPartition],
        *,
        is_over: Callable[[], bool] = lambda: False,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        self._ask = committed
        self._is_over = is_over
        self._ended = ended
        self._limits: Mapping[TopicPartition, int] = dict.fromkeys(places, 0)
        self._closing = threading.Event()
        self.failure: StreamerError | None = None
        self._thread = threading.Thread(target=self._run, name="followed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def limits(self) -> Mapping[TopicPartition, int]:
        """The position behind the last record that may be processed, by partition: 0 where the
        other one has committed none. Raises what asking has failed with."""
        if self.failure is not None:
            raise self.failure
        return self._limits

    def look(self) -> None:
        """Ask once."""
        found = self._ask()
        # A position that was set back by hand takes nothing back here.
        self._limits = {
            place: max(limit, found.get(place, 0)) for place, limit in self._limits.items()
        }

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        looks = 0
        while not self._closing.is_set():
            looks += 1
            try:
                self.look()
                if looks % _OVER_LOOKS == 0 and self._is_over():
                    self._ended()
                    return
            except KafkaUnavailableError as error:
                _log.warning("how far the other application is is not known at present: %s", error)
            except StreamerError as error:
                self.failure = error
                return
            self._closing.wait(_LOOK_S)


def following(
    config: Config,
    planned: Partitions,
    lead: Lead | None,
    *,
    stopping: threading.Event,
    closing: ExitStack,
) -> Callable[[], Mapping[TopicPartition, int]] | None:
    """How far this group has come with the topics of others, for as long as `closing` is open; None
    without a lead. `stopping` is set where it is over."""
    if lead is None:
        return None
    places = [
        TopicPartition(topic, number)
        for topic, width in planned.sources.items()
        if topic not in planned.repartition
        for number in range(width)
    ]

    def known() -> dict[TopicPartition, int]:
        # As they were before transactions that are open: those are committed for certain.
        found = committed(config, lead.group, places, timeout_s=_ASK_S, is_stable=False)
        return {place: one.position for place, one in found.items()}

    one = Followed(known, places, is_over=lead.is_over, ended=stopping.set)
    closing.callback(one.close)
    one.start()
    return one.limits
