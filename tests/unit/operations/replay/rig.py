"""An application in memory that is computed once more: the shop of a repartition, and a worker that
reads its input again for as long as the operation's record says that it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamer import App
from streamer.changelog.format import Positions
from streamer.control.messages import StatusRecord, TaskReport
from streamer.feed.plan import FeedPlan
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import Committed
from streamer.operations.kinds import Kinds
from streamer.operations.repartition.seeds import SeedRecord
from streamer.operations.replay.beginning import Beginning
from streamer.operations.replay.kind import Replay
from streamer.operations.replay.request import ask_again
from streamer.operations.replay.steps import is_over, may_read
from streamer.store.keys import row
from streamer.testing.kills import OperationScene
from tests.unit.operations.repartition.front import NAME, ORDERS
from tests.unit.operations.repartition.rig import (
    INPUT,
    KEYS,
    OWN,
    Kept,
    Shop,
    counting,
    note,
    planned,
)

NUMBER = "replay-1"
ORIGIN = f"{NAME}.{NUMBER}"
_AGAIN = f"{ORIGIN}-cities-repartition"
_STATUS = f"{ORIGIN}.status"


class Rereading(Shop):
    """Of two partitions, with a task for each in both layouts."""

    own_topics: tuple[tuple[str, int], ...] = ((OWN, 1),)
    # All done before the switch, whenever that is.
    rounds_max = 1

    def __init__(self) -> None:
        super().__init__({0: 1, 1: 1}, width=2)

    def _make(self) -> None:
        layout = planned(counting(), self.width).layout
        self.asked = ask_again(self.topology, layout, number=NUMBER)
        self.failed = False
        self.computed: dict[str, dict[bytes, bytes]] = {}
        super()._make()

    def kinds(self) -> Kinds:
        return Kinds([Replay(self.open)])

    def replay(self, end: str) -> OperationScene:
        """`end` names what is compared: "end" or "untouched"."""
        return OperationScene(
            "replay",
            self.asked.plain(),
            kinds=self.kinds(),
            broker=self.broker,
            clock=self.clock,
            end=getattr(self, end),
        )

    # -- what the two applications do ------------------------------------------------------------

    def process(self) -> None:
        if self.is_needed:
            self._read_again()
        if self.paused or self.told.layout_is_next(self.asked) or self.rounds >= self.rounds_max:
            return
        self.rounds += 1
        for partition in range(self.width):
            for topic, subtopology in ((INPUT, 0), *self.own_topics):
                place = TopicPartition(topic, partition)
                self.broker.append(place, KEYS[partition], b"1")
                said = note(100 + self.rounds, [topic], self.topology, subtopology)
                self.broker.groups[NAME][place] = Committed(self.broker.bounds(place)[1], said)

    @property
    def is_needed(self) -> bool:
        """As its worker looks it up."""
        found = self.executor().books().operations.values()
        return any(may_read(one) and not is_over(one) for one in found)

    def _read_again(self) -> None:
        """A commit up to where the live one is, of all tasks."""
        stores = [(store, plan) for plan in self.asked.feeds for store in plan.stores]
        topics = {store.source: plan.source.tasks for store, plan in stores}
        own = {_AGAIN: self.width} if self.own_topics else {}
        for topic, width in (topics | own | {_STATUS: 1}).items():
            if topic not in self.broker.topics:
                self.broker.create(topic, width)
        group = self.broker.groups.setdefault(ORIGIN, {})
        for partition in range(self.width):
            place = TopicPartition(INPUT, partition)
            live = self.broker.groups[NAME][place]
            own = TopicPartition(_AGAIN, partition)
            if place in group and group[place].position == live.position:
                continue
            group[place] = Committed(live.position, note(7, [INPUT], self.topology, 0))
            if self.own_topics:
                self.broker.append(own, KEYS[partition], b"1")
                end = self.broker.bounds(own)[1]
                group[own] = Committed(end, note(7, [_AGAIN], self.topology, 1))
            for store, plan in stores:
                here, _there = plan.homes()
                for key in KEYS:
                    if here.home(key) == partition and self.writes(key):
                        self._write(store.source, partition, key, live.position)

    def writes(self, _key: bytes) -> bool:
        """Whether who reads again comes by a record of it."""
        return True

    def _write(self, changelog: str, partition: int, key: bytes, number: int) -> None:
        value = row(0, b"%d" % number)
        self.broker.append(TopicPartition(changelog, partition), key, value)
        self.computed.setdefault(changelog, {})[key] = value

    def others(self, application: str) -> Mapping[str, StatusRecord]:
        assert application == ORIGIN
        if not self.is_needed:
            return {}
        # Who says that its tasks run has made its topics.
        self._read_again()
        assert self.asked.source is not None
        tasks = {str(task): TaskReport(state="running") for task in self.asked.source.layout.tasks}
        if self.failed:
            tasks["0_0"] = TaskReport(state="failed")
        return {
            "r": StatusRecord(
                format=1,
                number=1,
                worker="r",
                incarnation="0123456789abcdef.1",
                tasks=tasks,
                shape="again",
                host="host-r",
            )
        }

    # -- what is there at the end ----------------------------------------------------------------

    def left(self) -> dict[str, object]:
        return super().left() | {
            "of who reads again": sorted(t for t in self.broker.topics if t.startswith(ORIGIN)),
            "its group": bool(self.broker.groups.get(ORIGIN)),
        }

    def is_copied(self) -> bool:
        for plan in self.asked.feeds:
            for store in plan.stores:
                found = {}
                for record in self.broker.records(store.target):
                    found[record.key] = record.value
                if found != self.computed[store.source]:
                    return False
        return True


class Based(Rereading):
    """One that begins with snapshots of two live tasks; half of their rows are never written again.
    Its input has lost what lay before."""

    own_topics = ()
    begin_at = 1

    def _make(self) -> None:
        self.topology = totals().topology()
        layout = planned(totals(), self.width).layout
        self.asked = ask_again(self.topology, layout, number=NUMBER, base=self._based)
        self.failed = False
        self.computed = {}
        for topic in (INPUT, f"{NAME}-totals-changelog"):
            self.broker.create(topic, self.width)
        self.broker.create(ORDERS.topic, 1)
        group = self.broker.groups.setdefault(NAME, {})
        for partition in range(self.width):
            place = TopicPartition(INPUT, partition)
            self.broker.append(place, KEYS[partition], b"1")
            self.broker.delete_before(place, self.begin_at)
            group[place] = Committed(1, note(100, [INPUT], self.topology, 0))
        self.process()

    def _based(self, plans: Sequence[FeedPlan]) -> Beginning:
        [plan] = plans
        record = SeedRecord(
            repository="file:///snapshots",
            layout=1,
            stem="one",
            positions={"totals": 0},
            as_of_ms=self.clock.now_ms(),
            bytes=1,
        )
        begin = {TopicPartition(INPUT, number): self.begin_at for number in range(self.width)}
        return Beginning({str(task): record for task in plan.tasks}, begin)

    def writes(self, key: bytes) -> bool:
        return KEYS.index(key) < len(KEYS) // 2

    def snapshot(self, application: str, task: TaskId, _record: SeedRecord) -> Inside:
        assert application == NAME
        [plan] = self.asked.bases
        here, _there = plan.homes()
        rows = {key: row(0, b"once") for key in KEYS if here.home(key) == task.partition}
        changelog = f"{ORIGIN}-totals-changelog"
        for key, value in rows.items():
            self.computed.setdefault(changelog, {}).setdefault(key, value)
        return Inside({"totals": 0}, {"totals": rows})


class Inside(Kept):
    def inside(self) -> Positions:
        return Positions(changelogs=self.positions, stream_time_ms=77, times={"totals": 70})


def totals() -> App:
    app = App(NAME)
    app.stream(INPUT, key=str, value=int).group_by_key().count(store="totals")
    return app
