"""A warning for stores that begin empty behind inputs that were read before.

A store that was renamed is a new one to Kafka: nothing is wrong that anything could refuse, and yet
its results lack all that came before. So the new stores are named, and beside them the changelogs
that no store uses any more, one of which may be the same store under its earlier name.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from streamer.errors import StreamerError
from streamer.ids import TaskId, TopicPartition, changelog_topic
from streamer.store.schema import Found
from streamer.task.build import input_partitions
from streamer.topology.graph import Topology
from streamer.topology.partitions import Partitions

__all__ = ["Groups", "warn_of_left_state", "warn_of_new_stores"]

_log = logging.getLogger(__name__)


class Groups(Protocol):
    def topics(self) -> Collection[str]: ...

    def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int]: ...


def warn_of_new_stores(
    topology: Topology, planned: Partitions, *, created: Collection[str], admin: Groups
) -> None:
    """Warn of the stores whose changelogs were `created` just now, where the application has read
    their inputs before."""
    created = [name for name in created if name in planned.changelogs]
    if not created:
        return
    try:
        left = _left_behind(topology.application_id, planned, admin.topics())
        if not left and len(created) == len(planned.changelogs):
            return  # an application that never ran
        stores = _begun_before(topology, planned, created=created, admin=admin)
    except StreamerError as error:
        _log.info("new stores were not compared with what was committed: %s", error)
        return
    if stores:
        _log.warning(
            "%s new and empty, while the input goes on at the committed positions: records before"
            " them are not in it. %s",
            _listed("store", stores),
            f"No store uses any more: {', '.join(left)}. If one of them is the same store, give it"
            " its earlier name back"
            if left
            else "To have all records in it, begin under another application id",
        )


def _begun_before(
    topology: Topology, planned: Partitions, *, created: Collection[str], admin: Groups
) -> list[str]:
    """The stores of these changelogs whose inputs have committed positions."""
    found = []
    for subtopology in topology.subtopologies:
        since = planned.layout.since(subtopology.number)
        names = [
            spec.name
            for spec in subtopology.stores
            if changelog_topic(topology.application_id, spec.name, since) in created
        ]
        tasks = [task for task in planned.tasks if task.subtopology == subtopology.number]
        places = [
            place
            for task in tasks
            for place in input_partitions(topology, task, planned.sources, layout=planned.layout)
        ]
        if names and admin.committed(topology.application_id, places):
            found += names
    return found


def _left_behind(application_id: str, planned: Partitions, topics: Collection[str]) -> list[str]:
    start, end = changelog_topic(application_id, "\0").split("\0")
    return sorted(
        name
        for name in topics
        if name.startswith(start) and name.endswith(end) and name not in planned.changelogs
    )


def warn_of_left_state(task: TaskId, directory: Path, found: Found, *, application_id: str) -> None:
    """Say which stores on the disk the topology does not have; a warning where others are new."""
    if not found.unknown_stores:
        return
    changelogs = [changelog_topic(application_id, store) for store in found.unknown_stores]
    begun = f"; {_listed('store', found.new_stores)} new and empty" if found.new_stores else ""
    _log.log(
        logging.WARNING if begun else logging.INFO,
        "task %s: %s on the disk, but not in the topology%s. Its rows stay in %s and in %s: a store"
        " that was renamed is found again under its earlier name alone",
        task,
        _listed("store", found.unknown_stores),
        begun,
        directory,
        ", ".join(changelogs),
    )


def _listed(noun: str, names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{noun} {names[0]} is"
    return f"{noun}s {', '.join(names)} are"
