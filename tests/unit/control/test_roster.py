"""Who is told to be the controller."""

from __future__ import annotations

from typing import Any

from streamer.clock import ManualClock
from streamer.config import Config
from streamer.control.messages import StatusRecord
from streamer.control.roster import Roster
from streamer.control.topics import ControlTopics
from streamer.ids import TopicPartition
from streamer.kafka.members import GroupMember


class Candidates:
    """The group: the first one has its partition."""

    def __init__(self, *listed: str) -> None:
        self._listed = listed

    def group_members(self, group: str, *, timeout_s: float) -> list[GroupMember]:
        assert (group, timeout_s > 0) == ("spend.members", True)
        owned = [frozenset({TopicPartition(group, 0)}), *[frozenset[TopicPartition]()] * 9]
        return [GroupMember(one, "", has) for one, has in zip(self._listed, owned, strict=False)]


def controllers(candidates: Candidates, *incarnations: str) -> list[str]:
    """Workers that are told to be it, where these have just spoken."""
    clock = ManualClock()
    admin: Any = candidates
    roster = Roster(
        Config(application_id="spend"), admin, ControlTopics("spend", 1, 1), clock=clock
    )
    statuses = {}
    for one in incarnations:
        worker, _, incarnation = one.partition("#")
        statuses[worker] = StatusRecord(
            format=1, number=1, worker=worker, incarnation=incarnation, at_ms=clock.now_ms()
        )
    return [one.worker for one in roster.workers({}, statuses) if one.is_controller]


def test_the_candidate_that_has_the_partition_is_the_controller() -> None:
    assert controllers(Candidates("w2#s2@az=a", "w1#s1@az=b"), "w1#s1.0", "w2#s2.0") == ["w2"]


def test_a_process_that_went_on_with_another_session_is_so_still() -> None:
    """It stands for election under the session that it had first."""
    assert controllers(Candidates("w1#s1@az=a", "w2#s2@az=b"), "w1#s9.0", "w2#s8.0") == ["w1"]


def test_nobody_is_that_is_not_there() -> None:
    assert controllers(Candidates("w3#s3@az=a"), "w1#s1.0") == []
