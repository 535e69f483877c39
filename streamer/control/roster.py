"""Who of an application's workers lives, which of them is the controller, and what each has.

Whoever shows an application asks here: the control client, and whoever follows the control topics.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from streamer.clock import Clock
from streamer.config import Config
from streamer.control.identity import Process, listed_as, session_of
from streamer.control.lifelines import sessions_kept
from streamer.control.messages import AssignmentRecord, StatusRecord
from streamer.control.presence import Presence
from streamer.control.topics import ControlTopics
from streamer.control.view import WorkerInfo, workers_of
from streamer.errors import KafkaUnavailableError
from streamer.kafka.admin import Admin

__all__ = ["Roster"]

_log = logging.getLogger(__name__)

_ELECTED_S = 5.0


class Roster:
    """Tells workers from records. Kafka is asked for the sessions of those that are silent, and for
    the controller; that one no more often than every `elected_ms`. Used by one thread."""

    def __init__(
        self,
        config: Config,
        admin: Admin,
        topics: ControlTopics,
        *,
        clock: Clock,
        elected_ms: int = 0,
    ) -> None:
        self._silence_ms = config.session_timeout_ms
        self._admin = admin
        self._topics = topics
        self._clock = clock
        self._elected_ms = elected_ms
        self._presence = Presence()
        self._elected: frozenset[str] = frozenset()
        self._asked_ms: int | None = None

    def workers(
        self, assignments: Mapping[str, AssignmentRecord], statuses: Mapping[str, StatusRecord]
    ) -> list[WorkerInfo]:
        """Every worker that is remembered, those that are gone too, by name. Raises
        KafkaUnavailableError where it must ask for the silent ones and is not answered."""
        now_ms = self._clock.now_ms()
        alive = self._presence.living(
            statuses.values(),
            lambda silent: sessions_kept(self._admin, self._topics, silent),
            now_ms=now_ms,
            silence_ms=self._silence_ms,
            doubted=_ended(assignments),
        )
        # A process that went on with another layout has a new session, and the office still.
        elected = self._controller()
        return workers_of(
            assignments,
            statuses,
            members={process: process[0] in elected for process in alive},
            now_ms=now_ms,
        )

    def _controller(self) -> frozenset[str]:
        """The worker that is the controller, or nobody at this moment."""
        now_ms = self._clock.monotonic_ms()
        if self._asked_ms is not None and now_ms - self._asked_ms < self._elected_ms:
            return self._elected
        try:
            found = self._admin.group_members(self._topics.members, timeout_s=_ELECTED_S)
        except KafkaUnavailableError as error:
            # Who lives and who owns what does not depend on it.
            _log.warning("who is the controller is not known at present: %s", error)
            return frozenset()
        owners = (listed_as(each.client_id) for each in found if each.partitions)
        self._elected = frozenset(each.worker for each in owners if each is not None)
        # An election takes a moment: nobody is asked for again at once.
        self._asked_ms = now_ms if self._elected else None
        return self._elected


def _ended(assignments: Mapping[str, AssignmentRecord]) -> frozenset[Process]:
    """Those that the controller knows to be fenced or gone: most of them are dead."""
    ended = (each for each in assignments.values() if each.ended)
    return frozenset((each.worker, session_of(each.incarnation)) for each in ended)
