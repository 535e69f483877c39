"""`World`: changelogs, control records and the repository of one application, looked at together.

world.look(world.tasks())   all tasks that have state
world.look([TaskId(0, 3)])  one of them, as before each deletion
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress

from streamer.errors import InternalTopicError, RepositoryError, SnapshotError
from streamer.ids import TaskId, TopicPartition
from streamer.layout import ApplicationLayout
from streamer.operations.trim.copies import busy_of, cluster_of
from streamer.operations.trim.facts import Cluster, Log, Rules, Seen, ShelfSeen, Unknown
from streamer.operations.trim.ports import Control, Logs, Told
from streamer.operations.trim.shelves import not_known, read_shelf
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import each

__all__ = ["Tells", "World"]

Tells = Callable[[int, int], None]

_CHANGELOG = re.compile(r"-changelog(\.layout-[0-9]+)?$")
_NOT_SET = ShelfSeen(
    unknown=Unknown(
        "the repository",
        "snapshot_repository is not set: nothing is known of any snapshot",
        "set it to where the snapshots are, as the workers have it",
    )
)


class World:
    """What a trim looks at and changes. Used by one thread. `wall_ms` is this host's time."""

    def __init__(
        self,
        application: str,
        *,
        logs: Logs,
        control: Control,
        repository: Repository | None,
        rules: Rules,
        wall_ms: Callable[[], int],
    ) -> None:
        self.application = application
        self.logs = logs
        self.rules = rules
        self._control = control
        self._repository = repository
        self._wall_ms = wall_ms
        self._layout: ApplicationLayout | None = None

    @property
    def repository(self) -> Repository:
        """Where snapshots are held. Raises RepositoryError where none is set."""
        if self._repository is None:
            raise RepositoryError(
                "snapshot_repository is not set",
                hint="set it to where the snapshots are, as the workers have it",
            )
        return self._repository

    def shelf(self, task: TaskId) -> Shelf:
        """A task's snapshots, of the layout that its state was built for."""
        since = self._current().since(task.subtopology)
        return self.repository.shelf(self.application, task, since)

    def wall_ms(self) -> int:
        return self._wall_ms()

    def _current(self) -> ApplicationLayout:
        """The layout as it was told last."""
        return self._told().layout if self._layout is None else self._layout

    def _told(self) -> Told:
        told = self._control.read()
        self._layout = told.layout
        return told

    def look(self, tasks: Collection[TaskId], tells: Tells = lambda _done, _total: None) -> Seen:
        """Everything that decides how far the changelogs of these tasks may be trimmed; `tells` is
        told how many tasks' snapshots are read, by any thread.

        The control records are read last: a copy that is begun meanwhile is not missed. Raises
        KafkaUnavailableError and InternalTopicError; a repository that does not answer is told as
        not known.
        """
        before = self._current()
        shelves, otherwise = self._shelves(tasks, tells)
        existing = self.logs.topics()
        told = self._told()
        if told.layout != before:
            raise InternalTopicError(
                f"layout {told.layout.number} was recorded meanwhile, after {before.number}",
                hint="look again: it has other changelogs. Nothing was changed",
            )
        cluster = cluster_of(
            self.application,
            told.assignments,
            told.statuses,
            refused=told.refused,
            layout=told.layout,
        )
        wanted = set(tasks)
        places, doubts = self._places(cluster, shelves, existing)
        unknown = {task: (*cluster.unknown.get(task, ()), *doubts.get(task, ())) for task in wanted}
        seen = Cluster(cluster.copies, unknown, cluster.unknown_of_all)
        busy = busy_of(wanted, told.books, told.orders, refused={})
        logs = self._logs_of({task: places.get(task, set()) for task in wanted})
        known = {task: shelves.get(task, otherwise) for task in wanted}
        return Seen(logs, seen, known, busy)

    def tasks(self, partitions: Collection[int] = ()) -> list[TaskId]:
        """All tasks that have state, or those of these partitions."""
        told = self._told()
        cluster = cluster_of(
            self.application, told.assignments, told.statuses, refused={}, layout=told.layout
        )
        known = {
            task
            for task, copies in cluster.copies.items()
            if any(copy.positions for copy in copies)
        }
        if self._repository is not None:
            # Where it does not answer, `look` says so.
            with suppress(RepositoryError, SnapshotError):
                shelves = self._repository.shelves(self.application)
                # Shelves of other layouts are of other changelogs, which nobody reads any more.
                known |= {
                    shelf.task
                    for shelf in shelves
                    if shelf.layout == told.layout.since(shelf.task.subtopology)
                }
        return sorted(task for task in known if not partitions or task.partition in partitions)

    def strangers(self, seen: Seen) -> list[TopicPartition]:
        """Partitions of topics that are called as changelogs of the application are, of which
        neither a status nor a snapshot tells: another application's, or of an older release."""
        known = {place for places in seen.logs.values() for place in places}
        prefix = f"{self.application}-"
        return sorted(
            place
            for topic, count in self.logs.topics().items()
            if topic.startswith(prefix) and _is_changelog(topic)
            for place in (TopicPartition(topic, number) for number in range(count))
            if place not in known
        )

    # -- the repository --------------------------------------------------------------------------

    def _shelves(
        self, tasks: Collection[TaskId], tells: Tells
    ) -> tuple[dict[TaskId, ShelfSeen], ShelfSeen]:
        """What is known of tasks with snapshots, and of all others."""
        repository = self._repository
        if repository is None:
            return {}, _NOT_SET
        try:
            now_ms = repository.now_ms()
        except (RepositoryError, SnapshotError) as error:
            return {}, not_known(repository.address, error)
        wall_ms = self._wall_ms()
        found: dict[TaskId, ShelfSeen] = {}

        def read(task: TaskId) -> None:
            shelf = self.shelf(task)
            found[task] = read_shelf(repository, shelf, now_ms=now_ms, wall_ms=wall_ms)
            tells(len(found), len(tasks))

        each(sorted(set(tasks)), read, parallel=repository.transfers.parallel)
        return found, ShelfSeen()

    # -- which changelogs ------------------------------------------------------------------------

    def _places(
        self,
        cluster: Cluster,
        shelves: Mapping[TaskId, ShelfSeen],
        existing: Mapping[str, int],
    ) -> tuple[dict[TaskId, set[TopicPartition]], dict[TaskId, tuple[Unknown, ...]]]:
        """The changelog partitions of each task that exist, and where two tasks tell of one. Whose
        it is, a disk knows best: subtopologies may have been renumbered since a snapshot."""
        owners: dict[TopicPartition, set[TaskId]] = defaultdict(set)
        for task, copies in cluster.copies.items():
            for copy in copies:
                for place in copy.positions:
                    owners[place].add(task)
        told = set(owners)
        for task, place in _of_snapshots(shelves):
            if place not in told and self._is_own(task, place):
                owners[place].add(task)
        found: dict[TaskId, set[TopicPartition]] = defaultdict(set)
        doubts: dict[TaskId, tuple[Unknown, ...]] = defaultdict(tuple)
        for place, tasks in owners.items():
            if place.partition >= existing.get(place.topic, 0):
                continue
            for task in tasks:
                found[task].add(place)
                if len(tasks) > 1:
                    named = ", ".join(str(one) for one in sorted(tasks))
                    doubts[task] += (
                        Unknown(
                            f"tasks {named}",
                            f"each of them tells of {place}: the topology was changed",
                            "the workers that tell of the former one are forgotten after 7 days",
                        ),
                    )
        return found, doubts

    def _is_own(self, task: TaskId, place: TopicPartition) -> bool:
        named = place.topic.startswith(f"{self.application}-") and _is_changelog(place.topic)
        return named and place.partition == task.partition

    def _logs_of(
        self, places: Mapping[TaskId, Iterable[TopicPartition]]
    ) -> dict[TaskId, dict[TopicPartition, Log]]:
        every = sorted({place for each_of in places.values() for place in each_of})
        topics = sorted({place.topic for place in every})
        if not every:
            return {task: {} for task in places}
        settings = self.logs.topic_settings(topics)
        ids = self.logs.topic_ids(topics)
        starts = self.logs.starts(every)
        ends = self.logs.ends(every, "read_uncommitted")
        return {
            task: {
                place: Log(
                    starts[place],
                    ends[place],
                    ids.get(place.topic, ""),
                    settings.get(place.topic, {}),
                )
                for place in sorted(own)
            }
            for task, own in places.items()
        }


def _is_changelog(topic: str) -> bool:
    """Whether it is called as changelogs are, of whatever layout."""
    return _CHANGELOG.search(topic) is not None


def _of_snapshots(
    shelves: Mapping[TaskId, ShelfSeen],
) -> Iterator[tuple[TaskId, TopicPartition]]:
    for task, shelf in shelves.items():
        for snapshot in shelf.snapshots:
            for place in snapshot.positions:
                yield task, place
