"""Changelogs of two layouts in a broker in memory, and feeds between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from streamer.clock import ManualClock
from streamer.feed.fake import FakePorts
from streamer.feed.feed import Feed
from streamer.feed.plan import FeedPlan
from streamer.ids import Layout, TopicPartition
from streamer.kafka.fake import FakeBroker
from streamer.kafka.fake_log import Transaction
from streamer.split.homes import Homes
from streamer.split.move import Move
from streamer.store.keys import row, session_key, window_key
from streamer.topology.partitioner import partition_of
from streamer.topology.stores import Store, StoreKind, StoreSpec

PLAIN = Store("plain", bytes, bytes).spec()
WINDOWS = replace(PLAIN, name="windows", kind=StoreKind.WINDOW, window_size_ms=10_000)
SESSIONS = replace(PLAIN, name="sessions", kind=StoreKind.SESSION, retention_ms=20_000)
SPECS = (PLAIN, WINDOWS, SESSIONS)


def plan(
    source: Homes | int = 2,
    target: Homes | int = 3,
    *,
    specs: Sequence[StoreSpec] = SPECS,
    operation: str = "op-1",
    layout: int = 1,
) -> FeedPlan:
    """From a layout to the one after it."""
    here = Homes(source, source) if isinstance(source, int) else source
    there = Homes(target, target) if isinstance(target, int) else target
    return FeedPlan.of_move(
        Move(
            operation=operation,
            application="spend",
            subtopology=0,
            source_layout=Layout(layout),
            source=here,
            target_layout=Layout(layout + 1),
            target=there,
            specs=specs,
        )
    )


class World:
    """Both sides of a plan. `starts` are the begins of all old changelogs."""

    def __init__(
        self,
        made: FeedPlan | None = None,
        specs: Sequence[StoreSpec] = SPECS,
        broker: FakeBroker | None = None,
    ) -> None:
        self.plan = made or plan(specs=specs)
        self.specs = specs
        self.broker = broker or FakeBroker(partition_of=partition_of, now_ms=lambda: 1_000)
        self.ports = FakePorts(self.broker)
        self.clock = ManualClock()
        # Whose record a row is, by store and stored key.
        self.keys: dict[tuple[str, bytes], bytes] = {}
        for store in self.plan.stores:
            self.broker.create(store.source, self.plan.source.tasks)
            self.broker.create(store.target, self.plan.target.tasks)

    def write(self, store: str, key: bytes, value: bytes | None = b"v", **more: Any) -> None:
        """A row, or its removal, in the task where its key is at home in the old layout; `stored`
        is the row's own key, where that does not follow from the record's."""
        here, _there = self.plan.homes()
        one = next(one for one in self.plan.stores if one.name == store)
        times = more.pop("at_ms", 0)
        at = more.pop("stored", None) or stored_key(one.kind, key, times)
        stored = None if value is None else row(times, value, one.kind)
        place = TopicPartition(one.source, here.home(key))
        self.keys[store, at] = key
        self.broker.append(place, at, stored, **more)

    def aborted(self, store: str, key: bytes) -> None:
        """The same in a transaction that is taken back."""
        transaction = Transaction()
        self.write(store, key, b"aborted", transaction=transaction)
        self.broker.end_transaction(transaction, is_committed=False)

    def feed(self, task: int, **more: Any) -> Feed:
        known = {"starts": dict.fromkeys((one.name for one in self.plan.stores), 0), **more}
        return Feed(self.plan, task, self.ports, specs=self.specs, clock=self.clock, **known)

    def feed_all(self, **more: Any) -> None:
        for task in range(self.plan.source.tasks):
            with self.feed(task, **more) as feed:
                while not feed.caught_up():
                    feed.step()

    def changes(self, *, is_new: bool) -> dict[str, list[tuple[Any, ...]]]:
        """By store, what the changelogs of a layout hold, a key's records in their order."""
        found = {}
        for one in self.plan.stores:
            records = self.broker.records(one.target if is_new else one.source)
            found[one.name] = sorted(
                ((r.key, r.value, r.timestamp_ms, r.headers) for r in records),
                key=lambda record: record[0],
            )
        return found


KEYS = [f"customer-{number}".encode() for number in range(12)]


def filled(world: World, rounds: int = 3) -> World:
    """Rows of all stores, newer ones of the same keys, removals, and what was taken back."""
    for turn in range(rounds):
        for number, key in enumerate(KEYS):
            for store in world.plan.stores:
                is_gone = turn == 1 and number % 3 == 0
                value = None if is_gone else b"%d" % turn
                headers = [("turn", b"%d" % turn), ("none", None)] if number % 2 else None
                world.write(
                    store.name, key, value, at_ms=number, timestamp_ms=turn + 5, headers=headers
                )
        world.aborted("plain", KEYS[turn])
    return world


def check(world: World) -> None:
    """The same records on both sides, each at home."""
    assert world.changes(is_new=True) == world.changes(is_new=False)
    _here, there = world.plan.homes()
    for store in world.plan.stores:
        for record in world.broker.records(store.target):
            assert record.partition == there.home(world.keys[store.name, record.key])


def feed_ends(world: World, task: int) -> dict[str, int]:
    return {
        one.name: world.broker.bounds(TopicPartition(one.source, task))[1]
        for one in world.plan.stores
    }


def stored_key(kind: StoreKind, key: bytes, at_ms: int = 0) -> bytes:
    if kind is StoreKind.WINDOW:
        return window_key(at_ms, key)
    if kind is StoreKind.SESSION:
        return session_key(key, at_ms, at_ms + 5)
    return key
