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
from streamer.operations.repartition.modes import modes_back, routed_back
from streamer.operations.repartition.request import Asked, read_request

__all__ = ["WayBack", "look_back", "trimmed", "way_back"]


@dataclass(frozen=True, slots=True)
class WayBack:
    """`tasks` are those of the former layout, by subtopology. `why_not` is "" where the operation
    can be reverted, by these `modes`; else `hint` says what to do instead. `routed` are the topics
    of others that would be read by way of the application's own from then on. Where it
    `waits_for_strays`, it is refused so long as some are expected."""

    operation: str
    tasks: Mapping[int, int]
    why_not: str = ""
    hint: str = ""
    modes: Mapping[int, Mode] = field(default_factory=dict)
    routed: Sequence[str] = ()
    waits_for_strays: bool = False


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
    by_plan = f"another one brings the numbers of tasks back: {_plans(asked)}"
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
    before, after = asked.before.layout, asked.after.layout
    by = modes_back(before, after, asked.moved)
    if asked.one_way:
        if all(after.task_count(number) == count for number, count in tasks.items()):
            return WayBack(record.id, tasks, asked.one_way, "so nothing has to be reverted")
        # Former releases knew no way back by this mode, and plans of theirs say that there is none.
        maybe = f"a plan tells whether another one can: {_plans(asked)}"
        hint = maybe if "routed" in by.values() else _REFUSED
        return WayBack(record.id, tasks, asked.one_way, hint)
    newly = routed_back(before, after, asked.moved)
    return WayBack(
        record.id,
        tasks,
        modes=by,
        routed=tuple(topic for topics in newly.values() for topic in topics),
        waits_for_strays=any(after.subtopologies[each].mode == "grow" for each in asked.moved),
    )


def _plans(asked: Asked) -> str:
    """The commands that plan the former numbers of tasks."""
    newly = routed_back(asked.before.layout, asked.after.layout, asked.moved)
    wanted: dict[str, list[str]] = {}
    for number, count in sorted(asked.former_tasks.items()):
        wanted.setdefault(" --mode routed" * (number in newly), []).append(f"{number}={count}")
    commands = [f"streamer repartition plan {' '.join(w)}{mode}" for mode, w in wanted.items()]
    return ", then ".join(commands)


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
