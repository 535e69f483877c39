"""Which way is taken: never one that is not there, never one that is expected to take longer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.restore.choice import Choice, Facts, Offer, Rates, Way, choose

OFFSETS = st.integers(0, 10**10)
BYTES = st.integers(0, 10**13)
OFFERS = st.builds(
    Offer,
    st.just("0000000001-" + "a" * 32),
    size_bytes=BYTES,
    reusable_bytes=BYTES,
    left_offsets=OFFSETS,
)
FACTS = st.builds(
    Facts,
    local_offsets=st.none() | OFFSETS,
    whole_offsets=st.none() | OFFSETS,
    offer=st.none() | OFFERS,
)
RATES = st.builds(
    Rates,
    records_per_s=st.integers(1, 10**7),
    bytes_per_s=st.integers(1, 10**10),
    gain_s=st.floats(0, 1000),
)
USUAL = Rates(records_per_s=100_000, bytes_per_s=100 << 20, gain_s=5.0)
GIB = 1 << 30


def offer(size: int = GIB, reusable: int = 0, left: int = 0) -> Offer:
    return Offer("0000000001-" + "a" * 32, size, reusable, left)


@given(FACTS, RATES)
def test_there_is_a_way_exactly_when_something_is_there(facts: Facts, rates: Rates) -> None:
    chosen = choose(facts, rates)
    nothing = facts.local_offsets is facts.whole_offsets is facts.offer is None
    assert (chosen is None) == nothing


@given(FACTS, RATES)
def test_a_way_that_is_not_there_is_never_taken(facts: Facts, rates: Rates) -> None:
    chosen = choose(facts, rates)
    if chosen is None:
        return
    there = {
        Way.TAIL: facts.local_offsets is not None,
        Way.CHANGELOG: facts.whole_offsets is not None,
        Way.DELTA: facts.offer is not None and facts.offer.reusable_bytes > 0,
        Way.FULL: facts.offer is not None,
    }
    assert there[chosen.way]


@given(FACTS, RATES)
def test_a_snapshot_is_taken_only_where_it_saves_what_it_has_to(facts: Facts, rates: Rates) -> None:
    chosen = choose(facts, rates)
    without = choose(
        Facts(local_offsets=facts.local_offsets, whole_offsets=facts.whole_offsets, offer=None),
        rates,
    )
    if chosen is not None and without is not None:
        if chosen.way.fetches:
            assert chosen.seconds + rates.gain_s <= without.seconds
        else:
            assert chosen == without


@given(FACTS, RATES, OFFSETS)
def test_a_longer_log_never_makes_the_log_the_sooner_way(
    facts: Facts, rates: Rates, more: int
) -> None:
    if facts.offer is None or facts.local_offsets is None:
        return
    chosen = choose(facts, rates)
    assert chosen is not None
    longer = Facts(
        local_offsets=facts.local_offsets + more,
        whole_offsets=None if facts.whole_offsets is None else facts.whole_offsets + more,
        offer=facts.offer,
    )
    then = choose(longer, rates)
    assert then is not None
    assert then.way.fetches or not chosen.way.fetches


@given(FACTS, RATES)
def test_a_state_that_is_here_and_whole_is_never_begun_anew(facts: Facts, rates: Rates) -> None:
    if facts.local_offsets is None or facts.whole_offsets is None:
        return
    here = min(facts.local_offsets, facts.whole_offsets)
    chosen = choose(
        Facts(local_offsets=here, whole_offsets=facts.whole_offsets, offer=facts.offer), rates
    )
    assert chosen is not None
    assert chosen.way is not Way.CHANGELOG


def test_an_empty_disk_and_a_long_log() -> None:
    facts = Facts(local_offsets=10**7, whole_offsets=10**7, offer=offer(left=10_000))
    chosen = choose(facts, USUAL)
    assert chosen == Choice(Way.FULL, 10.24 + 0.1)


def test_what_is_on_this_disk_need_not_be_fetched() -> None:
    facts = Facts(local_offsets=None, whole_offsets=None, offer=offer(100 * GIB, 99 * GIB))
    chosen = choose(facts, USUAL)
    assert chosen is not None
    assert chosen.way is Way.DELTA
    assert chosen.seconds < 300


def test_a_short_tail_is_read() -> None:
    facts = Facts(local_offsets=1_000, whole_offsets=10**9, offer=offer(1))
    assert choose(facts, USUAL) == Choice(Way.TAIL, 0.01)


def test_a_trimmed_log_leaves_the_snapshot_alone() -> None:
    facts = Facts(local_offsets=None, whole_offsets=None, offer=offer(left=10**9))
    chosen = choose(facts, USUAL)
    assert chosen is not None
    assert chosen.way is Way.FULL
