"""Writes the stream: first a part as fast as possible, the rest at an even pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice

from confluent_kafka import KafkaError, Message, Producer

__all__ = ["Feed"]

_TICK_S = 0.05
_FLUSH_S = 30
# Far below the queue's own limit, at which the client would refuse records.
_QUEUE_MAX = 50_000


class Feed:
    """A thread with a producer. `failure` says what went wrong; nothing is lost silently."""

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        records: Iterable[tuple[bytes, bytes, int]],
        *,
        at_once: int,
        per_second: int,
    ) -> None:
        self._topic = topic
        self._records = iter(records)
        self._at_once = at_once
        self._per_second = per_second
        self._stopping = threading.Event()
        self._flowing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                # Java's partitioner, which the workers expect of whoever writes their input.
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 20,
                # The topic is given partitions while this goes on; five minutes by default.
                "topic.metadata.refresh.interval.ms": 1_000,
                "log_level": 0,
            }
        )
        self.written = 0
        self.failure = ""

    def start(self) -> None:
        """Write the first part, and wait for `flow` with the rest."""
        self._thread.start()

    def flow(self) -> None:
        """Go on with the rest, at its pace."""
        self._flowing.set()

    @property
    def is_waiting(self) -> bool:
        """The first part is written, and so is nothing else."""
        return self.written >= self._at_once or not self._thread.is_alive()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Write nothing more, and wait until all of it is acknowledged, or is not."""
        self._stopping.set()
        self._flowing.set()
        self._thread.join(timeout=_FLUSH_S + _TICK_S)

    def _run(self) -> None:
        try:
            self._write_all()
        except Exception as error:
            self.failure = f"writing stopped: {type(error).__name__}: {error}"

    def _write_all(self) -> None:
        self._write(islice(self._records, self._at_once))
        self._producer.flush(_FLUSH_S)
        self._flowing.wait()
        began, written = time.monotonic(), 0
        while not self._stopping.is_set() and not self.failure:
            due = int((time.monotonic() - began) * self._per_second) - written
            count = self._write(islice(self._records, max(due, 1)))
            if count == 0:
                break
            written += count
            time.sleep(_TICK_S)
        if self._producer.flush(_FLUSH_S) and not self.failure:
            self.failure = f"the broker did not acknowledge all records within {_FLUSH_S} s"

    def _write(self, records: Iterator[tuple[bytes, bytes, int]]) -> int:
        count = 0
        for key, value, timestamp_ms in records:
            self._producer.produce(
                self._topic, value, key, timestamp=timestamp_ms, on_delivery=self._delivered
            )
            count += 1
            if count % 1_000 == 0:
                self._producer.poll(0)
                while len(self._producer) > _QUEUE_MAX:
                    self._producer.poll(0.05)
        self._producer.poll(0)
        return count

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.written += 1
        elif not self.failure:
            self.failure = f"a record could not be written: {error}"
