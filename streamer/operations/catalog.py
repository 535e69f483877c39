"""The kinds of operations of this release, in one place: what can be resumed from anywhere."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from streamer.operations.completion.kind import Completion
from streamer.operations.kinds import Kinds
from streamer.operations.rebuild import Rebuild
from streamer.operations.rebuild_world import KafkaWorld as KafkaOrders
from streamer.operations.repartition.kind import Repartition
from streamer.operations.repartition.world import KafkaWorld
from streamer.operations.replay.kind import Replay
from streamer.operations.snapshot import Snapshot
from streamer.operations.trim.kind import Trim

if TYPE_CHECKING:
    from streamer.control.operations import OperationRecord
    from streamer.operations.repartition.code import Code

__all__ = ["all_kinds", "is_left_to_workers"]

# What these steps do after their first look is done by workers, by orders that stand in Kafka:
# whoever carries the operation out only looks, and a thread of a process that waits will do.
_WATCHED = {
    "snapshot": {"wait"},
    "rebuild": {"export", "warm"},
    "repartition": {"settle"},
    "replay": {"replay", "settle"},
}


def all_kinds(code: Code | None = None) -> Kinds:
    """What the command line and workers can carry out. A kind is added here with its module.
    `code` is the application's, where that is at hand."""
    world = partial(KafkaWorld, code=code)
    repartition, replay = Repartition(world), Replay(world)
    return Kinds([Snapshot(), Rebuild(KafkaOrders), Trim(), repartition, Completion(), replay])


def is_left_to_workers(record: OperationRecord) -> bool:
    """Whether the step that is under way is done by workers, and only watched by its process."""
    watched = _WATCHED.get(record.kind, set())
    active = [step.id for step in record.steps if step.state == "running"]
    return record.state == "running" and bool(active) and watched.issuperset(active)
