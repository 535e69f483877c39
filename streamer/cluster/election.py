"""Standing for election: in the group while too few others are, out of it while too many are.

look --- enough ---> wait and look again
  |                        ^
  +--- too few ---> join --+--- too many, and not elected ---> leave
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from streamer.cluster.candidacy import hesitation_s, is_surplus, is_wanted, watch_s
from streamer.config import Config
from streamer.control.identity import Listed, listed_as
from streamer.errors import KafkaUnavailableError
from streamer.ids import control_topic
from streamer.kafka.admin import Admin
from streamer.kafka.group import Membership

__all__ = ["Election"]

_log = logging.getLogger(__name__)

_POLL_S = 0.1
_AGAIN_S = 0.5
# Whoever waits for an answer takes no part meanwhile: a candidate may be elected at any moment. A
# new Kafka first has to make its topic of groups, and leaves the first questions without an answer.
_ASKED_S = 2.0


class Election:
    """One process's part in the elections. Used by one thread; `elect` hears whether this process
    is the controller."""

    def __init__(
        self,
        config: Config,
        me: Listed,
        *,
        admin: Admin,
        elect: Callable[[bool], None],
        leaving: threading.Event,
    ) -> None:
        self._config = config
        self._group = control_topic(config.application_id, "members")
        self._me = me
        self._admin = admin
        self._elect = elect
        self._leaving = leaving
        self._chance = random.Random()

    def run(self) -> None:
        """Until this process leaves. Raises what Membership and Admin raise; run it again then."""
        while not self._leaving.is_set():
            wanted = self._is_wanted()
            if wanted is None:
                self._leaving.wait(_AGAIN_S)
            elif not wanted:
                self._leaving.wait(watch_s(self._chance))
            elif not self._leaving.wait(hesitation_s(self._chance)) and self._is_wanted():
                self._stand()

    def _is_wanted(self) -> bool | None:
        """None where nobody can tell."""
        zones = self._zones()
        return None if zones is None else is_wanted(self._me.zone, list(zones.values()))

    def _is_surplus(self) -> bool:
        """Whoever cannot ask stays: the others may have gone."""
        zones = self._zones()
        return zones is not None and is_surplus(str(self._me), zones)

    def _zones(self) -> dict[str, str] | None:
        """Where those are that stand at present; None where nobody can tell."""
        try:
            members = self._admin.group_members(self._group, timeout_s=_ASKED_S)
        except KafkaUnavailableError as error:
            _log.info("who stands for election is not known at present: %s", error)
            return None
        listed = (listed_as(one.client_id) for one in members)
        return {str(one): one.zone for one in listed if one is not None}

    def _stand(self) -> None:
        membership = Membership.of_candidate(self._config, client_id=str(self._me))
        look_at_s = time.monotonic() + watch_s(self._chance)
        try:
            while not self._leaving.is_set():
                if membership.poll(_POLL_S):
                    self._elect(membership.is_owner)
                if time.monotonic() > look_at_s:
                    look_at_s = time.monotonic() + watch_s(self._chance)
                    if not membership.is_owner and self._is_surplus():
                        return
        finally:
            self._elect(False)
            membership.close()
