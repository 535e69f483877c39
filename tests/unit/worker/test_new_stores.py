"""Stores that begin empty behind inputs that were read before are warned of by name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from streamer import App
from streamer.errors import KafkaUnavailableError
from streamer.ids import TaskId, TopicPartition
from streamer.store.schema import Found
from streamer.topology.partitions import partitions
from streamer.worker.new_stores import warn_of_left_state, warn_of_new_stores

OLD = "app-old-changelog"


class Cluster:
    """What brokers know: topics, and what the group has committed."""

    def __init__(self, topics: Sequence[str], *committed: str) -> None:
        self._topics = topics
        self._committed = committed

    def topics(self) -> list[str]:
        if not self._topics:
            raise KafkaUnavailableError("away")
        return [*self._topics]

    def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        assert group == "app"
        return {place: 5 for place in partitions if place.topic in self._committed}


def warned(caplog: pytest.LogCaptureFixture, created: Sequence[str], cluster: Cluster) -> str:
    app = App("app")
    app.stream("in", key=str, value=int).group_by_key().count(store="new")
    app.stream("other", key=str, value=int).group_by_key().count(store="kept")
    topology = app.topology()
    planned = partitions(topology, {"in": 2, "other": 1})
    with caplog.at_level(logging.INFO, "streamer"):
        warn_of_new_stores(topology, planned, created=created, admin=cluster)
    return "\n".join(f"{one.levelname} {one.getMessage()}" for one in caplog.records)


def test_a_renamed_store_is_named_with_the_changelog_it_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topics = ["in", "app-new-changelog", "app-kept-changelog", OLD, "app-x-repartition", "apple"]
    text = warned(caplog, ["app-new-changelog"], Cluster(topics, "in"))
    assert text.startswith("WARNING store new is new and empty, while the input goes on")
    assert f"No store uses any more: {OLD}. If one" in text


def test_a_store_that_is_added_is_named_too(caplog: pytest.LogCaptureFixture) -> None:
    topics = ["app-new-changelog", "app-kept-changelog"]
    text = warned(caplog, ["app-new-changelog"], Cluster(topics, "in"))
    assert "WARNING store new is new and empty" in text
    assert "begin under another application id" in text


@pytest.mark.parametrize(
    ("created", "topics", "committed"),
    [
        ([], [OLD], ["in"]),
        (["app-new-changelog"], [OLD], ["other"]),  # a new part of the application
        (["app-new-changelog", "app-kept-changelog"], ["in"], ["in"]),  # it never ran
        (["app-x-repartition"], [OLD], ["in"]),
    ],
)
def test_nothing_is_said_where_nothing_was_missed(
    created: list[str], topics: list[str], committed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert warned(caplog, created, Cluster(topics, *committed)) == ""


def test_a_start_goes_on_where_the_brokers_do_not_tell(caplog: pytest.LogCaptureFixture) -> None:
    text = warned(caplog, ["app-new-changelog"], Cluster([]))
    assert text == "INFO new stores were not compared with what was committed: away"


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (Found(frozenset(), (), ("new",)), ""),
        (Found(frozenset(), ("old",), ()), "INFO task 0_1: store old is on the disk, but not in"),
        (
            Found(frozenset(), ("a", "old"), ("new",)),
            "WARNING task 0_1: stores a, old are on the disk, but not in the topology; store new is"
            f" new and empty. Its rows stay in /state/0_1 and in app-a-changelog, {OLD}",
        ),
    ],
)
def test_what_the_disk_has_left_is_named(
    found: Found, wanted: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "streamer"):
        warn_of_left_state(TaskId(0, 1), Path("/state/0_1"), found, application_id="app")
    text = "\n".join(f"{one.levelname} {one.getMessage()}" for one in caplog.records)
    assert text.startswith(wanted)
    assert bool(text) == bool(wanted)
