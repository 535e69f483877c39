"""What a completion would delete, looked up before it is asked for: names, sizes, snapshots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_layout
from streamer.control.operations import OperationRecord
from streamer.control.orders import FORMAT, FormerOrder
from streamer.errors import (
    ConfigError,
    OperationRefusedError,
    RepositoryError,
    SnapshotError,
)
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.layout import ApplicationLayout
from streamer.operations.books import COMPLETION, Books
from streamer.operations.completion.request import Asked, parts_of
from streamer.operations.repartition.request import read_request
from streamer.operations.trim.sizes import sampled_sizes
from streamer.snapshot.opening import open_repository

__all__ = ["Survey", "asked_of", "survey"]


@dataclass(frozen=True, slots=True)
class Survey:
    """`topics` has their partitions, `sizes` about how many bytes are in each, without those that
    nothing could be read of; `disks` the bytes on workers' disks; `shelves` how many snapshots
    stay, by where they lie. `unseen` says why snapshots are not known."""

    asked: Asked
    topics: Mapping[str, int]
    sizes: Mapping[str, int]
    disks: Mapping[str, int]
    shelves: Mapping[str, int] = field(default_factory=dict)
    unseen: str = ""


def asked_of(
    application: str,
    books: Books,
    layout: ApplicationLayout,
    *,
    operations: Sequence[str] = (),
    despite: Sequence[str] = (),
) -> Asked:
    """The request for these repartitions; for all that are done and not completed, where none is
    named. Raises OperationRefusedError where there is none, or a named one is not such."""
    found = {one.id: one for one in books.uncompleted() if _has_switched(one, layout)}
    for each in operations:
        if each not in found:
            record = books.operation(each)
            by = books.completed_by(each)
            why = f"{by} has completed it" if by else f"it is {record.kind}, {record.state}"
            raise OperationRefusedError(
                f"there is nothing to complete of operation {each}: {why}",
                hint="a repartition is completed once it is done: streamer operations list",
            )
    chosen = [one for one in found.values() if not operations or one.id in operations]
    if not chosen:
        raise _nothing_left(books)
    return Asked(
        application=application,
        layout=layout.number,
        operations=tuple(one.id for one in chosen),
        parts=tuple(part for one in chosen for part in parts_of(one, layout, of=application)),
        despite=tuple(sorted(despite)),
    )


def _has_switched(record: OperationRecord, layout: ApplicationLayout) -> bool:
    """One that was given up may not have come so far. Where another one has moved the same after
    it, both name the same."""
    if record.state == "done":
        return True
    asked = read_request(record.request)
    return all(layout.since(number) >= asked.after.number for number in asked.moved)


def _nothing_left(books: Books) -> OperationRefusedError:
    begun = [
        one.id
        for one in books.operations.values()
        if one.kind == COMPLETION and one.has_begun and not one.is_finished
    ]
    if begun:
        return OperationRefusedError(
            f"{begun[0]} has begun to delete what was left, and is not finished",
            hint=f"finish it: streamer operations resume {begun[0]}",
        )
    return OperationRefusedError(
        "there is no repartition that is done and not completed",
        hint="streamer show layout tells what holds, streamer operations list what was done",
    )


def survey(
    config: Config, books: Books, operations: Sequence[str], *, despite: Sequence[str] = ()
) -> Survey:
    """As things are now. Raises as `asked_of`."""
    admin = Admin(config)
    layout = current_layout(config, admin) or ApplicationLayout()
    asked = asked_of(config.application_id, books, layout, operations=operations, despite=despite)
    there = admin.topics()
    topics = {topic: there[topic] for topic in asked.topics if topic in there}
    sizes = _sizes(config, admin, topics)
    disks = _disks(config, asked)
    shelves, unseen = _shelves(config, asked)
    asked = replace(asked, bytes=sum(sizes.values()), disk_bytes=sum(disks.values()))
    return Survey(asked, topics, sizes, disks, shelves, unseen)


def _sizes(config: Config, admin: Admin, topics: Mapping[str, int]) -> dict[str, int]:
    places = [
        TopicPartition(topic, number) for topic, width in topics.items() for number in range(width)
    ]
    starts, ends = admin.starts(places), admin.ends(places)
    stretches = {
        place: (starts[place], ends[place]) for place in places if ends[place] > starts[place]
    }
    found: dict[str, int] = {
        topic: 0 for topic in topics if not any(place.topic == topic for place in stretches)
    }
    for place, size in sampled_sizes(config, stretches).items():
        found[place.topic] = found.get(place.topic, 0) + size
    return found


def _disks(config: Config, asked: Asked) -> dict[str, int]:
    order = FormerOrder(format=FORMAT, operation="", left=asked.left)
    with Control(config, reads_assignments=False) as control:
        statuses = control.statuses()
    sizes = {
        worker: sum(size for name, size in one.former.items() if order.names(name))
        for worker, one in sorted(statuses.items())
    }
    return {worker: size for worker, size in sizes.items() if size}


def _shelves(config: Config, asked: Asked) -> tuple[dict[str, int], str]:
    """The snapshots of these layouts, and why they are not known."""
    if not config.snapshot_repository:
        return {}, "no snapshot_repository is set"
    found: dict[str, int] = defaultdict(int)
    try:
        repository = open_repository(config, config.snapshot_repository)
        try:
            for shelf in repository.shelves(asked.application):
                layouts = asked.left.get(str(shelf.task.subtopology), ())
                if shelf.layout in layouts:
                    found[f"{repository.address}: {shelf.root}"] = len(shelf.entries())
        finally:
            repository.close()
    except (ConfigError, RepositoryError, SnapshotError) as error:
        return {}, error.message
    return dict(found), ""
