"""The topics of an application: look up those of the user, create and check those of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from streamer.changelog.topics import changelog_spec, repartition_spec
from streamer.config import Config
from streamer.errors import InternalTopicError, PartitionsChangedError, TopicMissingError
from streamer.kafka.admin import Admin, TopicSpec
from streamer.layout import ApplicationLayout
from streamer.topology.graph import Topology
from streamer.topology.partitions import Partitions, external_topics, partitions
from streamer.worker.new_stores import warn_of_new_stores
from streamer.worker.retention import check_retention

__all__ = ["Prepared", "check_unchanged", "prepare", "written_topics"]


_GROWN_WITH_STATE = (
    "producers that know of it write keys to other partitions than their state is in: for keys that"
    " moved, what was committed since the topic grew may be wrong: it began without their state."
    " Begin under another application id, which reads everything again, or go back to a topic with"
    " the old number of partitions and correct those keys"
)
_GROWN_WITHOUT_STATE = "start it again: it keeps no state, so nothing is wrong"


class Counts(Protocol):
    def partitions(self, topics: list[str]) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True)
class _Wanted:
    spec: TopicSpec
    reason: str


class Prepared(NamedTuple):
    """The topics are there. `delete_retention_ms`: so long changelogs keep removals of rows."""

    planned: Partitions
    delete_retention_ms: int


def prepare(
    topology: Topology, config: Config, admin: Admin, *, layout: ApplicationLayout | None = None
) -> Prepared:
    """Look up the input topics, create the internal ones, and check what is there: as the layout
    that is recorded has it, if one is.

    Raises TopicMissingError, TopologyError, InternalTopicError, TopologyChangedError or
    PartitionsChangedError; nothing existing is changed.
    """
    read, written = external_topics(topology)
    counts = admin.partitions(read)
    if config.dead_letter_topic:
        written.append(config.dead_letter_topic)
    admin.partitions(written)
    planned = partitions(topology, counts, layout)
    wanted = _internal_topics(planned, config)
    existing = _existing(admin, list(wanted))
    for name, count in existing.items():
        _check(name, count, planned, topology)
    delete_retention_ms = check_retention(planned, existing, config=config, admin=admin)
    missing = [spec for name, spec in wanted.items() if name not in existing]
    admin.create(missing)
    for name, count in admin.partitions([spec.name for spec in missing]).items():
        _check(name, count, planned, topology)
    created = [spec.name for spec in missing]
    warn_of_new_stores(topology, planned, created=created, admin=admin)
    return Prepared(planned, delete_retention_ms)


def written_topics(topology: Topology, planned: Partitions, config: Config) -> list[str]:
    """All topics that a worker may write to."""
    _read, written = external_topics(topology)
    dead_letters = [config.dead_letter_topic] if config.dead_letter_topic else []
    return list(dict.fromkeys((*written, *dead_letters, *planned.internal)))


def _internal_topics(planned: Partitions, config: Config) -> dict[str, TopicSpec]:
    specs = {
        name: changelog_spec(name, count, config) for name, count in planned.changelogs.items()
    }
    for name, count in planned.repartition.items():
        specs[name] = repartition_spec(name, count, config)
    return specs


def _existing(admin: Admin, names: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        try:
            found |= admin.partitions([name])
        except TopicMissingError:
            continue
    return found


def _check(name: str, count: int, planned: Partitions, topology: Topology) -> None:
    wanted = planned.internal[name]
    if count == wanted:
        return
    read, _written = external_topics(topology)
    inputs = ", ".join(f"{topic} has {planned.sources[topic]}" for topic in read)
    raise InternalTopicError(
        f"{name} has {count} partitions, but this application needs {wanted} ({inputs})",
        hint="the input was given more partitions after the state was built: state of a key would"
        " be looked for in the wrong task. Where a topic of the application's own is between them,"
        f' fix the width of that in the code, .repartition("name", partitions={count}); else bring'
        f" the input back to {count} partitions by a new topic, or begin anew under another"
        " application id; nothing was changed",
    )


def check_unchanged(planned: Partitions, topology: Topology, counts: Mapping[str, int]) -> None:
    """Raise PartitionsChangedError if an input topic was given other partitions meanwhile."""
    read, _written = external_topics(topology)
    keeps = bool(planned.internal)
    for topic in read:
        if counts[topic] != planned.sources[topic]:
            raise PartitionsChangedError(
                f"{topic} now has {counts[topic]} partitions; this application runs with"
                f" {planned.sources[topic]}",
                hint=_GROWN_WITH_STATE if keeps else _GROWN_WITHOUT_STATE,
            )
