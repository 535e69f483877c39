"""Amounts per customer and city, counted by city: a re-keyed topic and two stores."""

from __future__ import annotations

import json

from streamer import App
from tests.broker.applications import NAME


def city(_customer: str, text: str) -> str:
    return str(json.loads(text)["city"])


def add(_city: str, text: str, total: int) -> int:
    return total + int(json.loads(text)["cents"])


app = App(NAME)
purchases = app.stream(f"in-of-{NAME}", key=str, value=str)
purchases.group_by_key().count(store="purchases")
cities = purchases.group_by(city, key=str)
cities.aggregate(int, add, store="cities").to(f"out-of-{NAME}")
