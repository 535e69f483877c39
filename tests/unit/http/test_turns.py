from __future__ import annotations

import threading
import time

import pytest

from streamer.http import turns as turns_module
from streamer.http.answers import QueryError
from streamer.http.turns import (
    BURST_SECONDS,
    HOLD_SECONDS_MAX,
    SHARE,
    Share,
    Turns,
    main_thread_seconds,
)


class Processing:
    """A machine whose main thread uses a given part of its time."""

    def __init__(self, busy: float) -> None:
        self.busy = busy
        self.now = 100.0
        self.main = 7.0

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.main += seconds * self.busy

    def share(self) -> Share:
        return Share(lambda: self.now, lambda: self.main)


def used_in(machine: Processing, seconds: float, cost: float) -> float:
    """The CPU time that a client gets who asks again as soon as it is answered."""
    share = machine.share()
    used = 0.0
    ends = machine.now + seconds
    while machine.now < ends:
        wait = share.wait_seconds()
        machine.advance(wait + cost)
        share.use(cost)
        used += cost
    return used


@pytest.mark.parametrize("cost", [0.0002, 0.001, 0.01])
def test_queries_get_their_share_while_the_main_thread_works(cost: float) -> None:
    used = used_in(Processing(0.9), 20, cost)
    assert used == pytest.approx(SHARE * 20, rel=0.05, abs=BURST_SECONDS)


def test_queries_get_all_while_the_main_thread_rests() -> None:
    assert used_in(Processing(0.01), 20, 0.001) == pytest.approx(20, rel=0.05)


def test_nobody_is_held_back_for_long() -> None:
    machine = Processing(0.9)
    share = machine.share()
    share.use(60.0)
    assert share.wait_seconds() == HOLD_SECONDS_MAX


def test_a_short_burst_is_free() -> None:
    machine = Processing(0.9)
    share = machine.share()
    share.use(BURST_SECONDS * 0.9)
    assert share.wait_seconds() == 0
    share.use(BURST_SECONDS * 0.9)
    assert share.wait_seconds() > 0
    machine.advance(1.0)
    assert share.wait_seconds() == 0


def test_without_a_clock_of_the_main_thread_it_counts_as_busy() -> None:
    machine = Processing(0.0)
    share = Share(lambda: machine.now, lambda: None)
    for _ in range(20):
        machine.advance(0.2)
        share.use(0.2)
    assert share.wait_seconds() > 0


def test_the_clock_of_the_main_thread_is_read_from_another() -> None:
    seen: list[float | None] = []

    def look() -> None:
        seen.append(main_thread_seconds())

    def look_apart() -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    look_apart()
    ends = time.thread_time() + 0.1
    while time.thread_time() < ends:
        pass
    look_apart()
    first, second = seen
    assert first is not None
    assert second is not None
    assert second - first >= 0.1


@pytest.mark.slow
def test_few_work_at_once_and_waiting_is_not_work() -> None:
    turns = Turns()
    working = 0
    most = 0
    lock = threading.Lock()

    def work(is_waiting: bool) -> None:
        nonlocal working, most
        with turns:
            if is_waiting:
                with turns.outside():
                    time.sleep(0.5)
                return
            with lock:
                working += 1
                most = max(most, working)
            time.sleep(0.01)
            with lock:
                working -= 1

    threads = [threading.Thread(target=work, args=(n % 2 == 0,)) for n in range(40)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert most == turns_module.WORKING_MAX
    # One after the other the waits alone would take ten seconds.
    assert time.monotonic() - began < 8


def test_a_third_long_piece_of_work_is_refused_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns_module, "LONG_WAIT_SECONDS", 0.05)
    turns = Turns()
    with turns, turns.long(), turns.long():
        with pytest.raises(QueryError, match="2 ranges are being read") as caught, turns.long():
            raise AssertionError("the third began")
        assert (caught.value.status, caught.value.retry_after_s) == (503, 1)
    with turns, turns.long(), turns.long():
        pass
