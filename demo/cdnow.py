"""The CDNOW purchase history: 69,659 purchases of 23,570 customers of a music shop, 1997 to 1998.

It comes as a text file inside the package `lifetimes`, which is found but never imported. What is
read is the whole of it or an error: lines, customers and sums are known.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

__all__ = ["CUSTOMERS", "FIRST_DAY", "LAST_DAY", "PURCHASES", "Purchase", "history", "parse"]

PURCHASES = 69_659
CUSTOMERS = 23_570
CDS = 167_881
CENTS = 250_031_563
FIRST_DAY, LAST_DAY = date(1997, 1, 1), date(1998, 6, 30)

_HEAD = " customer_id  date number_of_cds  dollar_value"
_LINE = re.compile(r" (\d{5}) (\d{4})(\d\d)(\d\d) +(\d+) +(\d+)\.(\d\d)")


class Purchase(NamedTuple):
    """One line. Customers are numbered from 1 on; the file has many at a price of 0."""

    customer: int
    day: date
    cds: int
    cents: int


def history() -> list[Purchase]:
    """All purchases in the order of their days; those of one day in the file's order.

    Raises FileNotFoundError where the package is missing, ValueError where the file is another.
    """
    package = importlib.util.find_spec("lifetimes")
    if package is None or package.origin is None:
        raise FileNotFoundError("the package lifetimes is not installed: run `make setup`")
    path = Path(package.origin).parent / "datasets" / "CDNOW_master.txt"
    purchases = list(parse(path.read_text(encoding="ascii")))
    _check(path, purchases)
    return sorted(purchases, key=lambda purchase: purchase.day)


def parse(text: str) -> Iterator[Purchase]:
    """Raises ValueError with the number of the first line that is not a purchase."""
    head, *lines = text.splitlines()
    if head != _HEAD:
        raise ValueError(f"line 1 is not the head of the CDNOW history: {head!r}")
    for number, line in enumerate(lines, 2):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"line {number} is not a purchase: {line!r}")
        customer, year, month, day, cds, dollars, cents = map(int, match.groups())
        yield Purchase(customer, date(year, month, day), cds, dollars * 100 + cents)


def _check(path: Path, purchases: list[Purchase]) -> None:
    found = (
        len(purchases),
        len({purchase.customer for purchase in purchases}),
        sum(purchase.cds for purchase in purchases),
        sum(purchase.cents for purchase in purchases),
        min(purchase.day for purchase in purchases),
        max(purchase.day for purchase in purchases),
    )
    known = (PURCHASES, CUSTOMERS, CDS, CENTS, FIRST_DAY, LAST_DAY)
    if found != known:
        raise ValueError(f"{path} is not the CDNOW history: found {found}, known are {known}")
