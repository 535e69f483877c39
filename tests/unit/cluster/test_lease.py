"""An owner answers as one only while nobody can have been put in its place."""

from __future__ import annotations

import pytest

from streamer.clock import ManualClock
from streamer.cluster.lease import Lease, bound_ms

SUSPICION_MS = 6_000
BOUND_MS = bound_ms(SUSPICION_MS)


@pytest.fixture
def clock() -> ManualClock:
    made = ManualClock()
    made.advance(50_000)
    return made


@pytest.fixture
def lease(clock: ManualClock) -> Lease:
    return Lease(BOUND_MS, clock)


def prove(lease: Lease) -> None:
    """It has heard all that there was."""
    loss = lease.unproven
    assert loss is not None
    lease.prove(loss)


def test_it_ends_before_anybody_can_be_suspected() -> None:
    assert 0.9 * SUSPICION_MS < BOUND_MS < SUSPICION_MS


def test_it_counts_from_when_a_status_was_sent_and_not_from_its_acknowledgement(
    clock: ManualClock, lease: Lease
) -> None:
    assert (lease.holds, lease.age_ms) == (False, None)
    sent_ms = clock.monotonic_ms()
    clock.advance(BOUND_MS - 1)
    lease.renew(sent_ms)
    assert (lease.holds, lease.age_ms) == (True, BOUND_MS - 1)
    clock.advance(1)
    assert not lease.holds


def test_the_wall_clock_has_no_say(clock: ManualClock, lease: Lease) -> None:
    lease.renew(clock.monotonic_ms())
    clock.jump_to(10**12)
    assert lease.holds
    clock.jump_to(0)
    clock.advance(BOUND_MS)
    assert not lease.holds


def test_acknowledgements_that_come_out_of_order_take_nothing_back(
    clock: ManualClock, lease: Lease
) -> None:
    first = clock.monotonic_ms()
    lease.renew(first + 4_000)
    lease.renew(first)
    clock.advance(BOUND_MS + 3_000)
    assert lease.holds


def test_one_that_was_lost_is_not_back_with_the_first_word(
    clock: ManualClock, lease: Lease
) -> None:
    """A worker that slept may have been given up: it hears of that only a moment later."""
    lease.renew(clock.monotonic_ms())
    clock.advance(BOUND_MS)
    lease.renew(clock.monotonic_ms())
    assert not lease.holds
    for _ in range(BOUND_MS // 1_000):
        clock.advance(1_000)
        lease.renew(clock.monotonic_ms())
        assert (lease.holds, lease.unproven) == (False, None)
    clock.advance(1_000)
    lease.renew(clock.monotonic_ms())
    assert not lease.holds
    prove(lease)
    assert (lease.holds, lease.unproven) == (True, None)


def test_whoever_was_told_of_its_end_has_none_until_its_new_life(
    clock: ManualClock, lease: Lease
) -> None:
    lease.renew(clock.monotonic_ms())
    lease.end()
    assert not lease.holds
    lease.renew(clock.monotonic_ms())
    assert not lease.holds
    lease.begin()
    assert not lease.holds
    lease.renew(clock.monotonic_ms())
    assert lease.holds


def test_words_that_waited_for_the_brokers_do_not_bring_it_back(
    clock: ManualClock, lease: Lease
) -> None:
    """Whoever is cut off goes on to speak, and all of that arrives at once."""
    begin = clock.monotonic_ms()
    lease.renew(begin)
    clock.advance(10 * BOUND_MS)
    for sent_ms in range(begin, clock.monotonic_ms() + 1, BOUND_MS // 3):
        lease.renew(sent_ms)
        assert not lease.holds
    for _ in range(4):
        clock.advance(BOUND_MS // 3)
        lease.renew(clock.monotonic_ms())
    prove(lease)
    assert lease.holds


def lost_and_heard(clock: ManualClock, lease: Lease) -> None:
    """A gap, and a bound without one."""
    lease.renew(clock.monotonic_ms())
    clock.advance(BOUND_MS)
    for _ in range(4):
        lease.renew(clock.monotonic_ms())
        clock.advance(BOUND_MS // 3)
    lease.renew(clock.monotonic_ms())


@pytest.mark.parametrize("begins", [False, True])
def test_what_was_shown_before_it_was_lost_again_does_not_count(
    clock: ManualClock, lease: Lease, begins: bool
) -> None:
    lost_and_heard(clock, lease)
    former = lease.unproven
    assert former is not None
    if begins:
        lease.begin()
    lost_and_heard(clock, lease)
    assert lease.unproven not in (None, former)
    lease.prove(former)
    assert not lease.holds
    prove(lease)
    assert lease.holds


def test_nothing_is_to_be_shown_while_it_is_silent_or_after_its_end(
    clock: ManualClock, lease: Lease
) -> None:
    lost_and_heard(clock, lease)
    clock.advance(BOUND_MS)
    assert lease.unproven is None
    lost_and_heard(clock, lease)
    assert lease.unproven is not None
    lease.end()
    assert lease.unproven is None


def test_its_age_goes_on_until_it_is_back(clock: ManualClock, lease: Lease) -> None:
    """What is said meanwhile makes nothing sure that others may have changed."""
    lease.renew(clock.monotonic_ms())
    clock.advance(3 * BOUND_MS)
    lease.renew(clock.monotonic_ms())
    assert (lease.holds, lease.age_ms) == (False, 3 * BOUND_MS)
    for _ in range(3):
        clock.advance(BOUND_MS // 3)
        lease.renew(clock.monotonic_ms())
    assert (lease.holds, lease.age_ms) == (False, 4 * BOUND_MS)
    prove(lease)
    assert (lease.holds, lease.age_ms) == (True, 0)
    lease.end()
    clock.advance(10)
    lease.renew(clock.monotonic_ms())
    assert (lease.holds, lease.age_ms) == (False, 10)
