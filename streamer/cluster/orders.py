"""The orders that stand at present, as a worker reads them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from streamer.control.orders import Order, decode_order
from streamer.errors import InternalTopicError
from streamer.kafka.table import Row

__all__ = ["Orders"]

_log = logging.getLogger(__name__)


class Orders:
    """Changed by the thread that reads; `standing` may be read by any. An order that cannot be read
    is told, and passed over: it must not end all workers."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self.standing: tuple[Order, ...] = ()

    @property
    def by_key(self) -> Mapping[str, Order]:
        return self._orders

    def hear(self, row: Row) -> None:
        """A row of the topic was read, in the order of the log."""
        self._orders.pop(row.key, None)
        if row.value is not None:
            try:
                self._orders[row.key] = decode_order(row.place.topic, row.key, row.value)
            except InternalTopicError as error:
                _log.error("an order is passed over: %s", error.describe())
        self.standing = tuple(self._orders.values())
