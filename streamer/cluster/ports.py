"""A controller's way to Kafka: what `Term` asks for, done with real clients.

One transactional producer writes all assignments, so that a later controller makes an earlier one
powerless by taking over its id. Fences run in threads of their own: one that has to wait for its
coordinator does not delay the others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar, get_args

from msgspec.structs import replace

from streamer import failpoints, metrics
from streamer.cluster.events import EndPause, Fence, Fenced, FenceFailed, PauseEnded, Write
from streamer.cluster.salvage import replacements
from streamer.config import Config
from streamer.control.current import current_record, layout_writer
from streamer.control.goals import (
    GoalRecord,
    decode_goal,
    encode_goal,
    former_goals,
    goal_key,
)
from streamer.control.identity import Process
from streamer.control.lifelines import sessions_kept
from streamer.control.messages import (
    AssignmentRecord,
    StatusRecord,
    decode_assignment,
    encode,
)
from streamer.control.proposals import is_page, joined, pages_of
from streamer.control.reading import StatusReader
from streamer.control.requests import (
    Answer,
    PlanRecord,
    ProposalRecord,
    Request,
    decode,
    key_of,
)
from streamer.control.requests import encode as encode_request
from streamer.control.topics import ControlTopics
from streamer.errors import InternalTopicError, KafkaUnavailableError, StreamerError
from streamer.ids import (
    FIRST_LAYOUT,
    Layout,
    TopicPartition,
    control_topic,
    is_worker_id,
    transactional_id,
)
from streamer.kafka.admin import Admin
from streamer.kafka.settings import CONTROLLER_WAIT_MS
from streamer.kafka.table import ExclusiveWriter, Row, TableReader, newest

__all__ = ["KafkaPorts"]

_log = logging.getLogger(__name__)

_POLL_S = 0.05
_READ_S = 30.0
Item = TypeVar("Item")
# A zone that dies takes hundreds of workers along. Each fence is a producer that costs 3 ms of a
# processor's time, and waits for 100 to 300.
_FENCES_AT_ONCE = 32


def _read(
    kind: type[Request | Answer], topic: str, rows: Mapping[str, bytes | None]
) -> Request | Answer | None:
    """A request that cannot be read is no reason to stop working: it is told, and passed over."""
    value = rows.get(key_of(kind))
    try:
        if kind is ProposalRecord:
            return joined(rows, topic)
        return decode(kind, topic, value) if value is not None else None
    except InternalTopicError as error:
        _log.error("a request is passed over: %s", error.describe())
        return None


def _taken(queue: SimpleQueue[Item]) -> list[Item]:
    """All that is in it at this moment."""
    found: list[Item] = []
    with suppress(Empty):
        while True:
            found.append(queue.get_nowait())
    return found


class KafkaPorts:
    """A term's way to Kafka. Used by one thread; fences run in others."""

    def __init__(
        self,
        config: Config,
        topics: ControlTopics,
        admin: Admin,
        *,
        layout: Layout = FIRST_LAYOUT,
    ) -> None:
        """`layout` is the one whose tasks are placed."""
        self._config = config
        self._layout = layout
        self._former: list[str] = []
        """The keys of pieces of former layouts, which are taken back."""
        self._topics = topics
        self._admin = admin
        self._writer = ExclusiveWriter(config, control_topic(config.application_id, "controller"))
        self._places = [*topics.statuses(), topics.operations]
        # One client for both: each costs the brokers a request whenever nothing comes.
        self._reader = TableReader(config, self._places, wait_ms=CONTROLLER_WAIT_MS)
        self._asked: dict[str, bytes | None] = {}
        self._pages: set[str] = set()
        """The keys of the pages of proposals that stand."""
        self._reading = StatusReader()
        self._pool = ThreadPoolExecutor(_FENCES_AT_ONCE, thread_name_prefix="fence")
        self._fences: SimpleQueue[Fenced | FenceFailed] = SimpleQueue()
        self._ended: SimpleQueue[PauseEnded] = SimpleQueue()

    def claim(self) -> None:
        self._writer.claim(_READ_S, topic=self._topics.operations.topic)

    def load(self) -> tuple[Sequence[AssignmentRecord], Sequence[StatusRecord]]:
        assignments: dict[str, AssignmentRecord] = {}
        unreadable: dict[str, Row] = {}
        with TableReader(self._config, self._topics.assignments()) as reader:
            rows = newest(self._read_to_end(reader, self._topics.assignments()))
        for row in rows:
            if row.value is None:
                continue
            try:
                assignments[row.key] = decode_assignment(row.place.topic, row.key, row.value)
            except InternalTopicError as error:
                _log.error("an assignment is taken out, its worker is fenced: %s", error.describe())
                metrics.assignments_refused.inc()
                unreadable[row.key] = row
        heard = newest(self._heard(self._read_to_end(self._reader, self._places)))
        statuses = self._reading.read(heard)
        if unreadable:
            self._replace(unreadable, assignments, statuses)
        return list(assignments.values()), statuses

    def _replace(
        self,
        unreadable: Mapping[str, Row],
        assignments: dict[str, AssignmentRecord],
        statuses: Sequence[StatusRecord],
    ) -> None:
        """Fence the workers of these records first: whatever they were given is free only then.
        Killed in between, the next controller does the same. Raises where one cannot be fenced."""
        name = partial(transactional_id, self._config.application_id)
        # No worker is called otherwise, and none could be fenced by such a name.
        workers = [worker for worker in unreadable if is_worker_id(worker)]
        list(self._pool.map(lambda worker: self._admin.fence(name(worker)), workers))
        values = {worker: row.value or b"" for worker, row in unreadable.items()}
        wall_ms = time.time_ns() // 1_000_000
        found = replacements(values, assignments.values(), statuses, wall_ms=wall_ms)
        rows: list[tuple[TopicPartition, str, bytes | None]] = []
        for worker, one in found.items():
            place, own = unreadable[worker].place, self._topics.assignment(worker)
            if place != own or one is None:
                rows.append((place, worker, None))
            if one is not None:
                rows.append((own, worker, self._encoded(one)))
        self._writer.write(rows)
        assignments |= {worker: one for worker, one in found.items() if one is not None}

    def statuses(self, *, to_end: bool) -> Sequence[StatusRecord]:
        reader = self._reader
        places = self._topics.statuses()
        rows = self._read_to_end(reader, places) if to_end else reader.read(_POLL_S)
        return self._reading.read(self._heard(rows))

    def _encoded(self, record: AssignmentRecord) -> bytes:
        return encode(replace(record, application=self._config.application_id))

    def _heard(self, rows: Sequence[Row]) -> list[Row]:
        """Those of statuses; what is asked for is kept until `requests`."""
        found = {row.key: row.value for row in rows if row.place == self._topics.operations}
        self._asked |= found
        self._pages.update(key for key, value in found.items() if value and is_page(key))
        return [row for row in rows if row.place != self._topics.operations]

    def alive(self, suspects: Set[Process]) -> frozenset[Process] | None:
        try:
            return sessions_kept(self._admin, self._topics, suspects)
        except KafkaUnavailableError as error:
            _log.warning("who lives of the silent is not known at present: %s", error)
            return None

    def fence(self, fence: Fence) -> None:
        self._pool.submit(self._fence, fence)

    def fences(self) -> Sequence[Fenced | FenceFailed]:
        return _taken(self._fences)

    def layout(self) -> int:
        recorded = current_record(self._config, self._admin)
        return FIRST_LAYOUT if recorded is None else recorded.number

    def end_pause(self, asked: EndPause) -> None:
        self._pool.submit(self._end_pause, asked)

    def pauses_ended(self) -> Sequence[PauseEnded]:
        return _taken(self._ended)

    def write(self, written: Write) -> None:
        failpoints.hit("control.before_assignment")
        rows: list[tuple[TopicPartition, str, bytes | None]] = [
            (self._topics.assignment(one.worker), one.worker, self._encoded(one))
            for one in written.records
        ]
        operations, plan = self._topics.operations, written.plan
        rows += [
            (operations, goal_key(at, self._layout), encode_goal(piece))
            for at, piece in written.goal.items()
        ]
        rows += [(operations, key, None) for key in self._former]
        if plan:
            told = encode_request(plan, self._config.application_id)
            rows.append((operations, key_of(PlanRecord), told))
        self._writer.write(rows)
        self._former = []
        failpoints.hit("control.after_assignment")

    def forget(self, workers: Sequence[str]) -> None:
        places = [(self._topics.assignment(worker), worker) for worker in workers]
        places += [(self._topics.status(worker), worker) for worker in workers]
        self._writer.write([(place, worker, None) for place, worker in places])

    def goal(self) -> Mapping[int, GoalRecord] | None:
        self._former = former_goals(self._asked, self._layout)
        try:
            return decode_goal(self._asked, self._topics.operations.topic, self._layout)
        except InternalTopicError as error:
            _log.error("tasks are placed anew, since the goal is lost: %s", error.describe())
            return None

    def requests(self) -> Sequence[Request | Answer]:
        topic, found = self._topics.operations.topic, self._asked
        self._asked = {}
        kinds = (*get_args(Request), *get_args(Answer))
        read = (_read(kind, topic, found) for kind in kinds)
        return [one for one in read if one is not None]

    def tell(self, answer: Answer) -> None:
        application, operations = self._config.application_id, self._topics.operations
        rows: list[tuple[str, bytes | None]]
        if isinstance(answer, ProposalRecord):
            rows = pages_of(answer, application=application, standing=sorted(self._pages))
        else:
            rows = [(key_of(type(answer)), encode_request(answer, application))]
        self._writer.write([(operations, key, value) for key, value in rows])
        if isinstance(answer, ProposalRecord):
            self._pages = {key for key, value in rows if value and is_page(key)}

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._writer.close()
        self._reader.close()

    def _fence(self, fence: Fence) -> None:
        application = self._config.application_id
        outcome: Fenced | FenceFailed = FenceFailed(fence.worker)
        failpoints.hit("control.before_fence")
        try:
            self._admin.fence(transactional_id(application, fence.worker))
            failpoints.hit("control.after_fence")
            outcome = Fenced(fence.worker, fence.incarnations)
            _log.info("worker %s is fenced", fence.worker)
        except StreamerError as error:
            _log.warning("worker %s could not be fenced yet: %s", fence.worker, error)
        finally:
            self._fences.put(outcome)

    def _end_pause(self, asked: EndPause) -> None:
        recorded = None
        try:
            failpoints.hit("control.before_pause_end")
            if asked.fences:
                self._admin.fence(layout_writer(self._config.application_id))
            failpoints.hit("control.after_pause_fence")
            recorded = self.layout()
            _log.info("pause %s ends, layout %d is recorded", asked.number, recorded)
        except StreamerError as error:
            _log.warning("pause %s could not be ended yet: %s", asked.number, error)
        finally:
            self._ended.put(PauseEnded(asked.number, recorded))

    def _read_to_end(self, reader: TableReader, places: Sequence[TopicPartition]) -> list[Row]:
        # The high watermark, not the last stable offset: behind the latter a transaction of the
        # former controller could still be waiting for its markers.
        ends = self._admin.ends(places, "read_uncommitted")
        return reader.read_to(ends, timeout_s=_READ_S)
