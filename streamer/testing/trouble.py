"""Faults at random places, the same ones for the same seed: kills, lost disks, aborts, delays."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from streamer import failpoints
from streamer.kafka.api import AbortableError
from streamer.kafka.fake import FakeBroker

__all__ = ["Killed", "Trouble"]

_PLACES = (
    "commit.before_flush",
    "commit.after_flush",
    "commit.before_transaction_commit",
    "commit.after_transaction_commit",
    "commit.before_store_write",
    "commit.after_store_write",
)
# Often enough to meet every place in a short test, rarely enough that every test ends.
_KILL, _LOSE_DISK, _ABORT, _WAIT = 0.2, 0.3, 0.1, 0.5
_RECORDS_MAX = 5


class Killed(BaseException):
    """The process dies here. No `except Exception` may survive it."""

    def __init__(self, *, loses_disk: bool) -> None:
        super().__init__()
        self.loses_disk = loses_disk


class Trouble:
    """Decides by its seed; without one nothing ever goes wrong."""

    def __init__(self, seed: int | None) -> None:
        self._chance = None if seed is None else random.Random(seed)

    def records(self) -> int | None:
        """How many records the next fetch may bring."""
        return None if self._chance is None else self._chance.randint(1, _RECORDS_MAX)

    def waits(self) -> bool:
        """Whether to process more before the next commit."""
        return self._chance is None or self._chance.random() < _WAIT

    @contextmanager
    def at_commit(self, broker: FakeBroker) -> Iterator[None]:
        """Around a commit: it may be aborted, or be the last that the process did."""
        chance = self._chance
        if chance is None:
            yield
            return
        if chance.random() < _ABORT:
            broker.fail_next("commit", AbortableError("the seed aborts this transaction"))
        if chance.random() >= _KILL:
            yield
            return
        loses_disk = chance.random() < _LOSE_DISK

        def kill() -> None:
            raise Killed(loses_disk=loses_disk)

        with failpoints.armed(chance.choice(_PLACES), kill):
            yield
