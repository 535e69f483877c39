"""Who is alive, as one who only reads can tell."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any
from unittest.mock import MagicMock

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamer.config import Config
from streamer.control.identity import Listed, Process, listed_as
from streamer.control.lifelines import sessions_kept
from streamer.control.messages import StatusRecord
from streamer.control.presence import Presence
from streamer.control.topics import ControlTopics
from streamer.errors import ConfigError
from streamer.kafka.admin import Admin

NOW_MS = 1_000_000


def said(name: str, ago_ms: int, *, left: bool = False, number: int = 1) -> StatusRecord:
    worker, session = name.split("#")
    return StatusRecord(
        format=1,
        number=number,
        worker=worker,
        incarnation=f"{session}.0",
        left=left,
        at_ms=NOW_MS - ago_ms,
    )


def alive(
    *words: StatusRecord, kept: set[Process] | None = None, by: Presence | None = None
) -> tuple[frozenset[Process], list[str]]:
    """Those who live, and who was asked for."""
    asked: list[str] = []

    def ask(silent: frozenset[Process]) -> frozenset[Process]:
        asked.extend(sorted(worker for worker, _ in silent))
        return frozenset(kept or ())

    presence = by or Presence()
    return presence.living(words, ask, now_ms=NOW_MS, silence_ms=6_000), asked


def test_who_has_just_spoken_lives_and_nobody_is_asked_for() -> None:
    assert alive(said("w1#s1", 0), said("w2#s2", 5_999)) == ({("w1", "s1"), ("w2", "s2")}, [])


def test_of_the_silent_those_live_whose_sessions_are_kept() -> None:
    words = [said("w1#s1", 0), said("w2#s2", 6_000), said("w3#s3", 99_000), said("w4#s4", 7_000)]
    found, asked = alive(*words, kept={("w2", "s2"), ("w4", "other")})
    assert found == {("w1", "s1"), ("w2", "s2")}
    assert asked == ["w2", "w3", "w4"]


def test_who_left_is_gone_and_not_asked_for() -> None:
    assert alive(said("w1#s1", 0, left=True), said("w2#s2", 99_000, left=True)) == (set(), [])


def test_who_was_found_dead_is_not_asked_for_again_before_it_speaks() -> None:
    """Whoever was killed is remembered for a week, and a worker asks every second."""
    presence = Presence()
    words = [said("w1#s1", 7_000), said("w2#s2", 7_000)]
    w2 = {("w2", "s2")}
    assert alive(*words, kept=w2, by=presence) == (w2, ["w1", "w2"])
    assert alive(*words, kept=w2, by=presence) == (w2, ["w2"])
    words[0] = said("w1#s1", 6_500, number=2)
    assert alive(*words, kept=w2, by=presence) == (w2, ["w1", "w2"])
    words[0] = said("w1#s1", 100, number=3)
    assert alive(*words, kept=w2, by=presence) == ({("w1", "s1")} | w2, ["w2"])


def test_of_one_that_is_doubted_kafka_is_asked_however_lately_it_spoke() -> None:
    """As of one that the controller has fenced already."""
    for kept in (frozenset({("w1", "s1")}), frozenset[Process]()):
        found = Presence().living(
            [said("w1#s1", 100)],
            lambda _silent, kept=kept: kept,
            now_ms=NOW_MS,
            silence_ms=6_000,
            doubted={("w1", "s1")},
        )
        assert found == kept


def test_a_clock_that_is_ahead_makes_nobody_alive() -> None:
    assert alive(said("w1#s1", -3_600_000)) == (set(), ["w1"])


def admin_that_hears(answers: dict[str, list[Listed] | KafkaException]) -> Admin:
    """Of each of these groups its members, or why there is no answer."""
    futures: dict[str, Future[Any]] = {}
    for worker, answer in answers.items():
        future = futures[f"shop.members.{worker}"] = Future()
        if isinstance(answer, list):
            made = [MagicMock(client_id=str(one), assignment=None) for one in answer]
            future.set_result(MagicMock(members=made))
        else:
            future.set_exception(answer)
    admin = Admin(Config(application_id="shop", bootstrap_servers="localhost:1"))
    client: Any = MagicMock()
    client.describe_consumer_groups.return_value = futures
    admin._coordinators._client = client
    return admin


TOPICS = ControlTopics("shop", 1, 1)
AWAY = KafkaException(KafkaError(KafkaError._TIMED_OUT))
REFUSED = KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))


def test_a_group_whose_coordinator_is_away_hides_no_death_of_another() -> None:
    admin = admin_that_hears({"w1": [Listed("w1", "s1")], "w2": [], "w3": AWAY})
    asked = [("w1", "s1"), ("w1", "s0"), ("w2", "s2"), ("w3", "s3")]
    assert sessions_kept(admin, TOPICS, asked) == {("w1", "s1"), ("w3", "s3")}


def test_a_group_that_may_not_be_asked_for_is_told() -> None:
    admin = admin_that_hears({"w1": [Listed("w1", "s1")], "w3": REFUSED})
    with pytest.raises(ConfigError, match="Describe on group"):
        sessions_kept(admin, TOPICS, [("w1", "s1"), ("w3", "s3")])


@pytest.mark.parametrize("zone", ["", "az=a", "cloud=a,region=eu,az=eu-1", "az=#1", "az=a@b"])
@pytest.mark.parametrize("worker", ["w1", "host-1.example-2", "a#b"])
def test_a_process_is_known_by_its_client_id(worker: str, zone: str) -> None:
    one = Listed(worker, "9f3c01aa6b52", zone)
    assert listed_as(str(one)) == one


@pytest.mark.parametrize("client", ["", "rdkafka", "w1", "w1#", "#s1@", "w1#s1"])
def test_other_clients_are_no_workers(client: str) -> None:
    assert listed_as(client) is None
