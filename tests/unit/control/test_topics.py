"""Where a worker's records are."""

from __future__ import annotations

from streamer.control.topics import ControlTopics
from streamer.ids import TopicPartition


def test_a_worker_has_one_place_in_each_table() -> None:
    topics = ControlTopics("shop", 16, 1)
    place = topics.assignment("w1")
    assert place.topic == "shop.assignments"
    assert place in topics.assignments()
    assert place == ControlTopics("shop", 16, 1).assignment("w1")
    assert topics.status("w1") == TopicPartition("shop.status", 0)
    assert topics.members == "shop.members"


def test_many_workers_spread_over_the_partitions() -> None:
    topics = ControlTopics("shop", 16, 1)
    used = {topics.assignment(f"host{number}-{slot}") for number in range(400) for slot in range(3)}
    assert used == set(topics.assignments())
