"""`ActiveTask`: a task that processes. Its database, its pipeline and its positions move together.

    take records -> process -> (flush, changes) -> [transaction] -> store
                            \\-> abort: everything since the last commit is forgotten

The positions of `committed` are those of the last commit; those of `positions` follow the records
that went through the pipeline. Only `streamer.task.commit` moves the one to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from streamer.changelog.format import Positions
from streamer.engine.closing import Room
from streamer.engine.pipeline import Changes, Pipeline
from streamer.errors import StreamerError
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import Committed
from streamer.record import RawBatch
from streamer.store.closing import Closing, Passed
from streamer.store.rocks import TaskDatabase
from streamer.task.crossing import Crossing
from streamer.task.input import TaskInput
from streamer.task.lifecycle import TaskState, checked_move
from streamer.task.metadata import Metadata, input_mark, marks, store_mark

__all__ = ["ActiveTask", "committed_by"]

_Known = TypeVar("_Known")
_NONE_PASSED: Mapping[str, Passed] = {}


class ActiveTask:
    """One task with its state. Used by the worker's main thread."""

    def __init__(
        self,
        task: TaskId,
        *,
        database: TaskDatabase,
        changelogs: Mapping[str, TopicPartition],
        partitions: tuple[TopicPartition, ...],
    ) -> None:
        self.task = task
        self.database = database
        self.changelogs = changelogs
        self.partitions = partitions
        self.state = TaskState.CREATED
        self.failure: StreamerError | None = None
        self.positions: dict[TopicPartition, int] = {}
        self.committed: dict[TopicPartition, int] = {}
        self.changelog_ends: dict[str, int] = {}
        self.durable: dict[str, int] = {}
        """The positions in its changelogs, by store, that a restart would go on from."""
        self.records_processed = 0
        self.lag_records = 0
        self.committed_time_ms = -1
        self.committed_times: dict[str, int] = {}
        self.committed_closings: dict[str, Closing | None] = {}
        self.refresh_positions = False
        self._pipeline: Pipeline | None = None
        self._input: TaskInput | None = None
        self.crossings: tuple[Crossing, ...] = ()
        """One for each topic that was grown."""
        self.crosses = True
        self._passed = _NONE_PASSED
        self._limits: Callable[[], Mapping[TopicPartition, int]] | None = None
        self._marks = marks((one.topic for one in partitions), database.specs.values())

    # -- life ----------------------------------------------------------------------------------

    def move(self, state: TaskState) -> None:
        self.state = checked_move(self.task, self.state, state)

    def start(
        self,
        pipeline: Pipeline,
        task_input: TaskInput,
        *,
        positions: Mapping[TopicPartition, int],
        changelog_ends: Mapping[str, int],
        crossings: tuple[Crossing, ...] = (),
        passed: Mapping[str, Passed] = _NONE_PASSED,
        limits: Callable[[], Mapping[TopicPartition, int]] | None = None,
    ) -> None:
        """Begin to process at these positions; the state is restored up to them. `passed` is what
        the parents of the task had passed on, by the stores that have some left; `limits` are up
        to where partitions may be processed, where that is for others to say."""
        self.move(TaskState.RUNNING)
        self._limits = limits
        self.crossings = crossings
        self._passed = passed
        self._pipeline = pipeline
        self._input = task_input
        self.positions = dict(positions)
        self.committed = dict(positions)
        self.changelog_ends = dict(changelog_ends)
        self._keep_durable()
        self.committed_time_ms = pipeline.stream_time_ms
        self.committed_times = pipeline.times
        self.committed_closings = pipeline.closings

    def fail(self, error: StreamerError) -> None:
        """Stop processing and keep the reason. Not to be called with a transaction open."""
        self.failure = error
        for crossing in self.crossings:
            crossing.close()
        self.move(TaskState.FAILED)

    def close(self) -> None:
        """Close the database. What was not committed is forgotten."""
        for crossing in self.crossings:
            crossing.close()
        if self._pipeline is not None:
            self._pipeline.close()
        self.database.close()
        self.move(TaskState.CLOSED)

    # -- records -------------------------------------------------------------------------------

    @property
    def pipeline(self) -> Pipeline:
        assert self._pipeline is not None
        return self._pipeline

    @property
    def input(self) -> TaskInput:
        assert self._input is not None
        return self._input

    @property
    def stream_time_ms(self) -> int:
        return -1 if self._pipeline is None else self._pipeline.stream_time_ms

    def add(self, batch: RawBatch) -> None:
        self.input.add(batch)

    def process(self, now_ms: int) -> int:
        """Process what may be processed now; returns how many records that were."""
        count = 0
        if self._limits is not None:
            limits = self._limits()
            own = limits.keys() & set(self.partitions)
            self.input.limit({place: limits[place] for place in own})
        if self.crosses:
            for crossing in self.crossings:
                crossing.turn(self.input, self.positions, now_ms)
        for run in self.input.take(now_ms):
            for part in self._parts(run, now_ms) if self.crossings else (run,):
                self.pipeline.run(part)
            self.positions[TopicPartition(run.topic, run.partition)] = run.position
            count += len(run)
        self.records_processed += count
        for partition, end in self.input.ends().items():
            if end > self.positions[partition]:
                self.positions[partition] = end
        return count

    def _parts(self, run: RawBatch, now_ms: int) -> Iterator[RawBatch]:
        """What is to be processed here of a run, where topics were grown."""
        for crossing in self.crossings:
            if run.topic == crossing.source.topic:
                return crossing.own(run, self.pipeline.policy.lost)
            if run.topic == crossing.strays.topic:
                return crossing.taken_in(run, now_ms)
        return iter((run,))

    @property
    def _has_crossed(self) -> bool:
        """Whether the position of forwarding has moved since the last commit, or the task has begun
        not to expect strays any more."""
        return any(one.is_news for one in self.crossings)

    @property
    def _is_quiet(self) -> bool:
        """Whether it expects no strays any more, and is behind those that it forwarded."""
        return bool(self.crossings) and all(
            one.quiet.is_over and one.has_passed(self.positions) for one in self.crossings
        )

    @property
    def needs_commit(self) -> bool:
        """Whether anything happened since the last commit."""
        return (
            self.positions != self.committed
            or self.refresh_positions
            or self.is_closing
            or self._has_crossed
            or bool(self._pipeline and (self._pipeline.touched or self._pipeline.has_punctuated))
        )

    @property
    def is_closing(self) -> bool:
        """Whether the last commit left results of closed windows to the next."""
        return self._pipeline is not None and self._pipeline.is_closing

    # -- the commit: called by streamer.task.commit, in this order ------------------------------

    def flush(self, room: Room) -> Changes:
        """Pass on what waited for the commit, of closed windows as many as there is room for;
        returns the changes to write."""
        self.pipeline.flush(room)
        return self.pipeline.changes()

    def offsets(self) -> dict[TopicPartition, Committed]:
        """The positions to commit, with the stream times beside them."""
        times, closings = self.pipeline.times, self.pipeline.closings
        metadata = Metadata(
            self.stream_time_ms,
            self._marks,
            self._by_mark(times),
            self._by_mark(closings),
            forwarded={input_mark(one.source.topic): one.forwarded for one in self.crossings},
            stray_ms=max((one.quiet.last_stray_ms for one in self.crossings), default=-1),
            is_quiet=self._is_quiet,
            # For as long as they say anything.
            passed=self._by_mark({s: one for s, one in self._passed.items() if closings.get(s)}),
        ).encode()
        # What a punctuation by the wall clock forwards moves times, but no position.
        is_moved = times != self.committed_times or closings != self.committed_closings
        has_new_times = is_moved and self.positions == self.committed
        has_new_times |= self._has_crossed
        return {
            partition: Committed(position, metadata)
            for partition, position in self.positions.items()
            if self.refresh_positions or has_new_times or position != self.committed.get(partition)
        }

    def _by_mark(self, known: Mapping[str, _Known]) -> dict[str, _Known]:
        specs = self.database.specs
        return {store_mark(store, specs[store].kind): one for store, one in known.items()}

    def store(self, changes: Changes, ends: Mapping[TopicPartition, int], *, now_ms: int) -> None:
        """The transaction has committed: make its changes and positions durable here."""
        for store, changelog in self.changelogs.items():
            if changelog in ends:
                self.changelog_ends[store] = ends[changelog]
        stored = Positions(
            changelogs=self.changelog_ends,
            inputs=self.positions,
            stream_time_ms=self.stream_time_ms,
            times=self.pipeline.times,
            closings=self.pipeline.closings,
            as_of_ms=now_ms,
        )
        # Before the write, which may put an entry back, for a row written with such a time.
        for store, index_keys in self.pipeline.stale_index().items():
            if index_keys:
                self.database.delete_index(store, index_keys)
        self.database.write(changes, stored.encode())
        self._keep_durable()
        self.pipeline.committed(changes)
        self.committed = dict(self.positions)
        self.committed_time_ms = self.stream_time_ms
        self.committed_times = self.pipeline.times
        self.committed_closings = self.pipeline.closings
        self.refresh_positions = False
        for crossing in self.crossings:
            crossing.stored()

    def _keep_durable(self) -> None:
        # A store of which nothing was ever kept is read from the begin.
        ends = self.changelog_ends
        self.durable = {store: max(ends.get(store, 0), 0) for store in self.changelogs}

    def abort(self) -> None:
        """Nothing since the last commit happened; the consumer is to go back to `committed`."""
        if self._pipeline is not None:
            self.pipeline.abort()
            self.input.clear()
            for crossing in self.crossings:
                crossing.abort()
            self.positions = dict(self.committed)


def committed_by(tasks: Iterable[ActiveTask]) -> dict[TopicPartition, int]:
    """Where each input partition of these tasks stood at the last commit."""
    return {place: at for task in tasks for place, at in task.committed.items()}
