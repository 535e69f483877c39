"""The state with which a replay begins, put into the changelogs of who reads again: the rows of
snapshots, and then the positions at which these stand.

Rows are the same however often they are written, and nobody reads them before the positions are
committed: a process that was killed in between begins with the task anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count

from streamer import failpoints
from streamer.changelog.format import Positions
from streamer.changelog.topics import changelog_spec
from streamer.closable import Closable
from streamer.feed.plan import FeedPlan
from streamer.feed.routes import routes
from streamer.feed.seeds import Sowing
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import AbortableError, Committed
from streamer.operations.repartition.ports import World
from streamer.operations.repartition.request import Asked
from streamer.operations.repartition.seeds import SeedRecord
from streamer.operations.replay.beginning import read_by_task
from streamer.operations.work import Work
from streamer.record import RawBatch
from streamer.store.keys import window_parts
from streamer.task.metadata import Metadata, input_mark, store_mark
from streamer.topology.interval import Interval
from streamer.topology.stores import StoreKind

__all__ = ["is_sown", "sow"]

_TRIES = 10
_AGAIN_S = 0.2


def is_sown(world: World, asked: Asked) -> bool:
    """Whether who reads again has all that it begins with."""
    return not _left(world, asked)


def sow(world: World, asked: Asked, work: Work) -> int:
    """Write what is left; the number of rows. Raises as the snapshots' `blocks` and `homes` of
    routes do."""
    stores = [(store, plan) for plan in asked.bases for store in plan.stores]
    topics = {store.target: plan.target.tasks for store, plan in stores}
    work.check()
    world.topics.create([changelog_spec(*one, world.config) for one in topics.items()])
    left, rows = _left(world, asked), 0
    with _Sower(world, asked, work, topics=list(topics)) as sower:
        for plan in asked.bases:
            for task in plan.tasks:
                if left & set(_reads(asked, task)):
                    rows += sower.sow(plan, task)
        # The begin of the input, or where the live tasks were that keep nothing.
        seeded = {place for task in asked.base for place in _reads(asked, TaskId.parse(task))}
        sower.commit(dict.fromkeys(left - seeded, Positions()))
    return rows


class _Sower(Closable):
    """Who has the id that writes them: one that comes later ends this one."""

    def __init__(self, world: World, asked: Asked, work: Work, *, topics: list[str]) -> None:
        self._world = world
        self._asked = asked
        self._work = work
        ports = world.ports
        self._reader = ports.reader(asked.origin)
        self._producer = ports.producer(asked.origin, topics, is_over=ports.stopping.is_set)
        self._rows = 0
        try:
            self._producer.init()
            # Not before: whoever has taken the operation over takes the id over behind this look.
            work.ensure_held()
        except BaseException:
            self.close()
            raise

    def sow(self, plan: FeedPlan, task: TaskId) -> int:
        """The rows of one task, and then its positions."""
        asked, interval = self._asked, self._asked.interval
        if interval is None or all(each.name not in interval.stores for each in plan.stores):
            inside, rows = self._rows_of(plan, task, asked.base[str(task)])
        else:
            now, rows = self._rows_of(
                plan, task, asked.base[str(task)], kept=_outside(interval), every=True
            )
            then, more = Positions(), 0
            if former := asked.former.get(str(task)):
                then, more = self._rows_of(plan, task, former, kept=interval.has, every=False)
            inside, rows = _between(plan, interval, then=then, now=now), rows + more
        failpoints.hit("replay.after_rows")
        self.commit(dict.fromkeys(_reads(asked, task), inside))
        return rows

    def _rows_of(
        self,
        plan: FeedPlan,
        task: TaskId,
        record: SeedRecord,
        *,
        kept: Callable[[int], bool] | None = None,
        every: bool = True,
    ) -> tuple[Positions, int]:
        """Of a snapshot, where it stands and how many. Of stores that are replaced those whose
        windows are `kept`, by their starts; of others all or, without `every`, none."""
        route_of, rows = routes(plan, self._world.specs(self._asked, plan)), 0
        seed = self._world.snapshot(self._asked.application, task, record)
        try:
            inside = seed.inside()
            for store in plan.stores:
                is_replaced = store.name in self._asked.replaced
                if not (every or is_replaced):
                    continue
                place = TopicPartition(store.source, task.partition)
                sowing = Sowing(seed, store.name, place, fed=0)
                while (batch := sowing.next()) is not None:
                    if kept is not None and is_replaced:
                        batch = _those(batch, kept)
                    if not len(batch):
                        self._work.check()
                        continue
                    self._send(store.target, batch, route_of[store.source].homes(batch)[1].tolist())
                    rows += len(batch)
                    self._tell(task, len(batch))
        finally:
            seed.close()
        return inside, rows

    def commit(self, known: Mapping[TopicPartition, Positions]) -> None:
        """Where each is read from, and what its task knew there."""
        begin = {
            place: Committed(self._asked.begin.get(str(place), 0), self._note(place.topic, inside))
            for place, inside in known.items()
        }
        if begin:
            self._written(lambda: self._producer.commit(begin, self._reader.group()))

    def close(self) -> None:
        self._producer.close()
        self._reader.close()

    def _send(self, topic: str, batch: RawBatch, homes: list[int]) -> None:
        def send() -> None:
            self._producer.send(
                topic, batch.keys, batch.values, timestamps=batch.timestamps, partitions=homes
            )
            self._producer.commit({}, self._reader.group())

        self._written(send)

    def _written(self, write: Callable[[], object]) -> None:
        """One transaction, again where it was aborted."""
        for tries in count(1):
            try:
                self._producer.begin()
                write()
                return
            except AbortableError:
                self._producer.abort()
                if tries >= _TRIES:
                    raise
                self._work.check()
                self._world.ports.stopping.wait(_AGAIN_S)

    def _tell(self, task: TaskId, rows: int) -> None:
        self._rows += rows
        self._work.progress(phase=f"rows of the snapshot of {task}", records_done=self._rows)

    def _note(self, topic: str, inside: Positions) -> str:
        layout = self._asked.before.layout
        number = next(n for n, one in layout.subtopologies.items() if topic in one.inputs)
        stores = {
            store.name: store.kind
            for plan in self._asked.feeds
            if plan.subtopology == number
            for store in plan.stores
        }
        marks = {store_mark(name, kind) for name, kind in stores.items()}
        marks |= {input_mark(each) for each in layout.subtopologies[number].external}
        times = {
            store_mark(name, stores[name]): time
            for name, time in inside.times.items()
            if name in stores
        }
        return Metadata(inside.stream_time_ms, frozenset(marks), times).encode()


def _outside(interval: Interval) -> Callable[[int], bool]:
    return lambda start_ms: not interval.has(start_ms)


def _those(batch: RawBatch, kept: Callable[[int], bool]) -> RawBatch:
    """The rows of windows that are kept: their keys begin with when these do."""
    return batch.take([n for n, key in enumerate(batch.keys) if kept(window_parts(key or b"")[0])])


def _between(plan: FeedPlan, interval: Interval, *, then: Positions, now: Positions) -> Positions:
    """What a task knows that computes the interval's windows from where it was `then`, with all
    else as it is `now`: that stands still meanwhile, and so do its times."""
    times = {name: time for name, time in then.times.items() if name in interval.stores}
    for store in plan.stores:
        if (
            store.kind in (StoreKind.WINDOW, StoreKind.SESSION)
            and store.name not in interval.stores
        ):
            times[store.name] = now.times.get(store.name, now.stream_time_ms)
    return replace(then, times=times)


def _reads(asked: Asked, task: TaskId) -> list[TopicPartition]:
    return read_by_task(asked.before.layout, task)


def _left(world: World, asked: Asked) -> set[TopicPartition]:
    """The partitions of which who reads again does not know yet where to begin: that is told for
    the begin as well, so that one which loses it before it was read is a lost position."""
    places = {one for one in asked.input_places if not asked.begin or str(one) in asked.begin}
    return places - world.ports.known(asked.origin, sorted(places)).keys()
