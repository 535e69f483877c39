"""Whether a repartition can be reverted: told all the time, from what is on record and the starts
of the changelogs that a fold back would copy.

A revert is a repartition from the layout that holds to one with the former numbers of tasks. It
copies what there is now, so nothing that was processed since is lost. Topics that have grown stay
as wide, and what is routed stays so: a way back from there is routed as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from streamer.config import Config
from streamer.control.current import current_layout
from streamer.control.operations import OperationRecord
from streamer.errors import OperationRefusedError
from streamer.ids import FIRST_LAYOUT, Layout, TopicPartition
from streamer.kafka.admin import Admin
from streamer.layout import Mode
from streamer.operations.books import REPARTITION, Books
from streamer.operations.repartition.modes import modes_back
from streamer.operations.repartition.request import Asked, read_request

__all__ = ["WayBack", "look_back", "taken_over_back", "trimmed", "way_back"]


@dataclass(frozen=True, slots=True)
class WayBack:
    """`tasks` are those of the former layout, by subtopology. `why_not` is "" where the operation
    can be reverted, by these `modes`; else `hint` says what to do instead. `taken_over` are the
    topics that would be read by way of the application's own from then on."""

    operation: str
    tasks: Mapping[int, int]
    why_not: str = ""
    hint: str = ""
    modes: Mapping[int, Mode] = field(default_factory=dict)
    taken_over: Sequence[str] = ()

    @property
    def wanted(self) -> str:
        """The same, as `streamer repartition plan` is given it."""
        return " ".join(f"{number}={count}" for number, count in sorted(self.tasks.items()))


def look_back(config: Config, record: OperationRecord, books: Books) -> WayBack:
    """As things are now. Raises KafkaUnavailableError, and ConfigError for a right that is
    missing."""
    admin = Admin(config)
    layout = current_layout(config, admin)
    back = way_back(record, books, FIRST_LAYOUT if layout is None else layout.number)
    if back.why_not:
        return back
    if config.snapshot_repository:
        # What was trimmed is in a snapshot; the plan says where it is not.
        return back
    why_not = trimmed(admin.starts(_targets(read_request(record.request))))
    hint = "name the repository that has their snapshots: --set snapshot_repository=..."
    return replace(back, why_not=why_not, hint=hint if why_not else "")


def way_back(record: OperationRecord, books: Books, layout: Layout) -> WayBack:
    """As the records say, with this `layout` recorded: all but the changelogs."""
    if record.kind != REPARTITION:
        raise OperationRefusedError(
            f"operation {record.id} is no repartition: {record.kind}",
            hint="streamer operations list has all of them",
        )
    asked = read_request(record.request)
    tasks = asked.former_tasks
    again = WayBack(record.id, tasks).wanted
    by_plan = f"another one brings the numbers of tasks back: streamer repartition plan {again}"
    if record.state == "planned":
        return WayBack(record.id, tasks, "it has not begun", "there is nothing to take back")
    if record.state == "cancelled":
        return WayBack(
            record.id, tasks, "it was cancelled", "streamer show layout tells what holds"
        )
    if record.state != "done":
        return WayBack(
            record.id,
            tasks,
            "it is not finished",
            f"before the switch: streamer repartition cancel {record.id}; after it, finish it"
            f" first: streamer operations resume {record.id}",
        )
    if layout != asked.after.number:
        return WayBack(record.id, tasks, f"layout {layout} was recorded after it", by_plan)
    if completion := books.completed_by(record.id):
        return WayBack(record.id, tasks, f"{completion} has completed it", by_plan)
    if asked.one_way:
        return WayBack(record.id, tasks, asked.one_way, _REFUSED)
    return WayBack(record.id, tasks, modes=_modes(asked), taken_over=taken_over_back(asked))


def _modes(asked: Asked) -> dict[int, Mode]:
    """In which modes what was asked for is reverted."""
    return modes_back(asked.before.layout, asked.after.layout, asked.moved)


def taken_over_back(asked: Asked) -> tuple[str, ...]:
    """The topics of others that are routed only by the way back."""
    after = asked.after.layout.subtopologies
    found = (
        topic
        for number, mode in _modes(asked).items()
        if mode == "routed" and after[number].mode != "routed"
        for topic in after[number].external
    )
    return tuple(sorted(found))


def trimmed(
    starts: Mapping[TopicPartition, int], begins: Mapping[TopicPartition, int] | None = None
) -> str:
    """Why changelogs that start here cannot be copied from where feeds are to begin (from 0, where
    nothing is said); "" where they can."""
    cut = {place: start for place, start in starts.items() if start > (begins or {}).get(place, 0)}
    if not cut:
        return ""
    place, start = min(cut.items())
    return (
        f"{len(cut)} changelog partitions do not reach back to where they are to be copied from:"
        f" {place} begins at {start}"
    )


_REFUSED = "so is each repartition to the former numbers of tasks"


def _targets(asked: Asked) -> list[TopicPartition]:
    """The changelog partitions that a fold back would copy."""
    return [
        TopicPartition(topic, partition)
        for topic, width in asked.changelogs.items()
        for partition in range(width)
    ]
