"""Purchases joined with their customers, then counted per city: three subtopologies in a row."""

from __future__ import annotations

from dataclasses import dataclass

from streamer import App
from tests.broker.applications import NAME, topic


@dataclass
class Purchase:
    customer: str
    cents: int


@dataclass
class Customer:
    city: str


@dataclass
class Sale:
    city: str
    cents: int


@dataclass
class City:
    sales: int = 0
    cents: int = 0


def sale(purchase: Purchase, customer: Customer) -> Sale:
    return Sale(customer.city, purchase.cents)


def add(_city: str, sold: Sale, city: City) -> City:
    return City(city.sales + 1, city.cents + sold.cents)


app = App(NAME)
customers = app.table(topic("customers"), key=str, value=Customer, store="customers")
sales = (
    app.stream(topic("in"), key=str, value=Purchase)
    .select_key(lambda _order, purchase: purchase.customer, key=str)
    .repartition("by-customer", value=Purchase)
    .join(customers, sale, value=Sale)
)
cities = sales.group_by(lambda _customer, sold: sold.city, key=str)
cities.aggregate(City, add, store="cities").to(topic("out"))
