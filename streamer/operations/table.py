"""The table of operations in Kafka: `<application>.operations`, beside requests to controllers."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence

from streamer.closable import Closable
from streamer.config import Config
from streamer.control.topics import ControlTopics
from streamer.kafka.admin import Admin
from streamer.kafka.table import ExclusiveWriter, TableReader, TableWriter
from streamer.operations.ports import Effect, Rows, writer_id

__all__ = ["KafkaTable"]

_READ_S = 30.0
_CLAIM_S = 30.0
_WRITE_S = 10.0
# Taking the lock is some requests of milliseconds: one of two has done so in such a time.
_PAUSE_S = 0.3
# A process that dies inside a transaction holds up all who read the topic to its end, a new
# controller among them, which gives up after 30 s. Brokers look every 10 s for what is overdue.
_TRANSACTION_MS = 10_000


class KafkaTable(Closable):
    """A `Table`. Raises TopicMissingError where no worker of the application has ever run."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._admin = Admin(config)
        self._place = ControlTopics.find(config, self._admin).operations
        self._reader = TableReader(config, [self._place])
        self._rows: dict[str, bytes] = {}
        # The heartbeat reads as well, when it was fenced.
        self._mutex = threading.Lock()
        self._writer: TableWriter | None = None

    @property
    def application(self) -> str:
        return self._config.application_id

    def read(self, *, to_end: bool) -> Mapping[str, bytes]:
        # As in cluster/ports.py: behind the last stable offset a transaction of the former holder
        # could still be waiting for its markers.
        isolation = "read_uncommitted" if to_end else "read_committed"
        with self._mutex:
            ends = self._admin.ends([self._place], isolation)  # type: ignore[arg-type]
            for row in self._reader.read_to(ends, timeout_s=_READ_S):
                if row.value is None:
                    self._rows.pop(row.key, None)
                else:
                    self._rows[row.key] = row.value
            return dict(self._rows)

    def claim(self, scope: str) -> KafkaClaim:
        return KafkaClaim(self._config, scope)

    def pause(self) -> None:
        time.sleep(random.uniform(_PAUSE_S / 10, _PAUSE_S))

    def put(self, key: str, value: bytes | None) -> None:
        with self._mutex:
            if self._writer is None:
                self._writer = TableWriter(self._config)
            self._writer.put(self._place, key, value)
            self._writer.flush(_WRITE_S)

    def close(self) -> None:
        self._reader.close()
        if self._writer is not None:
            self._writer.close()


class KafkaClaim:
    """A `Claim`: made, it has fenced whoever held the scope's transactional id."""

    def __init__(self, config: Config, scope: str) -> None:
        self._place = ControlTopics(config.application_id, 1, 1).operations
        self._writer = ExclusiveWriter(
            config,
            writer_id(config.application_id, scope),
            transaction_ms_max=_TRANSACTION_MS,
        )
        try:
            self._writer.claim(_CLAIM_S)
        except BaseException:
            self._writer.close()
            raise

    def write(self, rows: Rows, effects: Sequence[Effect] = ()) -> None:
        own = [(self._place, key, value) for key, value in rows]
        self._writer.write([*own, *effects])

    def close(self) -> None:
        self._writer.close()
