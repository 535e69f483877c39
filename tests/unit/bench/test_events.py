from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import pairwise

import pytest

from bench.events import (
    FIRST_TS,
    TYPES,
    Workload,
    blocks,
    expected,
    key_of,
    number_of,
)
from streamer.topology.partitioner import partitions_of

SMALL = Workload(events=5_000, customers=300)
GOLDEN = "beb9e8c4587a49dee9ff325e98bd357b47bd8334a22e5e45a1434b6cfbb544b7"


def records(workload: Workload, block_events: int = 50_000) -> list[tuple[bytes, bytes]]:
    found = []
    for block in blocks(workload, block_events=block_events):
        found += list(zip(block.keys(), block.values(), strict=True))
    return found


def test_the_bytes_are_the_same_for_ever() -> None:
    lines = b"\n".join(key + b" " + value for key, value in records(SMALL))
    assert hashlib.sha256(lines).hexdigest() == GOLDEN


def test_the_size_of_blocks_changes_nothing() -> None:
    assert records(SMALL, 777) == records(SMALL)


def test_a_value_is_what_json_dumps_writes() -> None:
    for key, value in records(SMALL):
        event = json.loads(value)
        assert json.dumps(event).encode() == value
        assert len(value) == 81
        assert event["customer"].encode() == key
        assert event["type"] in TYPES
        assert 1_000 <= event["amount"] <= 9_999


def test_time_rises_by_one_per_event() -> None:
    times = [json.loads(value)["ts"] for _, value in records(SMALL)]
    assert times == list(range(FIRST_TS, FIRST_TS + SMALL.events))


def test_all_types_occur() -> None:
    assert {json.loads(value)["type"] for _, value in records(SMALL)} == set(TYPES)


def test_the_expected_result_is_that_of_a_plain_loop() -> None:
    plain: dict[bytes, tuple[int, int, int]] = {}
    for key, value in records(SMALL):
        event = json.loads(value)
        count, total, _ = plain.get(key, (0, 0, 0))
        plain[key] = (count + 1, total + event["amount"], event["ts"])
    found = expected(SMALL)
    assert found.customers() == len(plain)
    assert {key: found.of(key) for key in plain} == plain


def test_customers_without_events_have_no_expected_result() -> None:
    workload = Workload(events=10, customers=1_000)
    found = expected(workload)
    seen = {key for key, _ in records(workload)}
    absent = [key_of(number) for number in range(1_000) if key_of(number) not in seen]
    assert found.customers() == len(seen)
    assert {found.of(key) for key in absent} == {None}


@pytest.mark.parametrize("key", [b"", b"c123", b"x0000001", b"c00000x1", b"c0000001 ", b"c0000300"])
def test_other_keys_have_no_expected_result(key: bytes) -> None:
    assert expected(SMALL).of(key) is None


def test_customers_follow_a_zipf_law() -> None:
    count = sorted(expected(Workload(events=200_000, customers=10_000)).count.tolist())[::-1]
    shares = [rank**-1.1 for rank in range(1, 10_001)]
    for rank in (0, 1, 9, 99):
        likely = 200_000 * shares[rank] / sum(shares)
        assert count[rank] == pytest.approx(likely, rel=0.25)


def test_hot_customers_are_no_neighbours() -> None:
    count = expected(Workload(events=200_000, customers=10_000)).count
    hot = sorted(int(number) for number in count.argsort()[-50:])
    assert min(b - a for a, b in pairwise(hot)) > 1


def test_every_id_belongs_to_one_customer() -> None:
    few = expected(Workload(events=20_000, customers=16, zipf=0.1))
    assert few.customers() == 16


def test_the_hot_keys_leave_no_partition_without_work() -> None:
    keys = [key for key, _ in records(Workload(events=20_000, customers=2_000))]
    events = Counter(partitions_of(keys, 4))
    assert len(events) == 4
    assert min(events.values()) > 20_000 / 4 / 2


def test_a_seed_changes_the_events() -> None:
    assert records(Workload(events=10, seed=2)) != records(Workload(events=10, seed=1))


def test_more_customers_than_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="10,000,001"):
        next(blocks(Workload(customers=10_000_001)))


def test_keys_and_numbers_are_two_forms_of_one_thing() -> None:
    assert key_of(51_653) == b"c0051653"
    assert number_of(key_of(51_653)) == 51_653
