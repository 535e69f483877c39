"""A status that cannot be read is told once, and passed over."""

from __future__ import annotations

import logging

import pytest

from streamer import metrics
from streamer.control.messages import FORMAT, StatusRecord, encode
from streamer.control.reading import StatusReader
from streamer.ids import TopicPartition
from streamer.kafka.table import Row

PLACE = TopicPartition("shop.status", 0)


def row(key: str, value: bytes | None) -> Row:
    return Row(PLACE, 0, key, value)


def refused() -> float:
    return metrics.REGISTRY.get_sample_value("streamer_statuses_refused_total") or 0.0


def status(worker: str) -> bytes:
    return encode(StatusRecord(format=FORMAT, number=1, worker=worker, incarnation="9f3c.0"))


def test_the_others_are_read_and_each_refused_key_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = StatusReader()
    before = refused()
    rows = [row("a", status("a")), row("b", b"{}"), row("c", status("x")), row("d", None)]
    with caplog.at_level(logging.ERROR):
        assert [one.worker for one in reader.read(rows)] == ["a"]
        assert reader.read([row("b", b"{}")]) == []
    assert len(caplog.records) == 2
    assert "shop.status: the record of key 'b' is not a control record" in caplog.text
    assert "the record of key 'c' speaks of worker 'x'" in caplog.text
    assert "docs/security.md" in caplog.text
    assert refused() - before == 3


def test_one_that_was_well_again_is_told_anew(caplog: pytest.LogCaptureFixture) -> None:
    reader = StatusReader()
    for healing in (status("b"), None):
        reader.read([row("b", b"{}"), row("b", healing), row("b", b"{}"), row("b", healing)])
    assert len(caplog.records) == 4


def test_any_number_of_keys_is_neither_told_nor_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = StatusReader()
    before = refused()
    reader.read(row(f"w{number}", b"{}") for number in range(1_500))
    assert len(caplog.records) == 1_000
    assert refused() - before == 1_500
