from __future__ import annotations

import json

from bench.check import compare
from bench.events import Expected, Workload, expected, key_of

WORKLOAD = Workload(events=2_000, customers=100)


def right_results() -> tuple[dict[bytes, bytes], Expected]:
    exact = expected(WORKLOAD)
    last = {}
    for number in range(WORKLOAD.customers):
        result = exact.of(key_of(number))
        if result is not None:
            names = dict(zip(("count", "sum", "last"), result, strict=True))
            last[key_of(number)] = json.dumps(names).encode()
    return last, exact


def changed(row: bytes, **fields: int) -> bytes:
    return json.dumps({**json.loads(row), **fields}).encode()


def test_right_results_have_no_faults() -> None:
    last, exact = right_results()
    assert len(last) == exact.customers() > 0
    assert compare(last, exact) == ()


def test_further_fields_are_ignored() -> None:
    last, exact = right_results()
    key = next(iter(last))
    assert compare({**last, key: changed(last[key], mean=3)}, exact) == ()


def test_each_wrong_field_is_found() -> None:
    last, exact = right_results()
    key = next(iter(last))
    for field in ("count", "sum", "last"):
        faults = compare({**last, key: changed(last[key], **{field: 1_000_001})}, exact)
        assert faults[0] == "1 results are wrong"
        assert key.decode() in faults[1]
        assert "1000001" in faults[1]


def test_a_lost_customer_is_found() -> None:
    last, exact = right_results()
    del last[next(iter(last))]
    assert compare(last, exact) == ("1 customers have no result",)


def test_a_customer_from_nowhere_is_found() -> None:
    last, exact = right_results()
    other = {**last, b"c0000100": next(iter(last.values()))}
    faults = compare(other, exact)
    assert faults[0] == "1 results are wrong"
    assert faults[1].startswith("c0000100: ")


def test_an_empty_output_is_wrong() -> None:
    _, exact = right_results()
    assert compare({}, exact) == (f"{exact.customers()} customers have no result",)


def test_only_three_wrong_results_are_told_in_full() -> None:
    last, exact = right_results()
    faults = compare({key: changed(row, count=0) for key, row in last.items()}, exact)
    assert faults[0] == f"{len(last)} results are wrong"
    assert len(faults) == 4
