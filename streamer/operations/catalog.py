"""The kinds of operations of this release, in one place: what can be resumed from anywhere."""

from __future__ import annotations

from streamer.operations.kinds import Kinds
from streamer.operations.rebuild import Rebuild
from streamer.operations.rebuild_world import KafkaWorld
from streamer.operations.snapshot import Snapshot
from streamer.operations.trim.kind import Trim

__all__ = ["all_kinds"]


def all_kinds() -> Kinds:
    """What the command line and workers can carry out. A kind is added here with its module."""
    return Kinds([Snapshot(), Rebuild(KafkaWorld), Trim()])
