"""The input of one task: records of its partitions, in the order in which they are to be processed.

A task of several topics takes the record with the least timestamp first, never before it has seen a
record, or the end, of every partition (KIP-353, KIP-695). It keeps the order within a partition.
What it hands out are runs of one partition, as long as the order allows.

A partition may be limited: what lies at its limit or behind it is not handed out, and nobody waits
for that. It may be gated: what comes of it is held until it is released, and the others do not wait
for it. Records that wait for those of another partition are bounded by number for each partition,
and by bytes for all tasks of the worker together: the fullest partitions are paused first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from streamer.ids import TopicPartition
from streamer.record import RawBatch

__all__ = ["Crowd", "TaskInput", "crowded"]

# What a record that waits takes besides its key and value: objects of the client and of Python,
# and its places in the columns. Measured: 326.
RECORD_OVERHEAD_BYTES = 350


def crowded(
    held: Mapping[TopicPartition, int], paused: Collection[TopicPartition], bytes_max: int
) -> set[TopicPartition]:
    """The partitions to pause, so that what all of them hold grows by one fetch beyond `bytes_max`
    at most: the fullest first, at the limit every one that holds anything.

    One that holds nothing is never among them: a task always gets what it waits for. Those that
    are `paused` stay so until much has gone, because a pause drops what the client had fetched.
    """
    total = sum(held.values())
    if total <= bytes_max // 4:
        return set()
    chosen = {place for place in paused if held.get(place)}
    growing = {place: size for place, size in held.items() if size and place not in chosen}
    growing_bytes = sum(growing.values())
    for place in sorted(growing, key=growing.__getitem__, reverse=True):
        # What may still grow is no more than there is room for: it could come once again.
        if growing_bytes <= bytes_max - total:
            break
        chosen.add(place)
        growing_bytes -= growing[place]
    return chosen


def _bytes(batch: RawBatch) -> int:
    payload = sum(map(len, filter(None, batch.values))) + sum(map(len, filter(None, batch.keys)))
    return payload + len(batch) * RECORD_OVERHEAD_BYTES


class _Queue:
    """Fetched records of one partition that wait to be processed."""

    __slots__ = ("_start", "_weighed", "batches", "end", "held", "limit", "position", "waiting")

    def __init__(self) -> None:
        self.batches: deque[RawBatch] = deque()
        self.held: deque[RawBatch] = deque()
        self._weighed: deque[int] = deque()
        self.waiting = 0
        self._start = 0
        self.end: int | None = None
        self.limit: int | None = None
        self.position = 0

    @property
    def head_ms(self) -> int:
        return self.batches[0].timestamps[self._start]

    @property
    def is_ready(self) -> bool:
        """Whether there is a record that may be handed out."""
        if not self.batches:
            return False
        return self.limit is None or self.batches[0].offsets[self._start] < self.limit

    @property
    def reached(self) -> int | None:
        """The end, or the limit where that comes first, once all before it was handed out."""
        if self.held or self.is_ready:
            return None
        if self.limit is not None and (self.batches or self.position >= self.limit):
            return self.limit
        if self.end is None or self.limit is None:
            return self.end
        return min(self.end, self.limit)

    @property
    def is_over(self) -> bool:
        """Whether all before the limit was handed out."""
        return self.limit is not None and self.reached == self.limit

    def take(self, until_ms: int | None) -> RawBatch:
        """The first records, up to the first one later than `until_ms`."""
        batch, start = self.batches[0], self._start
        end = len(batch)
        if self.limit is not None:
            end = bisect_left(batch.offsets, self.limit, start)
        if until_ms is not None:
            stamps = batch.timestamps
            end = next((row for row in range(start + 1, end) if stamps[row] > until_ms), end)
        if end == len(batch):
            self.batches.popleft()
            self._start = 0
            if self._weighed:
                self._weighed.popleft()
        else:
            self._start = end
        self.waiting -= end - start
        self.position = batch.offsets[end - 1] + 1
        return batch.part(start, end)

    def held_bytes(self) -> int:
        """The memory of all batches that wait. Each is weighed once, and not before it has waited:
        most are processed at once. One that is processed in part is still there as a whole."""
        new = islice(self.batches, len(self._weighed), None)
        self._weighed.extend([_bytes(batch) for batch in new])
        return sum(self._weighed) + sum(map(_bytes, self.held))

    def clear(self) -> None:
        self.batches.clear()
        self.held.clear()
        self._weighed.clear()
        self.waiting = self._start = self.position = 0
        self.end = None


def _turn_ends_ms(first: _Queue, filled: Sequence[_Queue]) -> int | None:
    """Up to which time `first` goes on before another one; None where it is alone. Of equal times
    the partition that is listed first has precedence, so that the order does not depend on where
    batches end."""
    place = filled.index(first)
    bounds = [queue.head_ms - 1 for queue in filled[:place]]
    bounds += [queue.head_ms for queue in filled[place + 1 :]]
    return min(bounds, default=None)


class TaskInput:
    """Buffers what was fetched. `records_max` is when a partition is to be paused."""

    def __init__(
        self,
        partitions: Sequence[TopicPartition],
        *,
        records_max: int,
        idle_ms: int = 0,
        gated: Iterable[TopicPartition] = (),
    ) -> None:
        self._queues = {partition: _Queue() for partition in partitions}
        self._gated = set(gated)
        self._records_max = records_max
        self._idle_ms = idle_ms
        self._idle_since_ms: int | None = None
        self._is_limited = False

    def add(self, batch: RawBatch) -> None:
        place = TopicPartition(batch.topic, batch.partition)
        queue = self._queues[place]
        (queue.held if place in self._gated else queue.batches).append(batch)
        queue.waiting += len(batch)
        queue.end = None

    def reached_end(self, partition: TopicPartition, end: int) -> None:
        """The consumer has read this partition to its end."""
        self._queues[partition].end = end

    def held(self, partition: TopicPartition) -> int:
        """How many batches of a gated partition wait to be released."""
        return len(self._queues[partition].held)

    def release(self, partition: TopicPartition, count: int) -> None:
        """The first batches that are held may be processed."""
        queue = self._queues[partition]
        for _ in range(count):
            queue.batches.append(queue.held.popleft())

    def open(self, partition: TopicPartition) -> None:
        """It is not gated any more."""
        self.release(partition, self.held(partition))
        self._gated.discard(partition)

    def limit(self, limits: Mapping[TopicPartition, int]) -> None:
        """Of these partitions nothing from such a position on is handed out, until that moves."""
        self._is_limited = True
        for partition, limit in limits.items():
            self._queues[partition].limit = limit

    def take(self, now_ms: int) -> Iterator[RawBatch]:
        """Runs that may be processed now."""
        if len(self._queues) == 1:
            (queue,) = self._queues.values()
            while queue.is_ready:
                yield queue.take(None)
            return
        while self._may_take(now_ms):
            filled = [queue for queue in self._queues.values() if queue.is_ready]
            first = min(filled, key=lambda queue: queue.head_ms)
            yield first.take(_turn_ends_ms(first, filled))

    def _may_take(self, now_ms: int) -> bool:
        queues = self._queues.values()
        if not any(queue.is_ready for queue in queues):
            return False
        empty = [queue for queue in queues if not queue.is_ready and not queue.is_over]
        if not empty:
            self._idle_since_ms = None
            return True
        # Before a limit there are records for certain.
        if any(
            (queue.end is None and not queue.held) or queue.limit is not None for queue in empty
        ):
            return False
        if self._idle_since_ms is None:
            self._idle_since_ms = now_ms
        return now_ms - self._idle_since_ms >= self._idle_ms

    def ends(self) -> Mapping[TopicPartition, int]:
        """Partitions that were read to their end or their limit and wholly handed out, with that.

        It lies behind the last record where transactions left their markers.
        """
        return {
            partition: reached
            for partition, queue in self._queues.items()
            if (reached := queue.reached) is not None
        }

    def forget_ends(self, partitions: Iterable[TopicPartition]) -> None:
        """Nothing of these is read for some time: what was their end need not be any more."""
        for partition in partitions:
            self._queues[partition].end = None

    @property
    def full(self) -> set[TopicPartition]:
        """Partitions that hold more than they should: to be paused."""
        return {
            partition
            for partition, queue in self._queues.items()
            if queue.waiting > self._records_max
        }

    def held_bytes(self) -> dict[TopicPartition, int]:
        """The memory that each partition takes with records that wait. Of a task of one partition
        none do, unless it has a limit."""
        if len(self._queues) == 1 and not self._is_limited:
            return {}
        filled = [one for one in self._queues.items() if one[1].batches or one[1].held]
        return {place: queue.held_bytes() for place, queue in filled}

    @property
    def waiting(self) -> int:
        return sum(queue.waiting for queue in self._queues.values())

    def clear(self) -> None:
        """Drop what waits: the consumer goes back to the committed positions."""
        for queue in self._queues.values():
            queue.clear()
        self._idle_since_ms = None


class Crowd:
    """The inputs of all tasks of a worker, which share one part of its memory."""

    def __init__(self) -> None:
        self._crowded: set[TopicPartition] = set()

    def full(self, inputs: Sequence[TaskInput], bytes_max: int) -> set[TopicPartition]:
        """The partitions to pause now; all others are to be read."""
        held: dict[TopicPartition, int] = {}
        for each in inputs:
            held |= each.held_bytes()
        self._crowded = crowded(held, self._crowded, bytes_max)
        return self._crowded.union(*(each.full for each in inputs))
