"""The world of a rebuild: the orders and the statuses of an application, as Kafka has them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from streamer.closable import Closable
from streamer.cluster.orders import Orders
from streamer.config import Config
from streamer.control.client import Control
from streamer.control.messages import StatusRecord
from streamer.control.orders import Order
from streamer.control.topics import ControlTopics
from streamer.ids import TopicPartition
from streamer.kafka.admin import Admin
from streamer.kafka.table import TableReader

__all__ = ["KafkaWorld", "alive"]

_READ_S = 30.0
_LOOK_S = 0.5


class KafkaWorld(Closable):
    """Used by one thread. Raises TopicMissingError where no worker has ever run."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._admin = Admin(config)
        self.place: TopicPartition = ControlTopics.find(config, self._admin).orders
        self._reader = TableReader(config, [self.place])
        self._orders = Orders()
        self._control = Control(config, reads_assignments=False)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def wait(self) -> None:
        time.sleep(_LOOK_S)

    def orders(self) -> Mapping[str, Order]:
        # As for locks: behind the last stable offset a transaction could still be ending.
        ends = self._admin.ends([self.place], "read_uncommitted")
        for row in self._reader.read_to(ends, timeout_s=_READ_S):
            self._orders.hear(row)
        return self._orders.by_key

    def statuses(self) -> Mapping[str, StatusRecord]:
        return alive(self._control)

    def close(self) -> None:
        self._control.close()
        self._reader.close()


def alive(control: Control) -> Mapping[str, StatusRecord]:
    """The statuses of the workers that live."""
    living = {each.worker for each in control.workers() if each.is_alive}
    return {worker: one for worker, one in control.statuses().items() if worker in living}
