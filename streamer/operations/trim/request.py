"""What a trim was asked to do: how far to cut which log, and on which snapshots that rests.

A running application moves on all the time, so the numbers are chosen once, by a survey, and stand
in the request. A plan is made of them where the world still allows all of it, and is the same
plan each time; where it does not, what is in the way is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from streamer.errors import OperationRefusedError, StreamerError
from streamer.ids import TaskId, TopicPartition
from streamer.operations.trim.shelves import HOLD_PREFIX

__all__ = ["PARTITIONS_MAX", "Asked", "read_request"]

# The record of the operation, which has these twice, must fit into its topic.
PARTITIONS_MAX = 1_000


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`cut` has by task and topic where the log began and where it is to begin; `snapshots` are the
    stems that justify it, by task. `lost` are ids of snapshots that are of no use afterwards.
    `bytes` and `freed` are estimates: of all that goes, and of the files that go with it. `scope`
    says what was looked at, "" for all: the newest plan of a scope replaces older ones."""

    cut: dict[str, dict[str, tuple[int, int]]]
    snapshots: dict[str, tuple[str, ...]]
    lost: tuple[str, ...] = ()
    bytes: int = 0
    freed: int = 0
    scope: str = ""

    @property
    def tasks(self) -> list[TaskId]:
        return sorted(TaskId.parse(task) for task in self.cut)

    def cuts(self, task: TaskId) -> dict[TopicPartition, tuple[int, int]]:
        """Of one task: where each log began, and where it is to begin."""
        found = self.cut.get(str(task), {})
        return {TopicPartition(topic, task.partition): ends for topic, ends in found.items()}

    def cuts_of(self, place: TopicPartition) -> tuple[int, int]:
        """Where this log began, and where it is to begin."""
        return next(
            logs[place.topic]
            for task, logs in self.cut.items()
            if TaskId.parse(task).partition == place.partition and place.topic in logs
        )

    @property
    def records(self) -> int:
        """Offsets that go; compaction may have left fewer records."""
        return sum(to - start for logs in self.cut.values() for start, to in logs.values())

    @property
    def partitions(self) -> int:
        return sum(len(logs) for logs in self.cut.values())

    @property
    def mark(self) -> str:
        """Names what this trim leaves in the repository; the same for the same request."""
        encoded = msgspec.json.encode((self.cut, self.snapshots), order="deterministic")
        return HOLD_PREFIX + sha256(encoded).hexdigest()[:24]


def read_request(request: Mapping[str, Any]) -> Asked:
    """Raises OperationRefusedError for what is no request of a trim."""
    try:
        asked = msgspec.convert(dict(request), Asked)
        for task, logs in asked.cut.items():
            TaskId.parse(task)
            if any(not 0 <= start < to for start, to in logs.values()):
                raise OperationRefusedError(f"{task} is to be cut backwards: {logs}")
    except (msgspec.ValidationError, StreamerError) as error:
        raise OperationRefusedError(
            f"this is no request of a trim: {error}",
            hint="make one with `streamer trim plan`",
        ) from error
    if not asked.partitions or asked.partitions > PARTITIONS_MAX:
        raise OperationRefusedError(
            f"{asked.partitions} partitions are to be trimmed; 1 to {PARTITIONS_MAX:,} can be",
            hint="make a plan with `streamer trim plan`, of some stores or partitions",
        )
    return asked
