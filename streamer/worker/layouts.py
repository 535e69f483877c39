"""The layout that a worker is to run, before it looks at any topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from streamer.config import Config
from streamer.control.current import current_record
from streamer.control.layouts import LayoutRecord
from streamer.errors import InternalTopicError
from streamer.ids import changelog_topic
from streamer.kafka.admin import Admin
from streamer.layout import ApplicationLayout
from streamer.topology.graph import Topology

__all__ = ["check_record", "recorded_layout"]


class Topics(Protocol):
    def topics(self) -> Mapping[str, int]: ...


def recorded_layout(topology: Topology, config: Config, admin: Admin) -> LayoutRecord | None:
    """What is recorded, None for nothing: then layout 1 holds.

    Raises InternalTopicError for a record that cannot be read, and where there is none although
    topics tell of a later layout.
    """
    found = current_record(config, admin)
    check_record(topology, None if found is None else found.layout, admin)
    return found


def check_record(topology: Topology, found: ApplicationLayout | None, admin: Topics) -> None:
    """Raise InternalTopicError where the application could not go on with the state it has."""
    if found is None:
        _check_never_recorded(topology, admin)


def _check_never_recorded(topology: Topology, admin: Topics) -> None:
    """State of a later layout is there: who took the record out would have old state go on."""
    marks = [
        f"{changelog_topic(topology.application_id, one.name)}.layout-" for one in topology.stores
    ]
    if not marks:
        return
    later = sorted(
        topic
        for topic in admin.topics()
        if any(topic.startswith(mark) and topic[len(mark) :].isdecimal() for mark in marks)
    )
    if later:
        raise InternalTopicError(
            f"no layout is recorded, but {', '.join(later)} are of a later one",
            hint=f"somebody has deleted {topology.application_id}.layout or what was in it. Without"
            " it the state of layout 1 would go on where it once ended: docs/operations.md says how"
            " to bring the record back. Nothing was changed",
        )
