"""Standing for election while the brokers answer late, or not at all."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streamer.clock import ManualClock
from streamer.cluster import election
from streamer.cluster.candidacy import CANDIDATES_MAX
from streamer.cluster.election import Election
from streamer.cluster.member import Member
from streamer.cluster.work import Work
from streamer.config import Config
from streamer.control.identity import Listed
from streamer.errors import KafkaUnavailableError
from streamer.kafka.group import Membership
from streamer.kafka.members import GroupMember

TURNS = 5


class Group:
    """The group of candidates, and this process in it. It is elected in its last turn."""

    def __init__(self) -> None:
        self.others: list[Listed] = []
        self.is_away = False
        self.is_owner = False
        self.asked_s: list[float | None] = []
        self.turns = 0
        self.is_closed = False
        self.leaving = threading.Event()
        self.elected: list[bool] = []

    def group_members(self, _group: str, *, timeout_s: float | None = None) -> list[GroupMember]:
        self.asked_s.append(timeout_s)
        if self.is_away:
            raise KafkaUnavailableError("no coordinator")
        return [GroupMember(str(one), "", frozenset()) for one in self.others]

    def poll(self, _timeout_s: float) -> bool:
        self.turns += 1
        self.is_owner = self.turns == TURNS
        if self.is_owner:
            self.leaving.set()
        return self.is_owner

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    made = Group()
    monkeypatch.setattr(Membership, "of_candidate", lambda *_args, **_named: made)
    monkeypatch.setattr(election, "watch_s", lambda _chance: -1.0)
    return made


def stand(group: Group, worker: str = "w1") -> None:
    admin: Any = group
    me = Listed(worker, "9f3c", "")
    config = Config(application_id="spend")
    Election(config, me, admin=admin, elect=group.elected.append, leaving=group.leaving)._stand()


def test_a_candidate_that_cannot_ask_who_else_stands_goes_on_and_may_be_elected(
    group: Group,
) -> None:
    group.is_away = True
    stand(group)
    assert group.elected == [True, False]
    # It takes no part while it waits for an answer.
    assert group.asked_s == [2.0] * (TURNS - 1)


def test_who_cannot_ask_at_the_beginning_looks_again_and_stands(
    group: Group, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a new Kafka, whose topic of groups is made when somebody asks first."""
    monkeypatch.setattr(election, "_AGAIN_S", 0.01)
    monkeypatch.setattr(election, "hesitation_s", lambda _chance: 0.0)
    asked = group.group_members

    def answer(name: str, *, timeout_s: float | None = None) -> list[GroupMember]:
        group.is_away = len(group.asked_s) < 2
        return asked(name, timeout_s=timeout_s)

    monkeypatch.setattr(group, "group_members", answer)
    admin: Any = group
    me, config = Listed("w1", "9f3c", ""), Config(application_id="spend")
    Election(config, me, admin=admin, elect=group.elected.append, leaving=group.leaving).run()
    assert group.elected == [True, False]
    assert not [one for one in caplog.records if one.levelname == "WARNING"]


def test_one_of_too_many_leaves(group: Group) -> None:
    group.others = [Listed(f"w{number}", "9f3c", "") for number in range(CANDIDATES_MAX + 1)]
    stand(group, "w8")
    assert group.is_closed
    assert (group.turns, group.elected) == (1, [False])


@pytest.mark.parametrize(("zone", "place"), [("az=a", "az=a"), ("", "host=h1")])
def test_candidates_are_in_several_zones_or_else_on_several_hosts(zone: str, place: str) -> None:
    config = Config(application_id="spend", worker_id="w1", zone=zone, host="h1")
    member = Member(config, work=Work(frozenset()), clock=ManualClock())
    assert member._listed.zone == place


def test_whoever_leaves_stands_no_more_before_it_waits_for_its_own_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The controller may be held up for as long as brokers are away."""
    config = Config(application_id="spend", worker_id="w1")
    member = Member(config, work=Work(frozenset()), clock=ManualClock())
    stood: list[bool] = []

    def stop(_timeout_s: float) -> None:
        stood.append(not member._is_leaving.is_set())

    monkeypatch.setattr(member._controller, "stop", stop)
    member.leave(1.0)
    assert stood == [False]
