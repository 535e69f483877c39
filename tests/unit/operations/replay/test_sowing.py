"""With what an interval begins: all rows of the newest snapshots but those of its windows, these of
older ones, and where those stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from streamer import App, SessionWindows, TumblingWindows
from streamer.changelog.format import Positions
from streamer.feed.plan import FeedPlan
from streamer.ids import TaskId, TopicPartition
from streamer.kafka.api import Committed
from streamer.operations.repartition.seeds import SeedRecord
from streamer.operations.replay.beginning import Beginning
from streamer.operations.replay.request import ask_again
from streamer.operations.replay.sowing import _Sower, is_sown, sow
from streamer.operations.work import Work
from streamer.store.keys import row, session_key, window_key
from streamer.task.metadata import Metadata
from streamer.topology.interval import Interval
from streamer.topology.stores import StoreKind
from tests.unit.operations.repartition.front import NAME, ORDERS
from tests.unit.operations.repartition.rig import INPUT, KEYS, Kept, note, planned
from tests.unit.operations.replay.rig import ORIGIN, Rereading

STORES = ("totals", "hourly", "hopping", "visits")
OLD, NEW = 500, 900


def spans() -> App:
    app = App(NAME)
    keyed = app.stream(INPUT, key=str, value=int).group_by_key()
    keyed.count(store="totals")
    keyed.windowed_by(TumblingWindows(timedelta(seconds=1))).count(store="hourly")
    keyed.windowed_by(TumblingWindows(timedelta(seconds=1))).count(store="hopping")
    keyed.windowed_by(SessionWindows(timedelta(seconds=1))).count(store="visits")
    return app


class Inside(Kept):
    """A snapshot, whose rows tell when it was made."""

    def __init__(self, at_ms: int, key: bytes) -> None:
        self.at_ms = at_ms
        value = b"%d" % at_ms
        window, session = (row(0, value, kind) for kind in (StoreKind.WINDOW, StoreKind.SESSION))
        windows = {window_key(start, key): window for start in range(0, 6_000, 1_000)}
        rows = {
            "totals": {key: row(0, value)},
            "hourly": windows,
            "hopping": windows,
            "visits": {session_key(key, 1_000, 2_000): session},
        }
        super().__init__(rows=rows)

    def inside(self) -> Positions:
        times = {"hourly": self.at_ms - 1, "visits": self.at_ms - 2}
        return Positions(stream_time_ms=self.at_ms, times=times)


class Spanning(Rereading):
    """Two tasks, which stood at 1 when the older snapshots were made and at 3 with the others."""

    own_topics = ()

    def __init__(self, *, is_whole: bool) -> None:
        self.is_whole = is_whole
        super().__init__()

    def _make(self) -> None:
        self.topology = spans().topology()
        layout = planned(spans(), self.width).layout
        interval = Interval(2_000, 4_000, ("hourly",))
        self.asked = ask_again(
            self.topology, layout, number="replay-1", base=self._beginning, interval=interval
        )
        self.failed, self.computed = False, {}
        for topic in (INPUT, *(f"{NAME}-{store}-changelog" for store in STORES)):
            self.broker.create(topic, self.width)
        self.broker.create(ORDERS.topic, 1)
        for partition in range(self.width):
            place = TopicPartition(INPUT, partition)
            for _ in range(3):
                self.broker.append(place, KEYS[partition], b"1")
            said = note(100, [INPUT], self.topology, 0)
            self.broker.groups.setdefault(NAME, {})[place] = Committed(3, said)

    def _beginning(self, plans: Sequence[FeedPlan]) -> Beginning:
        tasks = [str(task) for plan in plans for task in plan.tasks]
        places = [TopicPartition(INPUT, number) for number in range(self.width)]
        return Beginning(
            {task: _record(NEW) for task in tasks},
            dict.fromkeys(places, 0 if self.is_whole else 1),
            former={} if self.is_whole else {task: _record(OLD) for task in tasks},
            until=dict.fromkeys(places, 3),
        )

    def snapshot(self, application: str, task: TaskId, record: SeedRecord) -> Inside:
        assert application == NAME
        return Inside(record.as_of_ms, self.key_of(task.partition))

    def key_of(self, task: int) -> bytes:
        here, _there = self.asked.bases[0].homes()
        return next(key for key in KEYS if here.home(key) == task)

    def sow(self) -> None:
        """As one process does it."""
        work = Work(
            "replay-1",
            1,
            self.clock,
            checks=lambda: None,
            tells=lambda _progress: None,
            writes=lambda _effects: None,
        )
        with self.open(self.config) as world:
            assert not is_sown(world, self.asked)
            sow(world, self.asked, work)
            assert is_sown(world, self.asked)

    def sown(self) -> tuple[dict[str, list[int]], list[tuple[int, Metadata]]]:
        """The times of snapshots whose rows are in the first task's changelogs, and where each task
        begins with what it knows."""
        self.sow()
        return self.seen()

    def seen(self) -> tuple[dict[str, list[int]], list[tuple[int, Metadata]]]:
        rows = {store: sorted(self._last(store).values()) for store in STORES}
        group: Mapping[TopicPartition, Committed] = self.broker.groups[ORIGIN]
        return rows, [(at.position, Metadata.decode(at.metadata)) for at in group.values()]

    def _last(self, store: str) -> dict[bytes, int]:
        return {
            one.key: int(one.value[9:])
            for one in self.broker.records(f"{ORIGIN}-{store}-changelog")
            if one.value is not None and one.key is not None and self.key_of(0) in one.key
        }


def _record(at_ms: int) -> SeedRecord:
    return SeedRecord(
        repository="file:///snapshots",
        layout=1,
        stem="one",
        positions={},
        as_of_ms=at_ms,
        bytes=1,
    )


def test_windows_of_the_interval_are_those_of_the_older_ones() -> None:
    rows, known = Spanning(is_whole=False).sown()
    assert rows == {
        "totals": [NEW],
        "hourly": [OLD] * 2 + [NEW] * 4,
        "hopping": [NEW] * 6,
        "visits": [NEW],
    }
    for position, metadata in known:
        assert position == 1
        assert metadata.stream_time_ms == OLD
        assert sorted(metadata.times.values()) == [OLD - 1, NEW - 2, NEW]


def test_without_older_ones_there_are_none() -> None:
    rows, known = Spanning(is_whole=True).sown()
    assert rows["hourly"] == [NEW] * 4
    for position, metadata in known:
        assert position == 0
        assert metadata.stream_time_ms == -1
        assert sorted(metadata.times.values()) == [NEW - 2, NEW]


class KilledError(Exception):
    """Where a process is killed."""


@pytest.mark.parametrize("point", ["_send", "commit"])
@pytest.mark.parametrize("is_before", [True, False])
def test_killed_at_any_row_or_position_it_ends_with_the_same(
    point: str, is_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Spanning(is_whole=False).sown()
    real = getattr(_Sower, point)
    deaths = 0
    for dies_at in count(1):
        calls = 0

        def dying(one: _Sower, *given: Any, dies_at: int = dies_at, **named: Any) -> None:
            nonlocal calls
            calls += 1
            if is_before and calls == dies_at:
                raise KilledError
            real(one, *given, **named)
            if calls == dies_at:
                raise KilledError

        app = Spanning(is_whole=False)
        with monkeypatch.context() as patched:
            patched.setattr(_Sower, point, dying)
            try:
                app.sow()
            except KilledError:
                deaths += 1
        if calls < dies_at:
            break
        with app.open(app.config) as world:
            is_done = is_sown(world, app.asked)
        assert (app.seen() if is_done else app.sown()) == wanted
    assert deaths > (20 if point == "_send" else 1)
