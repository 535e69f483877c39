"""The worker's part in a pause of the whole application (streamer/cluster/pause.py).

    an assignment carries it     commit, drop what was read: it is kept, and only what the
                                 application has sent to itself is read
    none does any more           read on
    its lease is over            make sure that no layout was recorded, and read on

What the application has sent to itself is worked off in a pause, or the next layout would have to
find it in topics that it does not read. Punctuation by the wall clock waits: it may send anything.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from streamer import failpoints
from streamer.clock import Clock
from streamer.cluster.kept import KeptPause
from streamer.cluster.member import Desired
from streamer.config import Config
from streamer.control.current import current_record, layout_writer
from streamer.errors import LayoutChangedError, StreamerError
from streamer.ids import FIRST_LAYOUT, Layout
from streamer.kafka.admin import Admin
from streamer.worker.tasks import TaskSet

__all__ = ["Pausing", "Recorded", "recorded_for_good"]

_log = logging.getLogger(__name__)

_AGAIN_MS = 1_000

Recorded = Callable[[], Layout]
"""Makes sure that nobody can record a layout that had the right to, and returns the one recorded.
Raises StreamerError where brokers are away."""


def recorded_for_good(config: Config) -> Layout:
    """See `Recorded`. Some tenths of a second."""
    admin = Admin(config)
    failpoints.hit("pause.before_fence")
    admin.fence(layout_writer(config.application_id))
    failpoints.hit("pause.after_fence")
    record = current_record(config, admin)
    return FIRST_LAYOUT if record is None else Layout(record.number)


class Pausing:
    """Used by the loop's thread. `running` is the layout of this worker's tasks."""

    def __init__(
        self, tasks: TaskSet, recorded: Recorded, *, running: Layout, clock: Clock
    ) -> None:
        self._tasks = tasks
        self._recorded = recorded
        self._running = running
        self._clock = clock
        self._kept = KeptPause()
        self._look: _Look | None = None
        self._again_ms = 0
        self._said = self.told

    @property
    def number(self) -> str:
        """The pause that is kept; "" where none is."""
        return self._kept.number

    @property
    def told(self) -> tuple[str, str]:
        """What to report: the pause that is kept, and the last one that was ended here."""
        return self._kept.number, self._kept.resumed

    def is_news(self) -> bool:
        """Whether there is something else to report than when this was asked last."""
        before, self._said = self._said, self.told
        return before != self._said

    def begin(self) -> None:
        """All tasks were dropped: nothing is kept of a former life."""
        self._kept.begin()
        self._tasks.release()
        self._look = None

    def turn(self, desired: Desired | None, commit: Callable[[], bool]) -> bool:
        """Do what is due. Returns whether records may be read and processed in this turn.

        Raises LayoutChangedError where the pause led to another layout, and what `commit` raises.
        """
        if desired is None:
            return True
        now_ms = self._clock.monotonic_ms()
        match self._kept.look(desired.paused, now_ms):
            case "pause":
                # Results of closed windows that are left belong to what was processed.
                if not commit() or any(task.is_closing for task in self._tasks.running):
                    return False
                self._tasks.hold()
                self._kept.keep(desired.paused, now_ms, desired.pause_ms)
                _log.info("pause %s: committed, nothing is read", desired.paused)
            case "resume":
                # What was read meanwhile is read again, so its transaction must not stay open.
                if not commit():
                    return False
                _log.info("pause %s is over", self._kept.number)
                self._kept.begin()
                self._tasks.release()
            case "end" if self._is_void(now_ms):
                if not commit():
                    return False
                _log.warning(
                    "pause %s is over: nobody ended it within its lease, and nothing came of it",
                    self._kept.number,
                )
                self._kept.end()
                self._tasks.release()
        return True

    def _is_void(self, now_ms: int) -> bool:
        """Nobody has ended it: whether it is sure that nothing came of it, and that nothing can.
        That is found out beside everything else. Raises LayoutChangedError."""
        look = self._look
        if look is None or look.number != self._kept.number:
            # What was seen for an earlier pause says nothing of whoever asked for this one.
            if look is not None or now_ms >= self._again_ms:
                self._look = _Look(self._kept.number, self._recorded)
            return False
        if not look.is_done:
            return False
        if look.failure is not None:
            _log.warning("pause %s cannot be ended yet: %s", look.number, look.failure)
            self._look, self._again_ms = None, now_ms + _AGAIN_MS
            return False
        if look.layout > self._running:
            raise LayoutChangedError(
                f"layout {look.layout} was recorded; this worker runs layout {self._running}",
                hint="nothing is to be done: it closes its tasks and begins anew with that layout",
            )
        return True


class _Look:
    """One call of `Recorded` for a pause, in a thread of its own."""

    def __init__(self, number: str, recorded: Recorded) -> None:
        self.number = number
        self.layout: Layout = FIRST_LAYOUT
        self.failure: StreamerError | None = None
        self._recorded = recorded
        self._thread = threading.Thread(target=self._run, name="end of a pause", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.layout = self._recorded()
        except StreamerError as error:
            self.failure = error
        except BaseException as error:
            self.failure = StreamerError(f"the recorded layout cannot be read: {error!r}")
            raise
