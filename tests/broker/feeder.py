"""A producer that goes on writing to the input of `applications/counts.py`, whatever happens."""

from __future__ import annotations

import threading
import time
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

from tests.broker.workers import Application

START_MS = 1_700_000_000_000
OUTPUTS = ("totals", "closed", "every")
_TICK_S = 0.05


class Feeder:
    """Some `rate` records a second from a thread; `stop` waits until every one is acknowledged."""

    def __init__(self, application: Application, *, rate: int = 1_000, keys: int = 60) -> None:
        self.keys = [f"customer-{number}" for number in range(keys)]
        self.count = 0
        self._topic = application.topic("in")
        self._per_tick = max(1, int(rate * _TICK_S))
        self._failures: list[KafkaError] = []
        self._stopping = threading.Event()
        self._producer = Producer(
            {
                **application.kafka.settings,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 500,
            }
        )
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._thread.join(40)

    def stop(self) -> int:
        """How many records were written."""
        self._stopping.set()
        self._thread.join(40)
        assert self._producer.flush(60) == 0, "the feeder's records were not acknowledged"
        assert not self._failures, self._failures[0]
        return self.count

    def _run(self) -> None:
        while not self._stopping.is_set():
            for _ in range(self._per_tick):
                key = self.keys[self.count * 7 % len(self.keys)]
                self._producer.produce(
                    self._topic,
                    str(self.count % 100),
                    key,
                    timestamp=START_MS + self.count,
                    on_delivery=self._acknowledged,
                )
                self.count += 1
            self._producer.poll(0)
            time.sleep(_TICK_S)

    def _acknowledged(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures.append(error)
