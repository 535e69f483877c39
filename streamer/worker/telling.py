"""How far bootstraps are: in the log every ten seconds, in metrics, and in the worker's status."""

from __future__ import annotations

import logging
import time

from streamer import metrics
from streamer.control.messages import ChoreReport
from streamer.ids import TaskId
from streamer.restore.bootstrap import Bootstrap, Phase
from streamer.snapshot.adopt import Adopted

__all__ = ["Telling", "chore_of"]

_log = logging.getLogger(__name__)

_LOG_S = 10.0
_MIB = 1 << 20


class Telling:
    """Used by the main thread."""

    def __init__(self) -> None:
        self._told: dict[TaskId, tuple[float, int]] = {}
        self._counted: dict[TaskId, int] = {}

    def progress(self, task: TaskId, bootstrap: Bootstrap) -> None:
        """Called each turn while it is fetched."""
        progress, now_s = bootstrap.progress, time.monotonic()
        left = max(progress.bytes_total - progress.bytes_done, 0)
        metrics.bootstrap_remaining_bytes.labels(str(task)).set(left)
        self._count(task, progress.bytes_moved)
        before_s, done = self._told.setdefault(task, (now_s, progress.bytes_done))
        if now_s - before_s < _LOG_S:
            return
        rate = (progress.bytes_done - done) / (now_s - before_s)
        eta = f"{left / rate:.0f} s left" if rate > 0 else "nothing arrives at present"
        self._told[task] = now_s, progress.bytes_done
        _log.info(
            "task %s: fetching from %s: %d of %d MiB, %.1f MiB/s, %s",
            task,
            bootstrap.source,
            progress.bytes_done // _MIB,
            progress.bytes_total // _MIB,
            rate / _MIB,
            eta,
        )

    def adopted(self, bootstrap: Bootstrap, adopted: Adopted) -> None:
        """A database has taken its place."""
        task, fetched = bootstrap.wanted.task, bootstrap.fetched
        kept = "nothing was there before"
        if adopted.former is not None:
            kept = f"what was there before is kept in {adopted.former} until this one serves"
        if fetched is None:
            _log.info("task %s: made anew from its changelogs; %s", task, kept)
            return
        seconds = (bootstrap.around.clock.monotonic_ms() - bootstrap.began_ms) / 1000
        _log.info(
            "task %s: restored from snapshot %s of %s in %.1f s: %d bytes were fetched, %d were on"
            " this disk; %s",
            task,
            fetched.manifest.stem,
            bootstrap.source,
            seconds,
            fetched.moved_bytes,
            fetched.kept_bytes,
            kept,
        )
        self._count(task, fetched.moved_bytes)

    def forget(self, task: TaskId) -> None:
        """It has ended."""
        self._told.pop(task, None)
        self._counted.pop(task, None)
        metrics.bootstrap_remaining_bytes.remove_by_labels({"task": str(task)})

    def _count(self, task: TaskId, moved: int) -> None:
        before = self._counted.get(task, 0)
        if moved > before:
            metrics.bootstrap_bytes.inc(moved - before)
            self._counted[task] = moved


_STATES = {Phase.WAITING: "waiting", Phase.FAILED: "failed"}


def chore_of(bootstrap: Bootstrap) -> ChoreReport:
    """What a status says of it; `operation` is empty where nobody asked for it."""
    progress = bootstrap.progress
    return ChoreReport(
        operation=bootstrap.wanted.operation,
        state=_STATES.get(bootstrap.phase, "working"),  # type: ignore[arg-type]
        bytes_done=min(progress.bytes_done, progress.bytes_total),
        bytes_total=progress.bytes_total,
        source=bootstrap.source,
        why=str(bootstrap.error or ""),
    )
