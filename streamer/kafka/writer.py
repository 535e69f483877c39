"""The client beneath the worker's producer: calls are repeated while brokers are away, errors are
told in our words, and no wait outlasts a transaction that has failed.

Librdkafka writes nothing more of such a transaction, and says so only when it is committed, after
it has waited for its queue. So every wait here looks after it when the queue does not move.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import KafkaException, Producer

from streamer.errors import FencedError, KafkaUnavailableError, StoppedError
from streamer.ids import TopicPartition
from streamer.kafka.api import Committed
from streamer.kafka.attempts import Attempts, reported
from streamer.kafka.consumer import with_metadata
from streamer.kafka.faults import as_exception, error_of, producer_fault, translated
from streamer.kafka.lookup import look_up
from streamer.kafka.rights import Right, on_group, on_id, on_topics
from streamer.kafka.stuck import ANSWER_S, Stuck, answers_others

__all__ = ["Writer"]

T = TypeVar("T")

# Brokers may be away this long before a worker gives up; a commit whose outcome is not known can
# only be tried again.
_AWAY_S_MAX = 300.0
_RETRY_PAUSE_S = 0.1
# Adding positions to a transaction takes milliseconds. Where the coordinator's broker has died it
# takes until another one has its place: brokers wait for 9 s (broker.session.timeout.ms), and the
# other one reads what the first knew. Only after 20 s is it the client that is lost.
_ADD_S = 5.0
_ANSWERS = 3
_STEP_S = 10.0
_CLOSE_S = 3.0
_STALLED_S = 0.2
# For those who are told to leave: how soon they hear it, and how long what is under way may take
# then. A transaction that is left open holds its readers back, so one that can end does.
_HEARD_S = 0.2
_LEAVING_S = 0.5


class Writer:
    """Used by one thread. With `transactional_id=None` it is idempotent, without transactions."""

    def __init__(
        self,
        made: Mapping[str, Any],
        transactional_id: str | None,
        *,
        group: str = "",
        stopping: threading.Event | None = None,
        is_over: Callable[[], bool] | None = None,
    ) -> None:
        """Once `is_over` says so, waiting for brokers ends with StoppedError; and who can say so
        begins again by itself where they do not answer at the begin."""
        self._is_over = is_over
        self._over_s: float | None = None
        self._producer = Producer(dict(made))
        where = str(made["bootstrap.servers"])
        away_s = _AWAY_S_MAX if is_over is None else _STEP_S
        self._init = Attempts(away_s, where, stopping=stopping, client=lambda: self._producer)
        self._group = group
        self.transactional_id = transactional_id
        self.produce = self._producer.produce
        self._is_closed = False
        self._stuck = Stuck(
            self._is_answered, lambda: answers_others(made), beside=is_over is not None
        )

    def __len__(self) -> int:
        """How many records wait for their delivery."""
        return len(self._producer)

    def init(self, topic: str = "") -> None:
        """Who is in a hurry names a `topic` that exists."""
        if self.transactional_id is not None:
            look_up(self._producer, [topic] if topic else [])
            what = f"taking over transactional id {self.transactional_id!r}"
            self._init(what, self._producer.init_transactions, on_id(self.transactional_id))

    def begin(self) -> None:
        if self.transactional_id is not None:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise producer_fault(error, "beginning a transaction") from error

    def check(self) -> None:
        """Raise AbortableError if the transaction has failed. Its state cannot be asked for, but
        beginning another one tells it, and does nothing else."""
        if self.transactional_id is None:
            return
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            if error_of(error).txn_requires_abort() or error_of(error).fatal():
                raise producer_fault(error, "writing") from error

    def poll(self, timeout_s: float) -> None:
        """Serve deliveries. The binding raises a fatal error of the client, such as a fence, from
        whatever serves callbacks next."""
        try:
            with as_exception:
                self._producer.poll(timeout_s)
        except (KafkaException, SystemError) as error:
            raise producer_fault(reported(error), "writing") from error

    def wait_until(self, is_enough: Callable[[int], bool]) -> None:
        """Wait until the number of records that are left is small enough, or 0."""
        began = moved = time.monotonic()
        waiting = len(self)
        self._stuck.moved()
        while waiting and not is_enough(waiting):
            self.poll(0.02)
            left, now = len(self), time.monotonic()
            if left < waiting:
                moved = now
                self._stuck.moved()
            elif now - moved > _STALLED_S:
                moved = now
                self.check()
                self._stuck.check("writing")
            self._leave("writing")
            if now - began > _AWAY_S_MAX:
                raise _not_written(left)
            waiting = left

    def flush(self) -> None:
        """Wait until everything was delivered or has failed."""
        deadline = time.monotonic() + _AWAY_S_MAX
        waiting = len(self)
        self._stuck.moved()
        while waiting:
            try:
                with as_exception:
                    left = self._producer.flush(_STALLED_S)
            except (KafkaException, SystemError) as error:
                raise producer_fault(reported(error), "writing") from error
            if left < waiting:
                self._stuck.moved()
            else:
                self.check()
                self._stuck.check("writing")
                self._leave("writing")
            if left and time.monotonic() > deadline:
                raise _not_written(left)
            waiting = left

    def commit(self, positions: Mapping[TopicPartition, Committed], group: Any) -> None:
        """Flush, and commit where there are transactions."""
        if self.transactional_id is not None and positions:
            topics = on_topics("Read", (place.topic for place in positions))
            self._add(with_metadata(positions), group, on_group("Read", self._group), topics)
        self.flush()
        if self.transactional_id is not None:
            self._repeat(self._in_steps("commit_transaction"), "committing a transaction")

    def _add(self, offsets: list[Any], group: Any, *needed: Right) -> None:
        """Librdkafka remembers a coordinator that it has dropped, as after all brokers were away,
        and waits for it whatever timeout it was given (its issue 5511). So where brokers answer
        again and again and this does not end, a new client is needed, which comes with joining
        again."""
        what = "adding positions to the transaction"

        def add(left_s: float) -> None:
            send = self._producer.send_offsets_to_transaction
            waiting = _started(lambda: send(offsets, group, left_s), "positions")
            answers = 0
            deadline = time.monotonic() + _ADD_S
            while True:
                try:
                    left = max(deadline - time.monotonic(), 0.0)
                    return waiting.result(left if self._is_over is None else min(left, _HEARD_S))
                except TimeoutError:
                    self._leave(what)
                    if time.monotonic() < deadline:
                        continue
                    deadline = time.monotonic() + _ADD_S
                    if answers == _ANSWERS:
                        raise FencedError(
                            f"{what}: no end in {_ANSWERS * _ADD_S:.0f} s, though brokers answer",
                            hint="the worker joins again with a new producer",
                        ) from None
                    answers = answers + 1 if self._answers(what) else 0
                    self._stuck.check(what)

        self._repeat(add, what, *needed)

    def _answers(self, what: str) -> bool:
        if self._is_over is None:
            return self._is_answered()
        asked = _started(self._is_answered, "asking")
        while True:
            try:
                return asked.result(_HEARD_S)
            except TimeoutError:
                self._leave(what)

    def _is_answered(self) -> bool:
        try:
            self._producer.list_topics(timeout=ANSWER_S)
        except KafkaException:
            return False
        return True

    def abort(self) -> None:
        """Take back what was sent; without transactions, see it written instead: a purge reaches
        the client's threads later, and may take with it what is sent next."""
        if self.transactional_id is not None:
            self._repeat(self._in_steps("abort_transaction"), "aborting a transaction")
        else:
            self.flush()

    def partition_count(self, topic: str) -> int:
        try:
            found = self._producer.list_topics(topic, timeout=30).topics[topic]
        except KafkaException as error:
            raise translated(error, f"looking up {topic}") from error
        if found.error is not None:
            needed = on_topics("Describe", [topic])
            raise translated(KafkaException(found.error), f"looking up {topic}", needed)
        return len(found.partitions)

    def close(self, *, drops: bool) -> None:
        """Drop the client, and with `drops` what was not sent yet; an open transaction is left to
        the next owner of the id to abort. May be called twice.

        The client goes in a thread of its own: whatever its last calls and its end wait for, after
        brokers were away or it failed for good, must not hold up its successor.
        """
        if self._is_closed:
            return
        self._is_closed = True
        clients = [self._producer]
        del self._producer, self.produce
        in_flight = self.transactional_id is not None

        def end() -> None:
            client = clients.pop()
            with suppress(KafkaException, SystemError), as_exception:
                if drops:
                    client.purge(in_flight=in_flight)
                client.flush(1.0)

        with suppress(TimeoutError):
            _started(end, "closing").result(_CLOSE_S)

    def _in_steps(self, name: str) -> Callable[[float], None]:
        """A call that goes on when it is made again, made for no longer than a step at a time."""
        call = getattr(self._producer, name)
        step_s = _STEP_S if self._is_over is None else _HEARD_S
        return lambda left_s: call(min(left_s, step_s))

    def _leave(self, what: str) -> None:
        """Raise StoppedError where it has been over for long enough."""
        if self._is_over is None or not self._is_over():
            self._over_s = None
            return
        now = time.monotonic()
        self._over_s = self._over_s or now
        if now - self._over_s >= _LEAVING_S:
            raise StoppedError(f"{what}: asked to stop while waiting for brokers")

    def _repeat(self, call: Callable[[float], Any], what: str, *needed: Right) -> None:
        """Call until it succeeds, or until a deadline for what may be tried again."""
        deadline = time.monotonic() + _AWAY_S_MAX
        self._stuck.moved()
        while True:
            left_s = max(deadline - time.monotonic(), 1.0)
            try:
                with as_exception:
                    call(left_s)
                return
            except (KafkaException, SystemError) as error:
                said = reported(error)
                if not error_of(said).retriable() or time.monotonic() >= deadline:
                    raise producer_fault(said, what, *needed) from error
                self._leave(what)
                self._stuck.check(what)
                self.poll(_RETRY_PAUSE_S)


def _started(call: Callable[[], T], name: str) -> Future[T]:
    """A call in a thread that may be left behind, which no executor allows at the end."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            with as_exception:
                found = call()
            future.set_result(found)
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def _not_written(count: int) -> KafkaUnavailableError:
    return KafkaUnavailableError(
        f"{count} records could not be written in {_AWAY_S_MAX:.0f} s",
        hint="check that the brokers run",
    )
