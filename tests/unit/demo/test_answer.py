"""The computation to compare with, and the comparison."""

from __future__ import annotations

from collections import defaultdict
from datetime import date

import pytest

from demo import cdnow
from demo.answer import Profile, Spent, answer, differences
from demo.cdnow import Purchase

MAY, LATER = date(1997, 5, 6), date(1997, 5, 9)


def test_profiles_and_spending_of_a_few_purchases() -> None:
    found = answer([Purchase(7, LATER, 1, 500), Purchase(7, MAY, 2, 2599), Purchase(8, MAY, 1, 0)])
    assert found.profiles == {
        7: Profile(2, 3, 3099, str(MAY), str(LATER), 2599),
        8: Profile(1, 1, 0, str(MAY), str(MAY), 0),
    }
    # 30 days from 1997-04-09 on, and from 1997-05-09 on.
    first, second = 860_544_000_000, 863_136_000_000
    assert found.spending == {
        (7, first): Spent(1, 2599),
        (7, second): Spent(1, 500),
        (8, first): Spent(1, 0),
    }


@pytest.mark.slow
def test_profiles_of_the_history_are_those_of_a_plain_loop() -> None:
    history = cdnow.history()
    orders: defaultdict[int, int] = defaultdict(int)
    cents: defaultdict[int, int] = defaultdict(int)
    for purchase in history:
        orders[purchase.customer] += 1
        cents[purchase.customer] += purchase.cents

    profiles = answer(history).profiles

    assert {customer: row.orders for customer, row in profiles.items()} == orders
    assert {customer: row.cents for customer, row in profiles.items()} == cents


def test_equal_rows_differ_in_nothing() -> None:
    assert differences("profile", {1: Spent(1, 2)}, {1: Spent(1, 2)}) == []


def test_what_is_wrong_missing_or_too_much_is_named() -> None:
    expected = {1: Spent(1, 2), 2: Spent(1, 2)}
    found = {1: Spent(1, 3), 3: Spent(1, 2)}
    assert differences("profile", expected, found) == [
        "profile of 1: Spent(orders=1, cents=3), by polars Spent(orders=1, cents=2)",
        "profile of 2: none, by polars Spent(orders=1, cents=2)",
        "profile of 3: Spent(orders=1, cents=2), by polars none",
    ]


def test_many_differences_are_counted() -> None:
    lines = differences("profile", {key: 1 for key in range(9)}, {}, at_most=2)
    assert len(lines) == 3
    assert lines[-1] == "and 7 more of 9"
