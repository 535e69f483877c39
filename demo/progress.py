"""Follows the run: rates, owners, a few profiles. It only looks, and shows what it saw."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from demo.feed import Feed
from demo.screen import Screen, View, WorkerLine
from demo.workers import Worker

__all__ = ["Progress"]

_LOOK_EVERY_S = 0.5
_RATE_OVER_S = 2.0


class Progress:
    """`update` is called about ten times a second; workers are asked twice a second."""

    def __init__(
        self, screen: Screen, *, events: int, customers: Sequence[str], feed: Feed
    ) -> None:
        self._screen = screen
        self._customers = customers
        self._feed = feed
        self._before = 0
        self._view = View(total=events)
        self._seen: deque[tuple[float, int]] = deque()
        self._looked = 0.0
        self._moved = time.monotonic()
        self.fastest_per_second = 0

    def go_on_with(self, feed: Feed) -> None:
        """Another feed, behind what the former one has written."""
        self._before = self._view.written
        self._feed = feed
        self._moved = time.monotonic()

    def expect(self, events: int) -> None:
        """So many in all."""
        self._view.total = events

    @property
    def done(self) -> int:
        return self._view.done

    @property
    def still_s(self) -> float:
        """For how long nothing was written or committed."""
        return time.monotonic() - self._moved

    def update(self, workers: Sequence[Worker], committed: Sequence[int]) -> None:
        """`committed` is the position in each partition, empty while it is not known."""
        now = time.monotonic()
        before = self._view.written, self._view.done
        self._view.written = self._before + self._feed.written
        if committed:
            self._view.done = sum(committed)
            self._measure(now)
        if before != (self._view.written, self._view.done):
            self._moved = now
        if now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            self._view.workers = [_line(worker) for worker in workers]
            self._look_at_profiles(workers)
        self._screen.show(self._view)

    def _measure(self, now: float) -> None:
        self._seen.append((now, self._view.done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _RATE_OVER_S:
            self._seen.popleft()
        then, before = self._seen[0]
        if now - then >= _RATE_OVER_S / 2:
            self._view.per_second = round((self._view.done - before) / (now - then))
            self.fastest_per_second = max(self.fastest_per_second, self._view.per_second)

    def _look_at_profiles(self, workers: Sequence[Worker]) -> None:
        living = [worker for worker in workers if not worker.is_killed]
        if not living or not self._view.done:
            return
        lines = []
        for number, customer in enumerate(self._customers):
            profile = living[number % len(living)].profile(customer)
            lines.append(f"{customer}  {_described(profile)}")
        self._view.profiles = lines


def _line(worker: Worker) -> WorkerLine:
    if worker.is_killed:
        return WorkerLine(worker.name, worker.pid, "killed", (), "")
    tasks = worker.tasks()
    running = sorted(name for name, task in tasks.items() if task["state"] == "running")
    state = "runs" if running else "restores" if tasks else "starts"
    return WorkerLine(worker.name, worker.pid, state, tuple(running), worker.address)


def _described(profile: dict[str, Any] | None) -> str:
    if profile is None:
        return "is being moved, or has bought nothing yet"
    dollars = f"${profile['cents'] / 100:,.2f}"
    return (
        f"{profile['orders']:>4} orders {profile['cds']:>5} CDs {dollars:>11}"
        f"  {profile['first_day']} to {profile['last_day']}"
    )
