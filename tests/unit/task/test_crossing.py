"""Tasks of a grown topic, put together as a worker does, over logs in memory: in random order of
everything that can happen, each record is processed once, and those of a key in their order."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from streamer.errors import InternalTopicError, ProcessingError
from streamer.ids import TaskId, TopicPartition
from streamer.record import Headers, RawBatch
from streamer.split.homes import Homes
from streamer.strays.carried import HEADER
from streamer.strays.quiet import Quiet
from streamer.strays.wait import Look
from streamer.task.crossing import Crossing
from streamer.task.input import TaskInput
from streamer.topology.partitioner import partition_of
from tests.hurry import examples

TOPIC, STRAYS = "in", "app-in-strays.layout-2"
BEFORE, AFTER = 2, 3
QUIET_MS = 1_000
KEYS = [b"customer-%d" % number for number in range(8)]
Row = tuple[bytes, bytes, list[tuple[str, bytes | None]]]


class Logs:
    """Partitions of both topics; strays become visible when their transaction is committed."""

    def __init__(self) -> None:
        self.of: dict[TopicPartition, list[Row]] = {
            TopicPartition(topic, number): []
            for topic in (TOPIC, STRAYS)
            for number in range(AFTER)
        }
        self.processed: dict[bytes, list[int]] = {key: [] for key in KEYS}
        self.forwarded: dict[int, int] = {}

    def batch(self, place: TopicPartition, start: int, end: int) -> RawBatch:
        rows = self.of[place][start:end]
        headers: Sequence[Headers | None] = [list(row[2]) or None for row in rows]
        return RawBatch(
            place.topic,
            place.partition,
            [row[0] for row in rows],
            [row[1] for row in rows],
            [0] * len(rows),
            range(start, end),
            lambda: headers,
        )

    def look(self) -> Look:
        def ends(topic: str) -> dict[int, int]:
            return {n: len(self.of[TopicPartition(topic, n)]) for n in range(AFTER)}

        return Look(ends(TOPIC), dict(self.forwarded), ends(STRAYS))


class Task:
    """One task with a transaction of its own. `steps` are what may come in any order."""

    def __init__(self, logs: Logs, number: int, *, is_gated: bool = True) -> None:
        self.logs = logs
        self.number = number
        self.now_ms = 0
        self.source, self.strays = TopicPartition(TOPIC, number), TopicPartition(STRAYS, number)
        self.quiet = Quiet.begun(QUIET_MS, noted_ms=-1, is_over=False, now_ms=0)
        self.looks: tuple[int, Look] = 0, Look()
        self.begun = 0
        self.left: list[TopicPartition] = []
        self.crossing = Crossing(
            TaskId(0, number),
            self.source,
            self.strays,
            homes=Homes(AFTER, AFTER),
            forwarded=0,
            quiet=self.quiet,
            ahead=self,
            output=self,
        )
        gated = [self.source] if is_gated else []
        self.input = TaskInput([self.strays, self.source], records_max=100, gated=gated)
        self.committed = {self.source: 0, self.strays: 0}
        self.positions = dict(self.committed)
        self.fetched = dict(self.committed)
        self.sent: list[tuple[int, Row]] = []
        self.done: list[tuple[bytes, int]] = []
        self._pending: Look | None = None

    # -- what a crossing asks for --------------------------------------------------------------

    def read(self, place: TopicPartition, position: int) -> tuple[list[RawBatch], int]:
        end = len(self.logs.of[place])
        return ([self.logs.batch(place, position, end)] if end > position else []), end

    def leave(self, place: TopicPartition) -> None:
        self.left.append(place)

    def asked(self) -> int:
        return self.begun

    def look(self, _topic: str) -> tuple[int, Look]:
        return self.looks

    def send(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *,
        timestamps: Sequence[int],
        headers: Sequence[Headers] | None = None,
        partitions: Sequence[int] | None = None,
    ) -> None:
        assert topic == STRAYS
        assert len(timestamps) == len(keys)
        columns: Any = zip(keys, values, headers or (), strict=True)
        self.sent += zip(partitions or (), columns, strict=True)

    def partition_count(self, _topic: str) -> int:
        return AFTER

    # -- steps ---------------------------------------------------------------------------------

    def fetch(self) -> None:
        for place in (self.source, self.strays):
            start, end = self.fetched[place], len(self.logs.of[place])
            if end > start:
                self.input.add(self.logs.batch(place, start, end))
                self.fetched[place] = end
            self.input.reached_end(place, end)

    def begin_look(self) -> None:
        self.begun += 1
        self._pending = self.logs.look()

    def end_look(self) -> None:
        if self._pending is not None:
            self.looks = self.begun, self._pending

    def lost(self, batch: RawBatch, row: int, error: ProcessingError) -> None:
        raise error

    def process(self) -> None:
        self.crossing.turn(self.input, self.positions, self.now_ms)
        for run in self.input.take(self.now_ms):
            is_own = run.topic == TOPIC
            parts = (
                self.crossing.own(run, self.lost)
                if is_own
                else self.crossing.taken_in(run, self.now_ms)
            )
            for part in parts:
                assert part.topic == TOPIC
                pairs = zip(part.keys, part.values, strict=True)
                self.done += [(key or b"", int(value or b"")) for key, value in pairs]
            self.positions[run.place] = run.position

    def commit(self) -> None:
        for partition, row in self.sent:
            self.logs.of[TopicPartition(STRAYS, partition)].append(row)
        for key, number in self.done:
            self.logs.processed[key].append(number)
        self.sent, self.done = [], []
        self.committed = dict(self.positions)
        self.crossing.stored()
        ahead = max(self.crossing.committed, self.committed[self.source])
        self.logs.forwarded[self.number] = ahead

    def abort(self) -> None:
        self.sent, self.done = [], []
        self.input.clear()
        self.crossing.abort()
        self.positions, self.fetched = dict(self.committed), dict(self.committed)

    def turn(self) -> None:
        for step in (self.fetch, self.process, self.begin_look, self.end_look, self.commit):
            step()


def write(logs: Logs, key: bytes, number: int, believed: int) -> None:
    partition = partition_of(key, believed)
    logs.of[TopicPartition(TOPIC, partition)].append((key, b"%d" % number, []))


def run(seed: int, *, is_gated: bool = True) -> Logs:
    """Each key goes on with the new number of partitions at some time, and every step comes at any
    time. A record is written when the one before it is in its log."""
    chance = Random(seed)
    logs = Logs()
    tasks = [Task(logs, number, is_gated=is_gated) for number in range(AFTER)]
    written = dict.fromkeys(KEYS, 0)
    learns = {key: chance.randrange(12) for key in KEYS}
    for _ in range(600):
        if chance.random() < 0.25:
            key = chance.choice(KEYS)
            if written[key] < 12:
                write(logs, key, written[key], AFTER if written[key] >= learns[key] else BEFORE)
                written[key] += 1
        task = chance.choice(tasks)
        steps = [task.fetch, task.process, task.begin_look, task.end_look, task.commit]
        chance.choice(steps * 5 + [task.abort])()
    for _ in range(20):
        for task in tasks:
            task.turn()
    for key in KEYS:
        assert sorted(logs.processed[key]) == list(range(written[key])), (seed, key)
    return logs


def is_in_order(logs: Logs) -> bool:
    return all(found == sorted(found) for found in logs.processed.values())


@pytest.mark.parametrize("block", range(4))
def test_in_any_order_of_events_keys_keep_theirs(block: int) -> None:
    for seed in range(block * 100, block * 100 + examples(50)):
        assert is_in_order(run(seed)), seed


def test_without_waiting_keys_lose_their_order() -> None:
    """So what is tried above can fail."""
    assert not all(is_in_order(run(seed, is_gated=False)) for seed in range(20))


def test_after_the_quiet_time_nothing_waits_and_late_strays_are_forwarded_once() -> None:
    logs = Logs()
    tasks = [Task(logs, number) for number in range(AFTER)]
    key = next(one for one in KEYS if partition_of(one, BEFORE) != partition_of(one, AFTER))
    home = tasks[partition_of(key, AFTER)]
    finder = tasks[partition_of(key, BEFORE)]

    def settle(now_ms: int) -> None:
        for task in tasks * 4:
            task.now_ms = now_ms
            task.turn()

    write(logs, key, 0, BEFORE)
    settle(QUIET_MS // 2)
    assert home.quiet.last_stray_ms == QUIET_MS // 2
    assert not home.quiet.is_over
    for task in tasks:
        own = next(one for one in KEYS if partition_of(one, AFTER) == task.number and one != key)
        write(logs, own, 0, AFTER)
    settle(2 * QUIET_MS)
    assert [task.quiet.is_over for task in tasks] == [True] * AFTER
    write(logs, key, 1, AFTER)
    home.fetch()
    home.process()
    assert home.done == [(key, 1)]  # without a look
    home.commit()
    write(logs, key, 2, BEFORE)
    settle(3 * QUIET_MS)
    assert logs.processed[key] == [0, 1, 2]
    assert finder.left[-1] == finder.source
    assert len(logs.of[home.strays]) == 2
    assert home.quiet.last_stray_ms == QUIET_MS // 2


def settled(tasks: Sequence[Task], now_ms: int) -> None:
    for task in [*tasks] * 4:
        task.now_ms = now_ms
        task.turn()


def test_where_nothing_comes_it_gets_quiet_all_the_same() -> None:
    """Else its layout could never be left."""
    logs = Logs()
    tasks = [Task(logs, number) for number in range(AFTER)]
    settled(tasks, QUIET_MS - 1)
    assert [task.quiet.is_over for task in tasks] == [False] * AFTER
    settled(tasks, QUIET_MS)
    assert [task.quiet.is_over for task in tasks] == [True] * AFTER


def test_who_waits_for_nobody_any_more_finds_strays_for_others_as_long_as_it_is_behind() -> None:
    logs = Logs()
    key = next(one for one in KEYS if partition_of(one, BEFORE) != partition_of(one, AFTER))
    task = Task(logs, partition_of(key, BEFORE))
    write(logs, key, 0, BEFORE)
    task.process()
    task.quiet.is_over = True
    assert not task.crossing.has_passed(task.positions)
    write(logs, key, 1, BEFORE)
    task.process()
    task.commit()
    strays = logs.of[TopicPartition(STRAYS, partition_of(key, AFTER))]
    assert (task.crossing.forwarded, len(strays), task.left) == (2, 2, [])
    task.turn()
    task.turn()
    assert task.crossing.has_passed(task.positions)
    assert (len(strays), task.left[-1]) == (2, task.source)


def test_what_an_aborted_transaction_had_found_is_not_known() -> None:
    logs = Logs()
    task = Task(logs, 0)
    task.quiet.is_over = True
    task.crossing.abort()
    assert not task.quiet.is_over


def test_a_task_that_is_gone_is_read_ahead_no_more() -> None:
    task = Task(Logs(), 0)
    task.crossing.close()
    assert task.left == [task.source]


def test_since_when_it_waits_is_committed_once() -> None:
    task = Task(Logs(), 0)
    assert task.crossing.is_news
    task.commit()
    assert not task.crossing.is_news
    task.quiet.saw_stray(5)
    assert task.crossing.is_news


def test_a_stray_keeps_its_headers_and_says_where_it_was_found() -> None:
    logs = Logs()
    key = next(one for one in KEYS if partition_of(one, BEFORE) != partition_of(one, AFTER))
    finder = Task(logs, partition_of(key, BEFORE))
    logs.of[finder.source].append((key, b"7", [("trace", b"x")]))
    finder.turn()
    (row,) = logs.of[TopicPartition(STRAYS, partition_of(key, AFTER))]
    assert row[2] == [("trace", b"x"), (HEADER, b"%d:0" % finder.number)]
    assert finder.crossing.committed == 1


def test_what_somebody_else_wrote_into_the_strays_stops_the_task() -> None:
    logs = Logs()
    task = Task(logs, 0)
    logs.of[task.strays].append((KEYS[0], b"1", []))
    task.fetch()
    with pytest.raises(InternalTopicError, match="is no stray that this application forwarded"):
        task.process()


def test_a_key_that_has_no_home_is_not_processed_and_its_neighbours_are() -> None:
    def by_number(key: bytes, count: int) -> int:
        return int(key) % count

    known: Any = None
    crossing = Crossing(
        TaskId(0, 1),
        TopicPartition(TOPIC, 1),
        TopicPartition("strays", 1),
        homes=Homes(2, 2, by_number),
        forwarded=100,
        quiet=Quiet.begun(1_000, noted_ms=0, is_over=False, now_ms=0),
        ahead=known,
        output=known,
    )
    keys = [b"3", b"a", b"2", None, b"5"]
    batch = RawBatch(TOPIC, 1, keys, [b"1"] * 5, timestamps=[5] * 5, offsets=[*range(5)])
    lost: list[tuple[int, str]] = []
    (own,) = crossing.own(batch, lambda _batch, row, error: lost.append((row, error.message[:40])))
    assert own.keys == [b"3", None, b"5"]
    assert lost == [(1, "the declared partitioner raised ValueErr")]
