"""The orders to rebuild copies that concern this worker: which are due, and which have failed.

An order is fulfilled when the note of its operation lies in the copy's directory, so reading it
again, after a restart too, does nothing. One that has failed is tried again when it is given again,
with another time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from streamer.config import Config
from streamer.control.messages import ChoreReport
from streamer.control.orders import Order, RebuildOrder
from streamer.ids import TaskId
from streamer.restore.bootstrap import Wanted
from streamer.restore.note import Note

__all__ = ["Rebuilds"]


class Rebuilds:
    """Used by the main thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._worker = config.worker_id or ""
        self._heard: tuple[Order, ...] = ()
        self._orders: dict[TaskId, RebuildOrder] = {}
        self._failed: dict[TaskId, tuple[RebuildOrder, str]] = {}

    def hear(self, orders: tuple[Order, ...]) -> None:
        """All that stand; the same object while they do not change."""
        if orders is self._heard:
            return
        self._heard = orders
        self._orders = {
            TaskId.parse(order.task): order
            for order in orders
            if isinstance(order, RebuildOrder) and order.worker == self._worker
        }
        self._failed = {
            task: failed
            for task, failed in self._failed.items()
            if self._orders.get(task) == failed[0]
        }

    def stands(self, task: TaskId) -> bool:
        """Whether somebody wants it to be rebuilt."""
        return task in self._orders

    def due(self, notes: Mapping[TaskId, Note]) -> Iterator[tuple[TaskId, RebuildOrder]]:
        """What is to be rebuilt and neither was nor has failed."""
        for task, order in self._orders.items():
            is_done = task in notes and notes[task].operation == order.operation
            if not is_done and task not in self._failed:
                yield task, order

    def withdrawn(self, working: Mapping[TaskId, str]) -> list[TaskId]:
        """Of those that are worked on, by the operation for which ("" for none), the ones that
        nobody wants any more."""
        return [
            task
            for task, operation in working.items()
            if operation and (task not in self._orders or self._orders[task].operation != operation)
        ]

    def refusal(self, order: RebuildOrder) -> str:
        """Why an order is not followed; "" where it is. A record in a topic must not send a worker
        with its keys to any host: its own settings say where it goes."""
        known = ["", self._config.snapshot_repository]
        export = re.escape(self._config.snapshot_export_address)
        pattern = export.replace(re.escape("{host}"), "[A-Za-z0-9._-]+")
        if order.repository in known or (export and re.fullmatch(pattern, order.repository)):
            return ""
        return (
            f"{order.repository} is neither snapshot_repository nor a host's"
            " snapshot_export_address as this worker has them"
        )

    def wanted(self, plain: Wanted, order: RebuildOrder) -> Wanted:
        """What an order asks for: a state made anew, so the one that is here does not count."""
        return replace(
            plain, source=order.source, repository=order.repository, operation=order.operation
        )

    def fail(self, task: TaskId, why: str) -> None:
        """It cannot be done; told until the order is withdrawn or given again."""
        if task in self._orders:
            self._failed[task] = self._orders[task], why

    def chore(self, task: TaskId, note: Note | None) -> ChoreReport | None:
        """What became of the last order of a task that nobody works on."""
        if task in self._failed:
            failed, why = self._failed[task]
            return ChoreReport(operation=failed.operation, state="failed", why=why)
        order = self._orders.get(task)
        if order is not None and (note is None or note.operation != order.operation):
            return ChoreReport(operation=order.operation, state="waiting")
        if note is not None and note.operation:
            return ChoreReport(
                operation=note.operation, state="done", made=note.snapshot, source=note.source
            )
        return None
