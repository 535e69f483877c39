"""The three descriptions of a topology."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from streamer.topology import describe
from streamer.topology.app import App
from streamer.topology.graph import Topology
from streamer.topology.stores import Store
from streamer.topology.windows import HoppingWindows, SessionWindows, TumblingWindows


@dataclass
class Purchase:
    shop: str
    cents: int


def add(_key: str, purchase: Purchase, cents: int) -> int:
    return cents + purchase.cents


def shop_of(_customer: str, purchase: Purchase) -> str:
    return purchase.shop


def with_name(purchase: Purchase, name: str) -> str:
    return f"{name}: {purchase.cents}"


@pytest.fixture
def topology() -> Topology:
    app = App("spend")
    purchases = app.stream("purchases", key=str, value=Purchase)
    purchases.group_by_key().aggregate(int, add, store=Store("totals", ttl=timedelta(days=30))).to(
        "customer-totals"
    )
    purchases.group_by(shop_of).windowed_by(
        HoppingWindows(timedelta(hours=1), timedelta(minutes=20), grace=timedelta(minutes=5))
    ).count(store="by-shop", emit="final")
    names = app.table("names", key=str, value=str, store="names")
    purchases.join(names, with_name).to("named")
    return app.topology()


TEXT = """\
application spend

subtopology 0
  source-0      reads purchases (utf8: json:Purchase)
  aggregate-1   updates totals by key, passes on per commit             after source-0
  sink-2        writes customer-totals (utf8: json:int)                 after aggregate-1
  select_key-3  shop_of                                                 after source-0
  sink-4        writes spend-by-shop-repartition (utf8: json:Purchase)  after select_key-3
  source-7      reads names (utf8: utf8)
  table-8       keeps the newest value per key in names                 after source-7
  join-9        joins with a row of names                               after source-0
  sink-10       writes named (utf8: utf8)                               after join-9
  store totals  key-value, utf8: json:int, ttl 30 d                     in spend-totals-changelog
  store names   key-value, utf8: utf8                                   in spend-names-changelog

subtopology 1
"""


def test_text_shows_each_node_with_its_topics_and_stores(topology: Topology) -> None:
    shown = describe.text(topology)
    assert shown.startswith(TEXT)
    (reads, updates, keeps) = (re.sub(" {2,}", "|", line) for line in shown.splitlines()[-3:])
    assert reads == "|source-5|reads spend-by-shop-repartition (utf8: json:Purchase)"
    assert updates == (
        "|aggregate-6|updates by-shop by key and windows of 1 h every 20 min, grace 5 min,"
        " passes on when a window closes|after source-5"
    )
    assert keeps == (
        "|store by-shop|window, utf8: json:int, windows of 1 h every 20 min, retention 1 h"
        "|in spend-by-shop-changelog"
    )


def test_text_says_what_user_code_runs() -> None:
    app = App("steps")
    source = app.stream("in", key=str, value=str)
    kept, _rest = source.filter(lambda key, value: True).branch(
        lambda key, value: value == "", lambda key, value: True
    )
    seen = Store("seen", key=str, value=int)

    class First:
        def process(self, record: Any, context: Any) -> None: ...

    kept.process(First(), stores=[seen])
    kept.to("out", partition=lambda key, value, count: 0)
    shown = describe.text(app.topology())
    assert re.search(r"filter-1 +a lambda +after source-0", shown)
    assert re.search(r"arm-3 +takes what meets condition 1 +after branch-2", shown)
    assert re.search(r"process-5 +runs First with seen +after arm-3", shown)
    assert "writes out (utf8: utf8, own partitioner)" in shown


@pytest.mark.parametrize(
    ("windows", "shown"),
    [
        (TumblingWindows(timedelta(days=30)), "windows of 30 d"),
        (TumblingWindows(timedelta(minutes=90)), "windows of 1 h 30 min"),
        (HoppingWindows(timedelta(hours=1), timedelta(milliseconds=250)), "1 h every 250 ms"),
        (
            SessionWindows(timedelta(seconds=30), grace=timedelta(hours=1)),
            "sessions with a gap of 30 s, grace 1 h",
        ),
    ],
)
def test_text_shows_windows_in_plain_units(windows: Any, shown: str) -> None:
    app = App("windows")
    app.stream("in", key=str).group_by_key().windowed_by(windows).count(store="counts")
    assert shown in describe.text(app.topology())


def test_data_is_json_with_the_names_on_the_broker(topology: Topology) -> None:
    found = json.loads(json.dumps(describe.as_dict(topology)))
    assert found["topics"] == {
        "read": ["purchases", "names"],
        "written": ["customer-totals", "named"],
        "repartition": ["spend-by-shop-repartition"],
        "changelogs": [
            "spend-totals-changelog",
            "spend-names-changelog",
            "spend-by-shop-changelog",
        ],
    }


def test_data_has_every_limit_of_a_store(topology: Topology) -> None:
    first, second = describe.as_dict(topology)["subtopologies"]
    (totals, names), (by_shop,) = first["stores"], second["stores"]
    assert (totals["ttl_ms"], names["ttl_ms"]) == (30 * 86_400_000, None)
    assert by_shop == {
        "name": "by-shop",
        "kind": "window",
        "key": "utf8",
        "value": "json:int",
        "changelog": "spend-by-shop-changelog",
        "ttl_ms": None,
        "retention_ms": 3_600_000,
        "window_size_ms": 3_600_000,
        "window_advance_ms": 1_200_000,
        "rocksdb": {},
    }


def test_data_joins_subtopologies_by_their_repartition_topic(topology: Topology) -> None:
    first, second = describe.as_dict(topology)["subtopologies"]
    written = [sink["topic"] for sink in first["sinks"] if sink["is_internal"]]
    read = [source["topics"] for source in second["sources"] if source["is_internal"]]
    assert written == ["spend-by-shop-repartition"]
    assert read == [written]
    assert [node["name"] for node in first["nodes"]] == [
        "aggregate-1",
        "select_key-3",
        "table-8",
        "join-9",
    ]
    assert first["nodes"][3]["parents"] == ["source-0"]
    assert first["nodes"][3]["stores"] == ["names"]


def test_mermaid_declares_every_box_once_and_draws_only_declared_ones(topology: Topology) -> None:
    lines = [line.strip() for line in describe.mermaid(topology).splitlines()]
    assert lines[0] == "flowchart TD"
    boxes = [re.match(r"([nst]\d+(?:_\d+)?)[\[(]", line) for line in lines]
    declared = [box[1] for box in boxes if box]
    arrows = [re.fullmatch(r"(\w+) (?:-->|---) (\w+)", line) for line in lines]
    drawn = {(arrow[1], arrow[2]) for arrow in arrows if arrow}

    assert len(declared) == len(set(declared)) == 5 + 11 + 3
    assert {end for arrow in drawn for end in arrow} == set(declared)
    assert lines.count("end") == sum(line.startswith("subgraph") for line in lines) == 2
    assert {("t0", "n0"), ("n4", "t3"), ("t3", "n5"), ("n1", "s0_0")} <= drawn
    assert 't3(["spend-by-shop-repartition"])' in lines
