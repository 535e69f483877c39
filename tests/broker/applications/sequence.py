"""What tells the order of a key's records: each result depends on all before it."""

from __future__ import annotations

from dataclasses import dataclass

from streamer import App
from streamer.serdes import Json
from tests.broker.applications import NAME, topic


@dataclass
class Chain:
    count: int = 0
    digest: int = 0


def link(_key: str, number: int, chain: Chain) -> Chain:
    return Chain(chain.count + 1, (chain.digest * 31 + number) % 1_000_000_007)


app = App(NAME)
numbers = app.stream(topic("in"), key=str, value=Json(int)).group_by_key()
numbers.aggregate(Chain, link, store="chains", emit="every").to(topic("results"))
