"""Several files at a time: threads that end at the first error, and the progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from streamer.snapshot.pace import Pace

__all__ = ["Progress", "Report", "Tally", "Transfers", "each"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is. Bytes are those of files; `moved` ones went over the wire. A snapshot
    has two phases, each of which counts all of its files: `hash`, which reads them to find out
    what the repository has already, and `send`. A restore has one, without a name."""

    files_total: int = 0
    bytes_total: int = 0
    files_done: int = 0
    bytes_done: int = 0
    bytes_moved: int = 0
    phase: str = ""


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """How files move: so many at a time, and at this pace."""

    parallel: int = 4
    pace: Pace = field(default_factory=Pace)


class Tally:
    """Counts for several threads, and reports each time; a report must be quick."""

    def __init__(
        self, files: int, size: int, report: Report | None = None, *, phase: str = ""
    ) -> None:
        self._progress = Progress(files_total=files, bytes_total=size, phase=phase)
        self._report = report or (lambda _progress: None)
        self._lock = threading.Lock()

    @property
    def progress(self) -> Progress:
        return self._progress

    def moved(self, count: int) -> None:
        """Bytes have come or gone."""
        self._add(bytes_done=count, bytes_moved=count)

    def again(self, count: int) -> None:
        """What was counted as done is to be moved once more."""
        self._add(bytes_done=-count)

    def kept(self, count: int) -> None:
        """Bytes are done without being moved: they were there, or were only read."""
        self._add(bytes_done=count)

    def file_done(self) -> None:
        self._add(files_done=1)

    def _add(self, **counts: int) -> None:
        with self._lock:
            now = {name: getattr(self._progress, name) + count for name, count in counts.items()}
            self._progress = replace(self._progress, **now)
            self._report(self._progress)


def each(items: Iterable[T], work: Callable[[T], None], *, parallel: int) -> None:
    """Do the work for all items. The first error ends it: what has not begun does not begin."""
    ordered: Sequence[T] = list(items)
    if parallel <= 1 or len(ordered) <= 1:
        for item in ordered:
            work(item)
        return
    pool = ThreadPoolExecutor(min(parallel, len(ordered)), thread_name_prefix="snapshot")
    try:
        # As each ends, so that an error is not waited for behind what came before it.
        stopped = threading.Event()

        def unless_stopped(item: T) -> None:
            if stopped.is_set():
                return
            try:
                work(item)
            except BaseException:
                stopped.set()
                raise

        for future in [pool.submit(unless_stopped, item) for item in ordered]:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)
