"""The elected process at work: one term after the other, in a thread of its own.

A term that fails is closed and followed by the next one as long as this process is elected. What
waiting cannot mend (a missing right, records of another release) becomes the worker's failure.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from streamer import metrics
from streamer.clock import Clock
from streamer.cluster.events import Action, Fence, Tell, Write
from streamer.cluster.ports import KafkaPorts
from streamer.cluster.term import Term
from streamer.cluster.work import Work
from streamer.control.identity import Process
from streamer.control.requests import PlanRecord
from streamer.errors import FencedError, InvariantError, KafkaUnavailableError, StreamerError
from streamer.kafka.api import AbortableError
from streamer.log import fields

__all__ = ["PASSING", "Controller"]

_log = logging.getLogger(__name__)

# Trouble after which trying again makes sense.
PASSING = (KafkaUnavailableError, FencedError, AbortableError)
_AGAIN_S = 0.5


class Controller:
    """Its thread waits for the election. The methods may be called by any thread."""

    def __init__(
        self,
        ports: Callable[[], KafkaPorts],
        *,
        me: Process,
        work: Work,
        suspicion_ms: int,
        clock: Clock,
    ) -> None:
        self._ports = ports
        self._me = me
        self._to_do = work
        self._suspicion_ms = suspicion_ms
        self._clock = clock
        self._is_elected = threading.Event()
        self._wake = threading.Event()
        self._is_stopped = False
        self._lock = threading.Lock()
        self._term: Term | None = None
        self._thread = threading.Thread(target=self._work, name="controller", daemon=True)
        self.failure: StreamerError | None = None

    @property
    def is_in_office(self) -> bool:
        """Elected, and through with reading what there is."""
        return self._term is not None and self._is_elected.is_set()

    def start(self) -> None:
        self._thread.start()

    def elect(self, is_elected: bool) -> None:
        """The outcome of the last election; one that is stopped takes none."""
        with self._lock:
            if is_elected and not self._is_stopped:
                self._is_elected.set()
            else:
                self._is_elected.clear()
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """End the term without a word; the next controller reads what there is."""
        with self._lock:
            self._is_stopped = True
        self.elect(False)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._is_stopped:
            if not self._is_elected.is_set():
                self._wake.wait()
                self._wake.clear()
                continue
            try:
                self._serve()
            except PASSING as error:
                _log.warning("the controller begins again: %s", error)
                # What woke it in office is over; left set, it would begin again without a pause.
                self._wake.clear()
                self._wake.wait(_AGAIN_S)
            except StreamerError as error:
                self.failure = error
                return
            except Exception as error:
                # A controller that died in silence would leave every task where it is, for ever.
                _log.exception("the controller has died")
                self.failure = InvariantError(f"the controller has died: {error!r}")
                return

    def _serve(self) -> None:
        ports = self._ports()
        try:
            term = Term(
                ports,
                me=self._me,
                work=self._to_do,
                suspicion_ms=self._suspicion_ms,
                clock=self._clock,
            )
            term.open()
            self._term = term
            metrics.controller.set(1)
            _log.info("this worker is the controller", extra=fields(worker=self._me[0]))
            while self._is_elected.is_set():
                for action in term.turn():
                    _tell(action)
                metrics.members.set(len(term.sessions or ()))
        finally:
            self._term = None
            _clear()
            ports.close()


def _clear() -> None:
    """What a controller alone knows is not told any more: the next one tells it."""
    metrics.controller.set(0)
    metrics.members.set(0)
    metrics.placement_moves.set(0)
    metrics.placement_waiting.set(0)
    metrics.placement_degraded.clear()


def _tell(action: Action) -> None:
    match action:
        case Write(records, plan=told):
            for one in records:
                tasks = ",".join(one.tasks) or "none"
                _log.info(
                    "assignment written",
                    extra=fields(
                        version=one.version,
                        worker=one.worker,
                        tasks=tasks,
                        releasing=",".join(one.releasing),
                        standbys=",".join(one.standbys),
                        ended=one.ended,
                        why=one.why,
                    ),
                )
            if told is not None:
                _tell(Tell(told))
        case Tell(PlanRecord() as plan):
            metrics.placement_moves.set(plan.moves_left)
            metrics.placement_waiting.set(plan.waiting)
            metrics.placement_degraded.clear()
            for mode in plan.modes:
                metrics.placement_degraded.labels(mode.name).set(mode.concerns)
                if mode.since_ms == plan.at_ms:  # It has just begun.
                    about = fields(concerns=mode.concerns, examples=",".join(mode.examples))
                    _log.warning("%s; it ends with: %s", mode.name, mode.until, extra=about)
        case Fence(worker):
            _log.info("fencing a worker", extra=fields(worker=worker))
