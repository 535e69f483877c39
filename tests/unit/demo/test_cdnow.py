"""The history is read exactly, or not at all."""

from __future__ import annotations

from datetime import date

import pytest

from demo import cdnow
from demo.cdnow import Purchase

HEAD = " customer_id  date number_of_cds  dollar_value\n"


@pytest.mark.slow
def test_the_history_is_complete_and_in_the_order_of_its_days() -> None:
    purchases = cdnow.history()
    days = [purchase.day for purchase in purchases]
    assert (len(purchases), days[0], days[-1]) == (69_659, date(1997, 1, 1), date(1998, 6, 30))
    assert days == sorted(days)
    assert {purchase.customer for purchase in purchases} == set(range(1, 23_571))
    assert sum(purchase.cents for purchase in purchases) == 250_031_563


@pytest.mark.slow
def test_a_customers_purchases_are_those_of_the_file() -> None:
    second = [purchase for purchase in cdnow.history() if purchase.customer == 2]
    assert second == [
        Purchase(2, date(1997, 1, 12), 1, 1200),
        Purchase(2, date(1997, 1, 12), 5, 7700),
    ]


def test_dollars_become_whole_cents() -> None:
    (purchase,) = cdnow.parse(HEAD + " 00001 19970101  1   11.77\n")
    assert purchase == Purchase(1, date(1997, 1, 1), 1, 1177)


@pytest.mark.parametrize(
    "line",
    [" 00001 19970101  1   11.7", " 00001 19970101  x   11.77", "", " 00001 19970101  1   11.77 z"],
)
def test_a_line_that_is_no_purchase_is_named(line: str) -> None:
    good = " 00001 19970101  1   11.77\n"
    with pytest.raises(ValueError, match="line 3 is not a purchase"):
        list(cdnow.parse(HEAD + good + line + "\n" + good))


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1"):
        list(cdnow.parse("customer,date\n"))


@pytest.mark.slow
def test_a_shortened_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdnow, "PURCHASES", 69_660)
    with pytest.raises(ValueError, match="is not the CDNOW history"):
        cdnow.history()
