"""Which workers are alive, as anybody can tell who reads the status topic.

Whoever has just spoken lives; of the others Kafka is asked whether it keeps their sessions. Clocks
only decide whom it is asked for: by one that goes wrong, for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

from streamer.control.identity import Process
from streamer.control.messages import StatusRecord, process_of

__all__ = ["Presence"]


class Presence:
    """Remembers whom it found dead: nobody asks for those again before they speak."""

    def __init__(self) -> None:
        self._dead: dict[Process, int] = {}

    def living(
        self,
        statuses: Iterable[StatusRecord],
        kept: Callable[[frozenset[Process]], frozenset[Process]],
        *,
        now_ms: int,
        silence_ms: int,
        doubted: Set[Process] = frozenset(),
    ) -> frozenset[Process]:
        """The processes that live. `kept` gives those of the silent whose sessions Kafka keeps. It
        is asked for `doubted` ones too, whenever they spoke."""
        last = {process_of(each): each for each in statuses if not each.left}
        numbers = {process: word.number for process, word in last.items()}
        self._dead = dict(self._dead.items() & numbers.items())
        unsure = numbers.keys() - self._dead.keys()
        silent = frozenset(
            one for one in unsure if one in doubted or abs(now_ms - last[one].at_ms) >= silence_ms
        )
        dead = silent - kept(silent) if silent else silent
        self._dead |= {one: numbers[one] for one in dead}
        return frozenset(unsure - dead)
