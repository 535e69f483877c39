"""Longer streams keep what matters of the history: its sums, its days, its customers."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from itertools import pairwise

import pytest

from demo import cdnow
from demo.amplify import amplify, key_of, records
from demo.cdnow import CENTS, CUSTOMERS, PURCHASES, Purchase
from examples.profiles import Purchase as Read
from streamer.topology.serde import Json


@pytest.fixture(scope="module")
def history() -> list[Purchase]:
    return cdnow.history()


@pytest.mark.slow
def test_one_copy_is_the_history(history: list[Purchase]) -> None:
    assert list(amplify(history, copies=1)) == history


@pytest.mark.slow
def test_one_turn_holds_every_purchase_once_per_copy(history: list[Purchase]) -> None:
    stream = list(amplify(history, copies=3))
    assert len(stream) == 3 * PURCHASES
    assert sum(purchase.cents for purchase in stream) == 3 * CENTS
    assert {purchase.customer for purchase in stream} == set(range(1, 3 * CUSTOMERS + 1))

    def bought(first: int) -> Counter[tuple[int, int, int]]:
        return Counter(
            (purchase.customer - first, purchase.cds, purchase.cents)
            for purchase in stream
            if first < purchase.customer <= first + CUSTOMERS
        )

    assert bought(0) == bought(CUSTOMERS) == bought(2 * CUSTOMERS)


@pytest.mark.slow
def test_days_never_go_back_and_copies_differ(history: list[Purchase]) -> None:
    stream = list(amplify(history, copies=2))
    assert all(one.day <= other.day for one, other in pairwise(stream))
    first = [purchase for purchase in stream if purchase.customer <= CUSTOMERS]
    second = [purchase for purchase in stream if purchase.customer > CUSTOMERS]
    assert first == history
    assert Counter(one.day for one in first) != Counter(one.day for one in second)


@pytest.mark.slow
def test_a_longer_stream_goes_on_after_the_last_day(history: list[Purchase]) -> None:
    stream = list(amplify(history, copies=1, events=PURCHASES + 2))
    turn = timedelta(days=546)
    assert stream[PURCHASES:] == [
        purchase._replace(day=purchase.day + turn) for purchase in history[:2]
    ]


def test_a_shorter_stream_is_the_beginning_of_a_longer_one(history: list[Purchase]) -> None:
    longer = list(amplify(history, copies=4, events=5_000))
    assert list(amplify(history, copies=4, events=1_234)) == longer[:1_234]
    assert len(longer) == 5_000


def test_load_of_millions_of_customers_can_begin_at_once(history: list[Purchase]) -> None:
    stream = list(amplify(history, copies=212, events=50_000))
    assert 212 * CUSTOMERS == 4_996_840
    assert max(purchase.customer for purchase in stream) > 4_900_000
    assert len(stream) == 50_000


def test_nothing_comes_of_nothing(history: list[Purchase]) -> None:
    assert list(amplify([], copies=2, events=5)) == []
    assert list(amplify(history, copies=0, events=5)) == []


def test_records_are_what_the_application_reads(history: list[Purchase]) -> None:
    key, value, timestamp_ms = next(records(history, copies=1))
    assert (key, timestamp_ms) == (b"00001", 852_076_800_000)
    assert value == b'{"day":"1997-01-01","cds":1,"cents":1177}'
    assert key_of(1_234_567) == "1234567"


@pytest.mark.slow
def test_records_are_the_purchases_of_the_same_arguments(history: list[Purchase]) -> None:
    events = 3 * PURCHASES + 100
    decode = Json(Read).decode
    purchases = amplify(history, copies=3, events=events)
    read = records(history, copies=3, events=events)
    for purchase, (key, value, timestamp_ms) in zip(purchases, read, strict=True):
        assert key == key_of(purchase.customer).encode()
        assert decode(value) == Read(purchase.day, purchase.cds, purchase.cents)
        assert timestamp_ms == (purchase.day - date(1970, 1, 1)).days * 86_400_000
