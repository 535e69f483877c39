"""The world of a repartition, as Kafka has it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from streamer.closable import Closable
from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_record, write_layout
from streamer.control.messages import StatusRecord
from streamer.control.operator import Operator
from streamer.control.right import LayoutRight
from streamer.errors import TopicMissingError
from streamer.feed.plan import FeedPlan
from streamer.feed.ports import KafkaPorts
from streamer.ids import TaskId
from streamer.kafka.admin import Admin, TopicSpec
from streamer.kafka.changes import Changes
from streamer.layout import ApplicationLayout
from streamer.operations.rebuild_world import KafkaWorld as KafkaOrders
from streamer.operations.rebuild_world import alive
from streamer.operations.repartition.code import Code, specs_of
from streamer.operations.repartition.feeding import KafkaFeeding
from streamer.operations.repartition.request import Asked
from streamer.operations.repartition.seeds import SeedRecord, SnapshotSeed
from streamer.topology.stores import StoreSpec

__all__ = ["KafkaWorld"]

T = TypeVar("T")

_TICK_S = 0.5
_SHORTLY_S = 0.05


class KafkaWorld(Closable):
    """A `World`. Raises TopicMissingError where no worker has ever run."""

    def __init__(self, config: Config, code: Code | None = None) -> None:
        self.config = config
        self._code = code
        admin = Admin(config)
        self._stopping = threading.Event()
        self.ports = KafkaPorts(config, stopping=self._stopping)
        self.layouts = KafkaLayouts(config, admin)
        self.topics = KafkaTopics(config, admin)
        self.workers = KafkaWorkers(config)
        self._feeding: KafkaFeeding | None = None
        self._specs: dict[int, Sequence[StoreSpec]] = {}
        self._others: dict[str, Control] = {}

    def feeding(self, asked: Asked, guard: Callable[[], None]) -> KafkaFeeding:
        if self._feeding is None:
            specs = partial(self.specs, asked)
            self._feeding = KafkaFeeding(self.config, asked, guard, specs=specs)
        return self._feeding

    def specs(self, asked: Asked, plan: FeedPlan) -> Sequence[StoreSpec]:
        number = plan.subtopology
        if number not in self._specs:
            registry = self.config.schema_registry
            self._specs[number] = specs_of(asked, plan, code=self._code, registry=registry)
        return self._specs[number]

    def others(self, application: str) -> Mapping[str, StatusRecord]:
        try:
            if application not in self._others:
                config = replace(self.config, application_id=application)
                self._others[application] = Control(config, reads_assignments=False)
            return alive(self._others[application])
        except TopicMissingError:
            # None has run there yet, or what they had is deleted.
            if (gone := self._others.pop(application, None)) is not None:
                gone.close()
            return {}

    def snapshot(self, application: str, task: TaskId, record: SeedRecord) -> SnapshotSeed:
        return SnapshotSeed(self.config, task, record, application=application)

    def now_ms(self) -> int:
        return self.workers.now_ms()

    def wait(self) -> None:
        self.workers.wait()

    def wait_shortly(self) -> None:
        time.sleep(_SHORTLY_S)

    def beside(self, calls: Sequence[Callable[[], T]], tick: Callable[[], None]) -> list[T]:
        with ThreadPoolExecutor(max(len(calls), 1)) as pool:
            futures = [pool.submit(call) for call in calls]
            try:
                while wait(futures, _TICK_S, FIRST_EXCEPTION).not_done:
                    tick()
                return [future.result() for future in futures]
            except BaseException:
                # Those that read look there, and the pool waits for them.
                self._stopping.set()
                wait(futures)
                self._stopping.clear()
                raise

    def close(self) -> None:
        if self._feeding is not None:
            self._feeding.close()
        for each in self._others.values():
            each.close()
        self.workers.close()


class KafkaWorkers(KafkaOrders):
    """The workers: what they are told, what they say, and whom somebody empties."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._operator = Operator(config)

    def draining(self) -> frozenset[str]:
        plan = self._operator.plan()
        return frozenset(plan.draining if plan is not None else ())

    def close(self) -> None:
        self._operator.close()
        super().close()


class KafkaLayouts:
    """The record, and the right to write it."""

    def __init__(self, config: Config, admin: Admin) -> None:
        self._config = config
        self._admin = admin

    def recorded(self) -> tuple[ApplicationLayout | None, str]:
        record = current_record(self._config, self._admin)
        return (None, "") if record is None else (record.layout, record.operation)

    def record_first(self, layout: ApplicationLayout, operation: str) -> None:
        write_layout(self._config, self._admin, layout, operation=operation)

    def right(self) -> AbstractContextManager[LayoutRight]:
        return LayoutRight.claim(self._config, self._admin)


class KafkaTopics:
    """Topics, their settings, and groups."""

    def __init__(self, config: Config, admin: Admin) -> None:
        self._admin = admin
        self._changes = Changes(config)

    def topics(self) -> Mapping[str, int]:
        return self._admin.topics()

    def settings(self, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        return self._admin.topic_settings(topics)

    def create(self, topics: Sequence[TopicSpec]) -> None:
        self._admin.create(topics)

    def delete(self, topics: Collection[str]) -> None:
        self._changes.delete_topics(topics)

    def alter(self, wanted: Mapping[str, Mapping[str, str | None]]) -> None:
        self._changes.alter_topics(wanted)

    def grow(self, wanted: Mapping[str, int], *, tries_only: bool = False) -> None:
        self._changes.grow_topics(wanted, tries_only=tries_only)

    def forget(self, groups: Collection[str]) -> None:
        for group in groups:
            self._admin.fence(group)
        self._changes.delete_groups(groups)
