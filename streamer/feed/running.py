"""Feeds at work, each in a thread of its own, until they are told to stop or one fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from streamer.closable import Closable
from streamer.errors import StoppedError, StreamerError, UnfinishedError
from streamer.feed.feed import Feed, listed
from streamer.feed.pace import FeedProgress

__all__ = ["RunningFeeds"]

_log = logging.getLogger(__name__)
STOP_S = 1.0
_LOOK_S = 0.01


class RunningFeeds(Closable):
    """`stopping` is that of the feeds' ports. One that fails stops the others: none of them is of
    use alone."""

    def __init__(self, feeds: Sequence[Feed], stopping: threading.Event) -> None:
        self._feeds = list(feeds)
        self._stopping = stopping
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._in_thread, args=(feed.run, feed), daemon=True)
            for feed in self._feeds
        ]
        for thread in self._threads:
            thread.start()

    @property
    def progress(self) -> list[FeedProgress]:
        return [feed.progress for feed in self._feeds]

    @property
    def is_working(self) -> bool:
        """Whether one of them has not ended yet."""
        return any(thread.is_alive() for thread in self._threads)

    def check(self) -> None:
        """Raise what a feed has failed with."""
        for error in self._failures:
            raise error

    def drain_to(self, ends: Mapping[int, Mapping[str, int]], *, timeout_s: float) -> None:
        """Wait until all before these ends, by old task and store, is committed; until then feeds
        know no limit. Raises what a feed has failed with, UnfinishedError where it takes longer,
        StoppedError where they do not run any more."""
        deadline = time.monotonic() + timeout_s
        try:
            for feed in self._feeds:
                feed.is_hurried = True
            while behind := self._behind(ends):
                self.check()
                if self._stopping.is_set():
                    # One that fails says so before it stops the others.
                    self.check()
                    raise StoppedError(f"feeds were asked to stop: {behind}")
                if time.monotonic() >= deadline:
                    raise UnfinishedError(
                        f"feeds were not at the end in {timeout_s:g} s: {behind}",
                        hint="they go on from there; an open transaction in a changelog holds one"
                        " back until its worker ends it or transaction_timeout_ms is over",
                    )
                time.sleep(_LOOK_S)
        finally:
            for feed in self._feeds:
                feed.is_hurried = False

    def _behind(self, ends: Mapping[int, Mapping[str, int]]) -> str:
        """Empty where all are there."""
        left = {feed.task: feed.behind(ends.get(feed.task, {})) for feed in self._feeds}
        return "; ".join(f"task {task}: {listed(one)}" for task, one in left.items() if one)

    def close(self) -> None:
        """Have them stop, and return within a second. What waits for brokers then is left behind:
        it commits nothing that was not on its way, and whoever begins again fences it."""
        self._stopping.set()
        deadline = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def _in_thread(self, run: Callable[[], None], feed: Feed) -> None:
        try:
            run()
        except Exception as error:
            said = error.describe() if isinstance(error, StreamerError) else repr(error)
            _log.error("a feed has failed, all of them stop: %s", said)
            self._failures.append(error)
            self._stopping.set()
        finally:
            feed.close()
