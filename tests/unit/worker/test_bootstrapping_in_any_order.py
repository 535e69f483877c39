"""Whatever happens in any order, no task is left that nobody restores or fetches."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from streamer import metrics
from streamer.errors import (
    RepositoryUnavailableError,
    SnapshotMissingError,
    StateOutdatedError,
)
from streamer.restore.bootstrap import Phase
from streamer.restore.choice import Choice, Way
from streamer.restore.note import read_note
from streamer.snapshot.adopt import staging_of
from streamer.worker import bootstrapping as module
from tests.hurry import examples
from tests.unit.worker.bootstrapped import OUTDATED, TASK, TRIMMED, Worker, order

EVENTS = (
    *("open", "close", "left", "fetch", "ready", "chosen", "missing", "away"),
    *("trimmed", "outdated", "order", "withdraw", "promote", "run", "turn"),
)


class Story:
    """One copy or task, and who looks after it: the restore, a bootstrap, or nobody."""

    def __init__(self, root: Path) -> None:
        self.worker = Worker(root)
        self.worker.restoring.clear()
        self.is_restored = False
        self.orders = 0

    @property
    def is_open(self) -> bool:
        return TASK in self.worker.restoring

    def do(self, event: str) -> None:
        worker = self.worker
        before = len(worker.reopened), len(worker.whole), len(worker.cancelled)
        getattr(self, f"_{event}", worker.glue.turn)()
        worker.glue.turn()
        reopened, whole, cancelled = before
        if len(worker.cancelled) > cancelled:
            self.is_restored = False
        if len(worker.reopened) > reopened or len(worker.whole) > whole:
            self.is_restored = True
        self.check()

    def check(self) -> None:
        worker = self.worker
        if self.is_open and not worker.lost:
            is_looked_after = self.is_restored or worker.glue.is_paused(TASK)
            assert is_looked_after, "nobody restores it, and nobody fetches"
            assert not (self.is_restored and worker.glue.is_paused(TASK)), "both at a time"

    def _open(self) -> None:
        if not self.is_open:
            self.worker.restoring.add(TASK)
            self.worker.lost.clear()
            self.is_restored = True
            self.worker.open(TASK, 10**7)

    def _close(self) -> None:
        self.worker.restoring.discard(TASK)
        self.worker.glue.forget(TASK)

    def _left(self) -> None:
        self.worker.left[TASK] = 5

    def _current(self) -> list[object]:
        live = [
            one
            for one in self.worker.begun
            if not one.is_cancelled and one.phase in (Phase.LOOKING, Phase.FETCHING)
        ]
        return list(live[-1:])

    def _fetch(self) -> None:
        if self._current():
            self.worker.fetching()

    def _end(self, **how: object) -> None:
        for one in self._current():
            shutil.rmtree(staging_of(one.wanted.target), ignore_errors=True)  # type: ignore[attr-defined]
            self.worker.end(one, **how)  # type: ignore[arg-type]

    def _ready(self) -> None:
        self._end()

    def _chosen(self) -> None:
        for one in self._current():
            if one.phase is Phase.LOOKING:  # type: ignore[attr-defined]
                one.choice = Choice(Way.CHANGELOG, 1.0)  # type: ignore[attr-defined]
                self._end()

    def _missing(self) -> None:
        self._end(error=SnapshotMissingError("there is none"))

    def _away(self) -> None:
        self._end(error=RepositoryUnavailableError("no answer"))

    def _trimmed(self) -> None:
        self._restore_ends(TRIMMED)

    def _outdated(self) -> None:
        self._restore_ends(OUTDATED)

    def _restore_ends(self, error: StateOutdatedError | object) -> None:
        worker = self.worker
        if not (self.is_open and self.is_restored):
            return
        self.is_restored = False
        if not worker.glue.rescues(TASK, error):  # type: ignore[arg-type]
            worker.lost[TASK] = error  # type: ignore[assignment]

    def _order(self) -> None:
        self.orders += 1
        self.worker.glue.hear((order(f"number-{self.orders}"),))

    def _withdraw(self) -> None:
        self.worker.glue.hear(())

    def _promote(self) -> None:
        if self.is_open:
            self.worker.glue.promoted(TASK)

    def _run(self) -> None:
        """It has been restored, and processes."""
        if self.is_open and self.is_restored:
            self.worker.restoring.discard(TASK)
            self.worker.left[TASK] = 0


@settings(max_examples=examples(400), deadline=None)
@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_nobody_is_forgotten(events: list[str]) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        with patch.object(module, "RETRY_S", 0.0):
            story = Story(root)
            for event in ("open", *events):
                story.do(event)
            note = read_note(story.worker.target(TASK))
            made = [one for one in story.worker.begun if one.fetched is not None]
            # What lies there is what was exchanged last.
            assert note is None or made or note.source == "changelog"
    finally:
        shutil.rmtree(root)
        metrics.forget_task(TASK)
