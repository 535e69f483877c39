"""Records are decoded once, and what is not there any more is not kept in memory."""

from __future__ import annotations

import gc

import msgspec
import pytest

from streamer.control.operations import OperationRecord, encode, operation_key
from streamer.operations.books import read_books
from tests.unit.overview.fleets import APPLICATION
from tests.unit.overview.records import operation


def kept(operation_id: str) -> int:
    gc.collect()
    return sum(
        isinstance(each, OperationRecord) and each.id == operation_id for each in gc.get_objects()
    )


def test_a_record_that_has_not_changed_is_not_decoded_again() -> None:
    value = encode(operation("trim-1"))
    first = read_books(APPLICATION, {operation_key("trim-1"): value}).operation("trim-1")
    again = read_books(APPLICATION, {operation_key("trim-1"): bytes(bytearray(value))})
    assert again.operation("trim-1") is first


@pytest.mark.slow
def test_of_one_at_work_only_the_newest_record_is_kept() -> None:
    # A step tells every two seconds, for hours, and a record may have thousands of tasks.
    for at_ms in range(300):
        record = msgspec.structs.replace(operation("trim-of-hours"), at_ms=at_ms)
        books = read_books(APPLICATION, {operation_key(record.id): encode(record)})
        assert books.operation(record.id) == record
    del record, books
    assert kept("trim-of-hours") <= 1
