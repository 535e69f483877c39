"""Two workers of two applications never share a transactional id."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.errors import ConfigError, KafkaUnavailableError
from streamer.ids import transactional_id
from streamer.worker.namesakes import namesakes, refuse_namesakes


class Kafka:
    """Topics and groups of other applications."""

    def __init__(self, topics: list[str], members: dict[str, int] | None = None) -> None:
        self._topics = topics
        self._members = members
        self.asked: list[str] = []

    def topics(self) -> dict[str, int]:
        return dict.fromkeys(self._topics, 1)

    def members_of(self, groups: list[str], *, timeout_s: float) -> dict[str, list[object]]:
        self.asked += groups
        if self._members is None:
            raise KafkaUnavailableError("no answer")
        return {group: [object()] * self._members.get(group, 0) for group in groups}


def test_whoever_has_the_same_id_is_found_whatever_dashes_there_are() -> None:
    assert namesakes("shop", "eu-1") == [("shop-eu", "1")]
    assert namesakes("shop-eu", "1") == [("shop", "eu-1")]
    assert namesakes("shop", "w1") == []
    assert namesakes("a-b", "c-d") == [("a", "b-c-d"), ("a-b-c", "d")]
    for pair in namesakes("a--b", "c-d"):
        assert transactional_id(*pair) == "a--b-c-d"


def test_one_that_is_alive_is_named_and_refuses_the_other() -> None:
    kafka: Any = Kafka(["shop-eu.members"], {"shop-eu.members.1": 1})
    with pytest.raises(ConfigError, match=r"'shop-eu-1', as worker '1' of application 'shop-eu'"):
        refuse_namesakes("shop", "eu-1", kafka)


def test_nobody_is_asked_where_there_is_no_such_application() -> None:
    kafka: Any = Kafka(["other.members"])
    refuse_namesakes("shop", "eu-1", kafka)
    assert kafka.asked == []


@pytest.mark.parametrize("members", [{}, None])
def test_one_that_is_gone_or_not_to_be_seen_refuses_nobody(members: dict[str, int] | None) -> None:
    kafka: Any = Kafka(["shop-eu.members"], members)
    refuse_namesakes("shop", "eu-1", kafka)
    assert kafka.asked == ["shop-eu.members.1"]
