"""Sizes as the broker counts them, and who is to blame when it refuses a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from streamer.errors import KafkaUnavailableError
from streamer.kafka.refusals import Refusals, attempt, record_batch_bytes

LIMIT = 20_000
LARGEST = b"x" * 19_927  # with a key of one byte; found by asking a broker


class Limits(dict[str, int]):
    """What a broker answers; away while `is_away`."""

    is_away = False

    def __call__(self) -> Mapping[str, int]:
        if self.is_away:
            raise KafkaUnavailableError("nobody answers")
        return dict(self)


def refusals(limits: Limits | None = None, **made: Any) -> Refusals:
    settings = {name.replace("_", "."): value for name, value in made.items()}
    return Refusals(Limits(t=LIMIT) if limits is None else limits, settings)


def test_the_size_of_a_batch_is_the_brokers() -> None:
    assert record_batch_bytes(b"k", LARGEST) == LIMIT
    assert record_batch_bytes(None, None) == 61 + 1 + 6
    # Lengths take two bytes from 64 on: that of the record first, then that of its value.
    assert [record_batch_bytes(b"", b"x" * size) for size in (57, 58, 63, 64)] == [
        125,
        127,
        132,
        134,
    ]
    plain = record_batch_bytes(b"k", b"v")
    assert record_batch_bytes(b"k", b"v", [("name", b"12"), ("n", None)]) == plain + 8 + 3


@pytest.mark.parametrize(
    ("limits", "own", "batch_bytes"),
    [
        ({}, 1_000_000, 1_000_000),
        ({"t": 4 << 20, "u": 1_048_588}, 1_000_000, 1_000_000),
        ({"t": 4 << 20, "u": LIMIT}, 1_000_000, LIMIT - 122),
        ({"t": LIMIT}, 5_000, 5_000),
        ({"t": 10}, 1_000_000, 1),
    ],
)
def test_batches_fit_the_least_limit(limits: dict[str, int], own: int, batch_bytes: int) -> None:
    assert refusals(Limits(limits), batch_size=own).batch_bytes == batch_bytes


def test_without_compression_a_size_tells_before_it_is_tried() -> None:
    known = refusals()
    assert known.find("t", b"k", LARGEST, headers=None) is None
    assert known.find("t", b"k", LARGEST, headers=[("a", b"")]) is not None
    assert known.find("of unknown limit", b"k", LARGEST * 9, headers=None) is None
    problem = known.find("t", b"k", LARGEST + b"x", headers=None)
    assert problem is not None
    assert str(problem) == (
        "writing 19929 bytes to t, key b'k': too large, for the 20000 bytes that the topic takes"
        " (max.message.bytes)"
    )
    assert "raise max.message.bytes of the topic" in problem.hint


def test_with_compression_only_what_was_refused_is_left_out() -> None:
    known = refusals(compression_type="zstd")
    large = LARGEST + b"x"
    assert known.find("t", b"k", large, headers=None) is None
    assert known.add("t", b"k", large)
    assert known.count == 1
    problem = known.find("t", b"k", large, headers=None)
    assert problem is not None
    assert "even compressed" in str(problem)
    for other in (("t", b"l", large), ("t", None, large), ("t", b"k", large + b"x")):
        assert known.find(*other, headers=None) is None
    # Reports do not tell headers, and with any it is no smaller.
    assert known.find("t", b"k", large, headers=[("a", b"")]) is not None
    known.committed()
    assert known.find("t", b"k", large, headers=None) is None


def test_who_fits_is_never_blamed() -> None:
    known = refusals()
    assert not known.add("t", b"k", LARGEST)
    assert not known.add("of unknown limit", b"k", LARGEST * 9)
    assert known.count == 0
    assert "refuse a batch to t of records that fit its 20000 bytes" in known.doubt("t")
    assert "grant the right to describe its settings" in known.doubt("of unknown limit")


def test_a_lowered_limit_asks_for_another_client_and_a_raised_one_does_not() -> None:
    limits = Limits(t=LIMIT, u=1_000_000)
    known = refusals(limits)
    limits["t"] = 2 * LIMIT
    assert known.read_limits() == ""
    assert known.find("t", b"k", LARGEST + b"x", headers=None) is None
    limits["u"] = 5_000
    assert known.read_limits() == "u takes no more than 5000 (max.message.bytes)"
    limits.is_away = True
    limits["u"] = 1_000_000
    assert known.read_limits() == "u takes no more than 5000 (max.message.bytes)"


def test_long_keys_are_cut() -> None:
    assert attempt("t", b"k", None) == "writing 1 bytes to t, key b'k'"
    assert attempt("t", None, b"v") == "writing 1 bytes to t, key None"
    said = attempt("t", b"k" * 1_000_000, b"")
    assert said == f"writing 1000000 bytes to t, key {b'k' * 100!r}... (1000000 bytes)"
