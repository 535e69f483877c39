"""What a task says that its disk has is what a restart would go on from."""

from __future__ import annotations

import pytest

from streamer import App
from streamer.changelog.format import Positions
from streamer.errors import StateDirectoryError
from streamer.ids import TaskId
from streamer.task.active import ActiveTask
from streamer.testing import TopologyTestDriver

FIRST = TaskId(0, 0)


def app() -> App:
    made = App("spend")
    amounts = made.stream("in", key=str, value=int).group_by_key()
    amounts.aggregate(int, lambda _key, value, total: total + value, store="totals")
    amounts.count(store="counts")
    return made


def on_disk(active: ActiveTask) -> dict[str, int]:
    found = Positions.decode(active.database.metadata()).changelogs
    return {store: found.get(store, 0) for store in active.changelogs}


def test_it_is_what_the_database_has_from_the_first_moment_on() -> None:
    with TopologyTestDriver(app(), partitions=1) as driver:
        active = driver._life.tasks[FIRST]
        assert active.durable == on_disk(active) == {"totals": 0, "counts": 0}
        driver.send("in", "a", 5)
        assert active.durable == on_disk(active)
        assert min(active.durable.values()) > 0
        driver.crash()
        again = driver._life.tasks[FIRST]
        assert again is not active
        assert again.durable == on_disk(again)


def test_what_was_committed_and_not_stored_is_not_on_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with TopologyTestDriver(app(), partitions=1) as driver:
        driver.send("in", "a", 5)
        active = driver._life.tasks[FIRST]
        before = dict(active.durable)

        def fails(*_given: object) -> None:
            raise StateDirectoryError("the disk is full")

        monkeypatch.setattr(active.database, "write", fails)
        with pytest.raises(StateDirectoryError):
            driver.send("in", "a", 6)
        assert active.changelog_ends["totals"] > before["totals"]
        assert active.durable == before
