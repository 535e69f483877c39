"""A lease that was lost is back once all was read that was written before it was asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from streamer.clock import ManualClock
from streamer.cluster.lease import Lease
from streamer.cluster.proof import Proof
from streamer.errors import KafkaUnavailableError

BOUND_MS = 1_000


class Brokers:
    """They answer when a test says so."""

    def __init__(self) -> None:
        self.end: int | None = None
        self.waiting: list[Callable[[], None]] = []
        self.asked = 0

    def answer(self, end: int | None) -> None:
        self.end = end
        self.waiting.pop(0)()

    def __call__(self) -> int:
        self.asked += 1
        if self.end is None:
            raise KafkaUnavailableError("no broker answers")
        return self.end


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lease(clock: ManualClock) -> Lease:
    made = Lease(BOUND_MS, clock)
    made.renew(clock.monotonic_ms())
    return made


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def proof(lease: Lease, brokers: Brokers) -> Proof:
    return Proof(lease, brokers, apart=brokers.waiting.append)


def lose(clock: ManualClock, lease: Lease) -> None:
    clock.advance(BOUND_MS)
    speak(clock, lease, BOUND_MS)


def speak(clock: ManualClock, lease: Lease, for_ms: int) -> None:
    for _ in range(for_ms // 500):
        lease.renew(clock.monotonic_ms())
        clock.advance(500)
    lease.renew(clock.monotonic_ms())


def test_nobody_is_asked_while_the_lease_is_whole_or_the_bound_not_over(
    clock: ManualClock, lease: Lease, brokers: Brokers, proof: Proof
) -> None:
    proof.look(5)
    clock.advance(BOUND_MS)
    proof.look(5)
    lease.renew(clock.monotonic_ms())
    proof.look(5)
    assert not brokers.waiting


def test_it_is_back_once_all_is_read_up_to_the_end(
    clock: ManualClock, lease: Lease, brokers: Brokers, proof: Proof
) -> None:
    lose(clock, lease)
    for _ in range(3):
        proof.look(5)
        assert len(brokers.waiting) == 1
    brokers.answer(7)
    for reached, is_back in ((5, False), (6, False), (7, True)):
        proof.look(reached)
        assert lease.holds == is_back
    proof.look(7)
    assert (brokers.asked, brokers.waiting) == (1, [])


def test_it_asks_again_where_nobody_answered(
    clock: ManualClock, lease: Lease, brokers: Brokers, proof: Proof
) -> None:
    lose(clock, lease)
    proof.look(7)
    brokers.answer(None)
    proof.look(7)
    assert not brokers.waiting
    speak(clock, lease, 500)
    proof.look(7)
    brokers.answer(7)
    proof.look(7)
    assert lease.holds


def test_an_answer_from_before_another_loss_counts_for_nothing(
    clock: ManualClock, lease: Lease, brokers: Brokers, proof: Proof
) -> None:
    lose(clock, lease)
    proof.look(7)
    lose(clock, lease)
    proof.look(7)
    assert len(brokers.waiting) == 1
    brokers.answer(7)
    proof.look(7)
    assert not lease.holds
    brokers.answer(8)
    proof.look(7)
    assert not lease.holds
    proof.look(8)
    assert lease.holds


def test_an_end_that_is_not_reached_is_asked_for_again(
    clock: ManualClock, lease: Lease, brokers: Brokers, proof: Proof
) -> None:
    """The topic may have been made anew: what stood there first is gone with its offsets."""
    lose(clock, lease)
    proof.look(1)
    brokers.answer(9_000)
    speak(clock, lease, 30_000)
    proof.look(1)
    brokers.answer(1)
    proof.look(1)
    assert lease.holds


def test_whoever_hears_does_not_wait_for_the_brokers(clock: ManualClock, lease: Lease) -> None:
    answers, came = threading.Event(), threading.Event()

    def end() -> int:
        came.set()
        assert answers.wait(240)
        return 3

    proof = Proof(lease, end)
    lose(clock, lease)
    proof.look(3)
    assert came.wait(240)
    assert not lease.holds
    answers.set()
    until = time.monotonic() + 60
    while not lease.holds and time.monotonic() < until:
        proof.look(3)
    assert lease.holds
