"""What a worker does when its assignment carries a pause, in which order, and how that ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamer.clock import ManualClock
from streamer.cluster.seat import Desired
from streamer.errors import KafkaUnavailableError, LayoutChangedError
from streamer.ids import FIRST_LAYOUT, Layout
from streamer.worker.pausing import Pausing

LEASE_MS = 5_000
WAIT_S = 120


class Rig:
    """Notes what is done with the tasks; `recorded` is asked in a thread, and answers at once but
    where `gate` is closed."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.clock = ManualClock()
        self.running: list[Any] = []
        self.commits = True
        self.layout = FIRST_LAYOUT
        self.failure: KafkaUnavailableError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked = 0
        tasks: Any = self
        self.pausing = Pausing(tasks, self.recorded, running=FIRST_LAYOUT, clock=self.clock)

    def hold(self) -> None:
        self.done.append("hold")

    def release(self) -> None:
        self.done.append("release")

    def commit(self) -> bool:
        self.done.append("commit")
        return self.commits

    def recorded(self) -> Layout:
        self.asked += 1
        answer, failure = self.layout, self.failure
        assert self.gate.wait(WAIT_S)
        if failure is not None:
            raise failure
        return answer

    def turn(self, carried: str) -> bool:
        desired = Desired(1, frozenset(), paused=carried, pause_ms=LEASE_MS)
        return self.pausing.turn(desired, self.commit)

    def turn_until(self, carried: str, is_so: Callable[[], bool]) -> None:
        until = threading.Event()
        for _ in range(WAIT_S * 100):
            self.turn(carried)
            if is_so():
                return
            until.wait(0.01)
        raise AssertionError("it does not come to that")

    def paused(self, number: str) -> None:
        assert self.turn(number)
        assert self.pausing.number == number


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_it_is_kept_once_all_is_committed(rig: Rig) -> None:
    rig.commits = False
    assert not rig.turn("one"), "nothing is read while the commit has to be tried again"
    assert (rig.done, rig.pausing.told) == (["commit"], ("", ""))
    rig.commits = True
    rig.paused("one")
    assert rig.done == ["commit", "commit", "hold"]
    assert rig.pausing.is_news()
    assert rig.turn("one")
    assert not rig.pausing.is_news()
    assert rig.done[3:] == []


def test_what_was_read_meanwhile_is_committed_before_all_is_read_again(rig: Rig) -> None:
    rig.paused("one")
    rig.done.clear()
    rig.commits = False
    assert not rig.turn("")
    assert (rig.done, rig.pausing.number) == (["commit"], "one")
    rig.commits = True
    assert rig.turn("")
    assert rig.done == ["commit", "commit", "release"]
    assert rig.pausing.told == ("", "")


def test_a_lease_that_is_over_is_ended_when_nothing_came_of_it(rig: Rig) -> None:
    rig.paused("one")
    rig.done.clear()
    rig.clock.advance(LEASE_MS)
    rig.turn_until("one", lambda: rig.pausing.told == ("", "one"))
    assert rig.done == ["commit", "release"]
    assert rig.asked == 1
    assert rig.turn("one"), "whoever still carries it"
    assert rig.done == ["commit", "release"]


def test_a_layout_that_was_recorded_is_begun_with_nothing_committed(rig: Rig) -> None:
    rig.paused("one")
    rig.done.clear()
    rig.layout = Layout(2)
    rig.clock.advance(LEASE_MS)
    with pytest.raises(LayoutChangedError, match="layout 2 was recorded"):
        rig.turn_until("one", lambda: False)
    assert rig.done == []


def test_brokers_that_are_away_are_asked_again_later(rig: Rig) -> None:
    rig.paused("one")
    rig.failure = KafkaUnavailableError("no answer")
    rig.clock.advance(LEASE_MS)
    rig.turn_until("one", lambda: rig.pausing._again_ms > 0)
    rig.failure = None
    assert rig.turn("one")
    assert (rig.asked, rig.pausing.number) == (1, "one")
    rig.clock.advance(1_000)
    rig.turn_until("one", lambda: rig.pausing.told == ("", "one"))
    assert rig.asked == 2


def test_what_was_seen_for_one_pause_says_nothing_of_the_next(rig: Rig) -> None:
    """The look takes the right to record away from whoever has it then, and from nobody later."""
    rig.paused("one")
    rig.clock.advance(LEASE_MS)
    rig.turn_until("one", lambda: rig.asked == 1)
    assert rig.turn(""), "ended by others meanwhile"
    rig.paused("two")
    rig.gate.clear()
    rig.clock.advance(LEASE_MS)
    rig.turn_until("two", lambda: rig.asked == 2)
    assert rig.pausing.number == "two"
    rig.gate.set()
    rig.turn_until("two", lambda: rig.pausing.told == ("", "two"))


def test_a_new_life_keeps_nothing(rig: Rig) -> None:
    rig.paused("one")
    rig.pausing.begin()
    assert rig.pausing.told == ("", "")
    rig.paused("one")
