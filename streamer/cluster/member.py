"""`Member`: a worker's place in the cluster.

    make the producer (init_transactions) -> start() -> desired() / report() ... -> leave()
                ^                                             |
                +------- drop everything <- FencedError ------+ ; then rejoin()

The producer is made before start(), and again before each rejoin(), never in between: only so does
fencing its transactional id end everything that was assigned to this incarnation.
Threads of its own, so that neither slow user code nor a long restore makes it look dead: one writes
the status; one polls the worker's own group, whose session is kept even while the interpreter is
busy; one reads assignments; one controls, when elected. `Candidate` stands for election, and may be
shared by the members that follow each other in a process.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Mapping

from streamer.clock import Clock
from streamer.cluster.candidate import Candidate
from streamer.cluster.controller import PASSING, Controller
from streamer.cluster.hearing import Hearing
from streamer.cluster.lease import Lease, bound_ms
from streamer.cluster.ports import KafkaPorts
from streamer.cluster.rejoins import REJOINS_MAX, Rejoins
from streamer.cluster.seat import NO_SHADOWS, Desired, Seat, Shadowed
from streamer.cluster.threads import AGAIN_S, Threads
from streamer.cluster.voice import Voice
from streamer.cluster.work import Work
from streamer.config import Config
from streamer.control.identity import Incarnation, Listed, client_id, fresh_session
from streamer.control.messages import StandbyReport, TaskReport
from streamer.control.orders import Order
from streamer.control.topics import ControlTopics
from streamer.errors import ConfigError, FencedError, InvariantError, StreamerError
from streamer.ids import TaskId, transactional_id
from streamer.kafka.admin import Admin
from streamer.kafka.group import Membership
from streamer.kafka.table import TableWriter

__all__ = ["Desired", "Member", "TaskReport"]

_log = logging.getLogger(__name__)

_POLL_S = 0.1
# A controller that leaves hands its own tasks over first; that takes some 50 ms.
_HAND_OVER_S = 2.0


def _suspicion_ms(config: Config) -> int:
    """A word may be late by a quarter of the interval without any suspicion."""
    return max(config.session_timeout_ms, config.status_interval_ms * 5 // 4)


class Member:
    """One process of a worker among the others. All methods may be called by any thread.

    `address` is where this worker answers queries. Once `stopping` is set, `start` waits for
    brokers no longer. `candidate` is of the process, where that has several members in turn.
    """

    def __init__(
        self,
        config: Config,
        *,
        work: Work,
        clock: Clock,
        address: str = "",
        stopping: threading.Event | None = None,
        candidate: Candidate | None = None,
    ) -> None:
        if config.worker_id is None:
            raise ConfigError("a worker joins under a worker_id, and there is none")
        self.worker_id = config.worker_id
        self._config = config
        self._clock = clock
        self._session = fresh_session()
        self._candidate = candidate or Candidate(config)
        host = config.host or socket.gethostname()  # Without zones those of one host die together.
        self._listed = Listed(self.worker_id, self._session, config.zone or f"host={host}")
        self._seat = Seat(
            self.worker_id,
            Incarnation(self._session),
            shape=work.shape,
            zone=config.zone,
            host=host,
            capacity=config.capacity,
            address=address,
            warm_lag_max=config.acceptable_recovery_lag,
            follows=self._candidate.succeed(self._session),
        )
        self._lock = threading.Lock()
        self._is_leaving, self._is_stopped = threading.Event(), threading.Event()
        self._rejoins = Rejoins()
        self._failure: StreamerError | None = None
        self._admin = Admin(config)
        self._stopping = stopping
        self._topics: ControlTopics | None = None
        self._voice: Voice | None = None
        self.lease = Lease(bound_ms(_suspicion_ms(config)), clock)
        self._hearing = Hearing(self._seat, self.lease, lock=self._lock, layout=work.layout)
        self._controller = Controller(
            self._ports,
            me=(self.worker_id, self._session),
            work=work,
            suspicion_ms=_suspicion_ms(config),
            clock=clock,
        )
        self._threads = Threads(self._is_stopped, self._fail)

    @property
    def incarnation(self) -> str:
        return str(self._seat.incarnation)

    @property
    def is_controller(self) -> bool:
        return self._controller.is_in_office

    def start(self) -> None:
        """Create the control topics where they are missing, and join; returns soon.

        Raises KafkaUnavailableError, StoppedError, ConfigError or InternalTopicError.
        """
        admin = Admin(self._config, stopping=self._stopping)
        self._topics = ControlTopics.prepare(self._config, admin)
        self._voice = Voice(
            self._seat,
            TableWriter(self._config),
            self._topics.status(self.worker_id),
            lock=self._lock,
            lease=self.lease,
            clock=self._clock,
            interval_ms=self._config.status_interval_ms,
        )
        self._publish()
        self._controller.start()
        for work in (self._live, self._speak, self._listen):
            self._threads.start(work)
        elect = self._controller.elect
        self._candidate.serve(self._listed, self._admin, elect=elect, fail=self._fail)
        _log.info("joining as %s", client_id(self.worker_id, self._session))

    def desired(self) -> Desired | None:
        """What this incarnation shall own; None until it was told.

        Raises FencedError once it was fenced: drop everything, make the producer anew, rejoin().
        """
        seat = self._seat
        if seat.is_fenced:
            raise FencedError(f"incarnation {seat.incarnation} of {self.worker_id} was fenced")
        return seat.desired

    def report(
        self,
        seen: int,
        tasks: Mapping[TaskId, TaskReport],
        standbys: Mapping[TaskId, StandbyReport],
        *,
        pause: tuple[str, str] = ("", ""),
        shadows: Shadowed = NO_SHADOWS,
        former: Mapping[str, int] | None = None,
    ) -> None:
        """What the worker owns now, having acted on assignment `seen`: what was taken away up to
        there and is not listed is closed. `standbys` are its copies, `pause` is the one that it
        keeps and the last one that it ended, `shadows` and `former` are of other layouts."""
        with self._lock:
            is_news = self._seat.report(
                seen, tasks, standbys, pause=pause, shadows=shadows, former=former
            )
        if is_news:
            self._publish()

    def orders(self) -> tuple[Order, ...]:
        """What workers are asked to do at present; the same object while that does not change."""
        return self._hearing.orders.standing

    def rejoin(self) -> None:
        """Begin a new incarnation, after everything was dropped and the producer made anew."""
        with self._lock:
            is_loop = self._rejoins.is_loop(self._clock.monotonic_ms())
            self._seat.rejoin()
            self.lease.begin()
        if is_loop:
            used = transactional_id(self._config.application_id, self.worker_id)
            self._fail(
                FencedError(
                    f"worker {self.worker_id} was fenced {REJOINS_MAX} times in a minute",
                    hint=f"find the other user of the transactional id {used!r}",
                )
            )
        self._publish()

    def failure(self) -> StreamerError | None:
        """Why the worker must end, if it must: it was replaced, lacks a right, ..."""
        own = self._seat.failure or self._failure or self._controller.failure
        return self._hearing.layouts.failure or own

    def leave(self, timeout_s: float, *, begins_anew: bool = False) -> None:
        """Say good-bye and leave the groups, so that nobody waits for a session to end. Where the
        process `begins_anew` with another layout, nobody takes its tasks over, and it goes on to
        stand for election. The tasks must be closed and reported before: else it goes without a
        word, and is fenced as if it had died.
        """
        deadline = time.monotonic() + timeout_s
        if self._is_stopped.is_set():
            return
        if self._voice is not None:
            self._say_good_bye(self._voice, deadline, hands_over=not begins_anew)
        # The groups first: a controller may be held up at its work for as long as brokers are away,
        # and whoever comes next fences it.
        self._is_leaving.set()
        self._candidate.release(is_over=not begins_anew)
        self._controller.stop(max(0.1, deadline - time.monotonic()))
        self._is_stopped.set()
        self._threads.join(deadline)
        if not begins_anew:
            self._candidate.close()
        if self._voice is not None:
            self._voice.close()

    def _say_good_bye(self, voice: Voice, deadline: float, *, hands_over: bool) -> None:
        with self._lock:
            seat = self._seat
            if not seat.is_empty:
                _log.warning("leaving with tasks that were not reported closed: to be fenced")
                return
            hands_over = hands_over and seat.desired is not None and not seat.is_fenced
            seat.leave()
        self._publish()
        try:
            voice.flush(max(0.1, deadline - time.monotonic()))
        except StreamerError as error:
            _log.warning("good-bye could not be said: %s", error)
            return
        until = min(deadline, time.monotonic() + _HAND_OVER_S)
        while hands_over and self.is_controller and not seat.is_handed_over:
            if time.monotonic() > until:
                return
            time.sleep(0.01)

    # -- the threads ---------------------------------------------------------------------------

    def _live(self) -> None:
        """Be in the group of this worker, whose session says that the process lives."""
        group = self._known_topics().lifeline(self.worker_id)
        with Membership.of_worker(self._config, group, client_id=str(self._listed)) as membership:
            while not self._is_leaving.is_set():
                membership.poll(_POLL_S)

    def _listen(self) -> None:
        """Hear the assignments, what all are asked to do, and which layout holds."""
        config, topics, stopped = self._config, self._known_topics(), self._is_stopped
        self._hearing.listen(config, topics, admin=self._admin, stopped=stopped)

    def _speak(self) -> None:
        """Repeat the status from time to time, whatever else has to wait for Kafka."""
        while not self._is_stopped.wait(_POLL_S):
            if not self._publish():
                self._is_stopped.wait(AGAIN_S)

    def _publish(self) -> bool:
        """Write the status if it is news, or time. Returns whether there is nothing left to say."""
        try:
            if self._voice is None:
                return False
            self._voice.publish()
        except PASSING as error:
            _log.warning("a status could not be written: %s", error)
            return False
        except StreamerError as error:
            self._fail(error)
        return True

    def _fail(self, error: StreamerError) -> None:
        self._failure = self._failure or error

    def _ports(self) -> KafkaPorts:
        topics, layout = self._known_topics(), self._hearing.layouts.running
        return KafkaPorts(self._config, topics, self._admin, layout=layout)

    def _known_topics(self) -> ControlTopics:
        if self._topics is None:
            raise InvariantError("this member was not started")
        return self._topics
