"""A process's part in the elections, which outlives its members.

    serve(...) ---> standing ---- release() ----> held ---- serve(...) ----> standing
                       |                            |
           release(is_over=True), close()           +--- nobody within HELD_S ---> out

A worker that begins anew with another layout makes a new member. Its process stays in the group of
candidates meanwhile: to leave and to join it would cost two elections, in which all others wait. So
whoever was the controller is so again as soon as its next member has begun.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from streamer.closable import Closable
from streamer.cluster.controller import PASSING
from streamer.cluster.election import Election
from streamer.config import Config
from streamer.control.identity import Listed
from streamer.errors import InvariantError, StreamerError
from streamer.kafka.admin import Admin

__all__ = ["HELD_S", "Candidate"]

_log = logging.getLogger(__name__)

# A worker closes its databases and opens those of the next layout in a second, ten on a busy host.
# One that stands still longer must not keep the office from others.
HELD_S = 15.0
_AGAIN_S = 0.5
_JOIN_S = 5.0


def _nobody(_outcome: object) -> None:
    return None


class Candidate(Closable):
    """Called by one thread; what it was given is called by one of its own."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._elect: Callable[[bool], None] = _nobody
        self._fail: Callable[[StreamerError], None] = _nobody
        self._is_elected = False
        self._is_held = False
        self._leaving = threading.Event()
        self._thread: threading.Thread | None = None
        self._timer: threading.Timer | None = None
        self._session = ""

    def succeed(self, session: str) -> str:
        """A member is made, and the producer was before it. Returns the session of the member that
        this process had until then, "" where it is the first."""
        former, self._session = self._session, session
        return former

    def serve(
        self,
        me: Listed,
        admin: Admin,
        *,
        elect: Callable[[bool], None],
        fail: Callable[[StreamerError], None],
    ) -> None:
        """A member has begun. `elect` hears whether this process is the controller, at once and
        whenever that changes; `fail` hears why it cannot stand."""
        with self._lock:
            self._stop_timer()
            self._is_held = False
            stands = self._thread is not None and self._thread.is_alive()
            if stands and not self._leaving.is_set():
                self._elect, self._fail = elect, fail
                elect(self._is_elected)
                return
        self._join()
        self._elect, self._fail = elect, fail
        self._leaving = threading.Event()
        args = me, admin, self._leaving
        self._thread = threading.Thread(target=self._run, args=args, name="stand", daemon=True)
        self._thread.start()

    def release(self, *, is_over: bool = False) -> None:
        """The member is over, and the next one is about to begin: stay for so long. Where all
        `is_over`, begin to leave the group, of which `close` awaits the end."""
        with self._lock:
            self._stop_timer()
            if is_over:
                self._leaving.set()
                return
            self._elect, self._fail = _nobody, _nobody
            self._is_held = True
            self._timer = threading.Timer(HELD_S, self._give_up)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        self.release(is_over=True)
        self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        with self._lock:
            if self._is_held:
                _log.warning("nothing has begun for %g s: others may be elected", HELD_S)
                self._leaving.set()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self, me: Listed, admin: Admin, leaving: threading.Event) -> None:
        """Stand again while trouble passes; anything else is the member's failure."""
        heard = partial(self._heard, leaving)
        election = Election(self._config, me, admin=admin, elect=heard, leaving=leaving)
        failure: StreamerError = InvariantError("the thread that stands for election has died")
        try:
            while not leaving.is_set():
                try:
                    election.run()
                except PASSING as error:
                    _log.warning("the cluster is out of reach, trying again: %s", error)
                    leaving.wait(_AGAIN_S)
        except StreamerError as error:
            failure = error
        finally:
            if not leaving.is_set():
                self._fail(failure)

    def _heard(self, leaving: threading.Event, is_elected: bool) -> None:
        with self._lock:
            # The last word of a thread that was not waited for is none of its successor.
            if leaving is not self._leaving:
                return
            self._is_elected = is_elected
            self._elect(is_elected)
