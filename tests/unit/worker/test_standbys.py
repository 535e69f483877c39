"""Copies of others' tasks: opened one by one, handed over as they are, told when they fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer import metrics
from streamer.changelog.format import Positions
from streamer.control.messages import StandbyReport
from streamer.errors import StateDirectoryError, StateOutdatedError, StreamerError
from streamer.ids import TaskId
from streamer.worker import standbys as module
from streamer.worker.standbys import Standbys

FIRST, SECOND = TaskId(0, 0), TaskId(0, 1)


class Database:
    def __init__(self, metadata: dict[str, bytes]) -> None:
        self._metadata = metadata
        self.directory = Path("0_0")
        self.is_closed = False

    def metadata(self) -> dict[str, bytes]:
        return self._metadata

    def size_bytes(self) -> int:
        return 77

    def close(self) -> None:
        self.is_closed = True


class Restorer:
    """Follows what it is given; the test says how far each copy is."""

    def __init__(self) -> None:
        self.followed: set[TaskId] = set()
        self.lags: dict[TaskId, int] = {}
        self.current: set[TaskId] = set()
        self.saved: dict[TaskId, dict[str, int]] = {}

    def follow(self, task: TaskId, _database: object, _changelogs: object) -> None:
        self.followed.add(task)

    def cancel(self, *tasks: TaskId) -> None:
        self.followed -= set(tasks)

    def lag(self, task: TaskId) -> int | None:
        return self.lags.get(task)

    def is_current(self, task: TaskId) -> bool:
        return task in self.current

    def durable(self, task: TaskId) -> dict[str, int]:
        return self.saved.get(task, {})


class Directory:
    def __init__(self) -> None:
        self.aside: list[TaskId] = []

    def put_aside(self, task: TaskId, _now_ms: int) -> Path:
        self.aside.append(task)
        return Path(f"{task}.old")


class Kept:
    """Copies over databases that open or do not."""

    def __init__(self) -> None:
        self.restorer = Restorer()
        self.directory: Any = Directory()
        self.databases: dict[TaskId, Database] = {}
        self.refusal: StreamerError | None = None
        self.metadata = Positions(stream_time_ms=40).encode()
        restorer: Any = self.restorer
        self.standbys = Standbys(
            self._open, lambda _task: {}, directory=self.directory, restorer=restorer
        )

    def _open(self, task: TaskId) -> Any:
        if self.refusal is not None:
            raise self.refusal
        self.databases[task] = Database(self.metadata)
        return self.databases[task]

    def keep(self, *tasks: TaskId) -> None:
        while self.standbys.keep(frozenset(tasks)):
            pass


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    monkeypatch.setattr(module, "_LOOK_S", 0.0)
    yield Kept()
    for task in (FIRST, SECOND):
        metrics.forget_task(task)


def test_one_is_opened_at_a_time(kept: Kept) -> None:
    wanted = frozenset({FIRST, SECOND})
    assert kept.standbys.keep(wanted)
    assert kept.standbys.tasks == {FIRST}
    assert kept.standbys.keep(wanted)
    assert not kept.standbys.keep(wanted)
    assert kept.restorer.followed == wanted
    assert [one.stored.stream_time_ms for one in kept.standbys.all] == [40, 40]


def test_one_that_is_taken_goes_on_following_with_its_database_open(kept: Kept) -> None:
    kept.keep(FIRST)
    taken = kept.standbys.take(FIRST)
    assert taken is not None
    assert kept.restorer.followed == {FIRST}
    assert not kept.databases[FIRST].is_closed
    assert kept.standbys.tasks == frozenset()
    assert kept.standbys.take(FIRST) is None


def test_closed_ones_end_following_first(kept: Kept) -> None:
    kept.keep(FIRST, SECOND)
    kept.standbys.close([FIRST, TaskId(9, 9)])
    assert kept.restorer.followed == {SECOND}
    assert kept.databases[FIRST].is_closed
    assert kept.standbys.tasks == {SECOND}


def test_it_is_told_how_far_each_is(kept: Kept) -> None:
    kept.keep(FIRST, SECOND)
    kept.restorer.lags = {FIRST: 30}
    kept.restorer.current = {FIRST}
    kept.restorer.saved = {FIRST: {"totals": 12}}
    assert kept.standbys.reports() == {
        FIRST: StandbyReport(lag_records=30, is_current=True, bytes=77, durable={"totals": 12}),
        SECOND: StandbyReport(lag_records=-1, bytes=77),
    }


def test_becoming_warm_is_news_once(kept: Kept) -> None:
    kept.keep(FIRST, SECOND)
    assert not kept.standbys.has_warmed(10)
    kept.restorer.lags = {FIRST: 10, SECOND: 11}
    assert kept.standbys.has_warmed(10)
    assert not kept.standbys.has_warmed(10)
    # Beside a busy owner the lag is that of the open transaction.
    kept.restorer.current = {SECOND}
    assert kept.standbys.has_warmed(10)


def test_one_that_cannot_be_opened_is_told_and_not_tried_for_ever(kept: Kept) -> None:
    kept.refusal = StateDirectoryError("locked")
    kept.keep(FIRST)
    assert kept.standbys.failures == {FIRST: kept.refusal}
    assert kept.standbys.reports() == {FIRST: StandbyReport(state="failed", lag_records=-1)}
    kept.standbys.close([FIRST])
    kept.refusal = None
    kept.keep(FIRST)
    assert not kept.standbys.failures


def test_positions_of_another_format_are_a_failure_with_the_database_closed(kept: Kept) -> None:
    kept.metadata = {"changelog/s": b"\x63" + bytes(8)}
    kept.keep(FIRST)
    assert "unknown format" in str(kept.standbys.failures[FIRST])
    assert kept.databases[FIRST].is_closed


def test_one_that_stops_following_is_closed_and_told(kept: Kept) -> None:
    kept.keep(FIRST)
    kept.restorer.saved = {FIRST: {"totals": 12}}
    kept.standbys.ended(FIRST, StreamerError("the changelog is gone"))
    assert kept.databases[FIRST].is_closed
    # Its disk is there still, and is told of until the copy is given up.
    kept.restorer.saved = {}
    assert kept.standbys.reports()[FIRST].durable == {"totals": 12}
    assert str(kept.standbys.failures[FIRST]) == "the changelog is gone"
    assert kept.directory.aside == []


def test_a_state_that_is_too_old_is_put_aside_and_made_anew(kept: Kept) -> None:
    kept.keep(FIRST)
    before = kept.databases[FIRST]
    kept.standbys.ended(FIRST, StateOutdatedError("too old"))
    assert before.is_closed
    assert kept.directory.aside == [FIRST]
    assert kept.restorer.followed == {FIRST}
    assert not kept.standbys.failures
