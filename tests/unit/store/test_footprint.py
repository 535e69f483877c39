from __future__ import annotations

import json
from typing import Any

from streamer.store.footprint import Footprint


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_large_values_count_by_their_bytes_and_small_ones_by_their_key() -> None:
    small = Footprint(encoded).estimate({b"%d" % number: 1 for number in range(1_000)})
    large = Footprint(encoded).estimate({b"%d" % number: "x" * 10_000 for number in range(1_000)})
    assert 400_000 <= small < 500_000
    assert 20_000_000 < large < 60_000_000


def test_a_new_transaction_of_other_values_is_seen_at_once() -> None:
    footprint = Footprint(encoded)
    assert footprint.estimate({b"a": "x" * 1_000_000}) > 2_000_000
    assert footprint.estimate({}) == 0
    assert footprint.estimate({b"a": 1}) < 1_000


def test_values_that_grow_in_place_are_noticed() -> None:
    values: dict[bytes, Any] = {b"a": []}
    footprint = Footprint(encoded)
    assert footprint.estimate(values) < 1_000
    values[b"a"] += ["x"] * 100_000
    assert max(footprint.estimate(values) for _turn in range(16)) > 1_000_000


def test_absent_values_and_such_as_cannot_be_encoded_cost_their_key() -> None:
    assert Footprint(encoded).estimate({b"a": None, b"b": {1, 2}}) == 800
