"""Orders in JSON, of which those with a negative amount make the application's function raise."""

from __future__ import annotations

from dataclasses import dataclass

from streamer import App
from tests.broker.applications import NAME, topic


@dataclass
class Order:
    amount: int


def checked(order: Order) -> Order:
    if order.amount < 0:
        raise ValueError(f"an amount of {order.amount}")
    return order


def add(_key: str, order: Order, total: int) -> int:
    return total + order.amount


app = App(NAME)
orders = app.stream(topic("in"), key=str, value=Order).map_values(checked, value=Order)
orders.group_by_key().aggregate(int, add, store="amounts").to(topic("out"))
