"""Topics that the recorded layout wants wider than they are.

An operation has recorded it, and gives them their partitions right after that. It may have died in
between. Nothing can be processed by then under either layout, so workers do not wait for somebody:
they ask for the partitions themselves, where they have the right.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from streamer.config import Config
from streamer.errors import ConfigError, StoppedError
from streamer.kafka.changes import Changes
from streamer.layout import ApplicationLayout

__all__ = ["await_growth"]

_log = logging.getLogger(__name__)

# The operation needs a moment for it, and not everybody has to ask.
_ITSELF_S = 2.0
_PAUSE_S = 0.5
# Who may not is refused by brokers each time, and a fleet has hundreds of workers.
_AGAIN_S = 30.0

_WAITING = (
    "Waiting until the operation that recorded the layout has done it: streamer operations list,"
    " and resume it"
)


class Counts(Protocol):
    def partitions(self, topics: list[str]) -> dict[str, int]: ...


def _grow(config: Config, wanted: Mapping[str, int]) -> None:
    Changes(config).grow_topics(wanted)


def widths(layout: ApplicationLayout | None, read: Collection[str]) -> dict[str, int]:
    """The topics, of those that are read, that the layout has grown, with the partitions that it
    gave them."""
    return {
        topic: one.partitions
        for own in (layout or ApplicationLayout()).subtopologies.values()
        if own.mode == "grow"
        for topic, one in own.external.items()
        if topic in read
    }


def await_growth(
    config: Config,
    admin: Counts,
    wanted: Mapping[str, int],
    *,
    stopping: threading.Event,
    grow: Callable[[Config, Mapping[str, int]], None] = _grow,
) -> None:
    """Return once these topics are as wide. `grow` makes them so.

    Raises StoppedError, TopicMissingError, and KafkaUnavailableError.
    """
    left_s, is_told = _ITSELF_S, False
    while wanted and (narrow := _too_narrow(wanted, admin.partitions(sorted(wanted)))):
        if left_s <= 0:
            left_s = _AGAIN_S
            try:
                grow(config, narrow)
            except ConfigError as error:
                if not is_told:
                    _log.warning("%s. %s", error, _WAITING)
                is_told = True
        if stopping.wait(_PAUSE_S):
            raise StoppedError(f"it was to wait until {min(narrow)} has more partitions")
        left_s -= _PAUSE_S


def _too_narrow(wanted: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, int]:
    return {topic: width for topic, width in wanted.items() if counts[topic] < width}
