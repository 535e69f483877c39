"""Where more lies in the topics than can be taken, every task is read in its turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.ids import TaskId
from streamer.worker.rota import Rota
from tests.hurry import examples

TASKS = [TaskId(0, number) for number in range(6)]
STEP_MS = 10


class Client:
    """Reads the first two tasks that are awake and have something left, and no other, as a client
    does whose queue is full; `left` are fetches' worth of records of each."""

    def __init__(self, left: Counter[TaskId], bubble: int = 3) -> None:
        self.left = left
        self.rota = Rota()
        self.now_ms = 0
        self.read: Counter[TaskId] = Counter()
        self.empty = 0
        self._bubble = bubble
        self._waits = 0
        self._awake: set[TaskId] = set()

    def step(self) -> None:
        awake = set(TASKS) - set(self.rota.resting)
        if awake != self._awake:
            # What was fetched is dropped, and the next of it takes a while.
            self._awake, self._waits = awake, self._bubble
        found: Collection[TaskId] = ()
        if self._waits:
            self._waits -= 1
        else:
            found = [one for one in TASKS if one in awake and self.left[one]][:2]
        for one in found:
            self.left[one] -= 1
            self.read[one] += 1
        self.empty += not found
        self.now_ms += STEP_MS
        self.rota.saw(found, TASKS, is_full=bool(found), now_ms=self.now_ms)

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 1_000 / STEP_MS)):
            self.step()


def test_each_is_read_although_the_first_are_never_done() -> None:
    client = Client(Counter(dict.fromkeys(TASKS, 1_000_000)))
    client.run(60)
    assert min(client.read.values()) * 2 >= max(client.read.values())
    assert set(client.read) == set(TASKS)


def test_little_time_is_lost_by_turns() -> None:
    client = Client(Counter(dict.fromkeys(TASKS, 1_000_000)))
    client.run(60)
    assert client.empty * STEP_MS <= 60_000 * 0.02


def test_nobody_rests_where_the_others_have_nothing_for_longer_than_it_takes_to_see() -> None:
    client = Client(Counter(dict.fromkeys(TASKS[:2], 1_000_000)))
    client.run(120)
    assert client.empty * STEP_MS <= 120_000 * 0.02
    assert sum(client.read.values()) >= 120_000 / STEP_MS * 2 * 0.97


def test_what_comes_for_one_that_had_nothing_is_read_within_the_minute() -> None:
    client = Client(Counter(dict.fromkeys(TASKS[:2], 1_000_000)))
    client.run(20)
    client.left[TASKS[5]] = 10
    client.run(45)
    assert not client.left[TASKS[5]]


def test_who_has_little_holds_the_others_up_no_longer_than_it_takes_to_see() -> None:
    rota = Rota()
    busy, quiet = TASKS[:2]
    now_ms = 0
    while not rota.resting:
        now_ms += STEP_MS
        rota.saw([busy], [busy, quiet], is_full=True, now_ms=now_ms)
    began_ms = now_ms
    while rota.resting:
        now_ms += STEP_MS
        rota.saw([quiet], [busy, quiet], is_full=False, now_ms=now_ms)
    assert now_ms - began_ms <= 250


def test_a_long_time_between_two_fetches_is_not_taken_for_nothing_left() -> None:
    """User code may take seconds for what one fetch has brought."""
    rota = Rota()
    busy, late = TASKS[:2]
    rota.saw([busy], [busy, late], is_full=True, now_ms=0)
    rota.saw([busy], [busy, late], is_full=True, now_ms=5_000)
    assert set(rota.resting) == {busy}
    rota.saw([], [busy, late], is_full=False, now_ms=5_010)
    rota.saw([late], [busy, late], is_full=True, now_ms=8_900)
    assert set(rota.resting) == {busy}


@pytest.mark.parametrize("is_full", [True, False])
def test_a_fetch_that_took_all_there_is_lets_everybody_be_read(is_full: bool) -> None:
    rota = Rota()
    for now_ms in range(0, 20_000, STEP_MS):
        is_last = now_ms % 3_000 == 0
        rota.saw([TASKS[0]], TASKS, is_full=is_full and not is_last, now_ms=now_ms)
        assert not rota.resting


def test_of_tasks_that_are_gone_none_rests() -> None:
    rota = Rota()
    for now_ms in (0, 5_000):
        rota.saw(TASKS[:2], TASKS, is_full=True, now_ms=now_ms)
    assert set(rota.resting) == set(TASKS[:2])
    rota.saw([TASKS[3]], TASKS[1:], is_full=True, now_ms=5_010)
    assert set(rota.resting) == {TASKS[1]}
    rota.begin()
    assert not rota.resting


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.integers(0, 3_000), min_size=len(TASKS), max_size=len(TASKS)), st.integers(0, 9))
def test_all_is_read_whoever_has_how_much(left: list[int], bubble: int) -> None:
    client = Client(Counter(dict(zip(TASKS, left, strict=True))), bubble)
    needed = sum(left)
    for _ in range(needed * 2 + 20_000):
        if not any(client.left.values()):
            break
        client.step()
    assert not any(client.left.values())
    # Time without anything: when turns change, and where one of two has nothing left.
    assert client.empty <= needed * 0.05 + 200
