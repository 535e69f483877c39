"""Where a worker's records are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from streamer.config import Config
from streamer.control.topics import ControlTopics
from streamer.errors import TopicMissingError
from streamer.ids import TopicPartition
from streamer.kafka.admin import TopicSpec


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


class Topics:
    """An admin client of a cluster with these topics."""

    def __init__(self, **counts: int) -> None:
        self.counts = {name.replace("_", "."): count for name, count in counts.items()}
        self.asked: list[TopicSpec] = []

    def partitions(self, names: Sequence[str]) -> dict[str, int]:
        if missing := [name for name in names if name not in self.counts]:
            raise TopicMissingError(", ".join(missing))
        return {name: self.counts[name] for name in names}

    def create(self, specs: Sequence[TopicSpec]) -> None:
        self.asked += specs
        self.counts |= {spec.name: spec.partitions for spec in specs}


@pytest.mark.parametrize("wanted", [1, 16, 1_200])
def test_assignments_get_as_many_partitions_as_are_wanted_and_keep_them(wanted: int) -> None:
    config = Config(
        application_id="shop", bootstrap_servers="127.0.0.1:9", assignment_partitions=wanted
    )
    admin: Any = Topics()
    assert ControlTopics.prepare(config, admin).assignment_partitions == wanted
    # Of workers that start at once and want another number each, one is the first: that holds.
    assert {spec.name: spec.any_size for spec in admin.asked} == {
        "shop.members": False,
        "shop.assignments": True,
        "shop.status": True,
        "shop.operations": True,
        "shop.orders": True,
        "shop.layout": True,
    }
    sizes = {"shop_assignments": 7, "shop_status": 1, "shop_operations": 1, "shop_orders": 1}
    sizes["shop_layout"] = 1
    there: Any = Topics(shop_members=1, **sizes)
    assert ControlTopics.prepare(config, there).assignment_partitions == 7
    assert [spec.name for spec in there.asked] == ["shop.members"]
