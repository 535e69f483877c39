"""Sizes of batches, read from a partition's directory as a broker leaves it."""

from __future__ import annotations

import struct
from pathlib import Path

from bench.statuses import Batch, batches


def batch(first: int, records: int, body: int) -> bytes:
    head = struct.pack(
        ">qiibIhiqqqhii", first, 49 + body, 0, 2, 0, 0, records - 1, 0, 0, -1, -1, -1, records
    )
    assert len(head) == 61
    return head + b"x" * body


def test_batches_are_found_over_segments_and_a_torn_one_ends_them(tmp_path: Path) -> None:
    one, two, three = batch(0, 3, 100), batch(3, 1, 10), batch(4, 2, 20)
    (tmp_path / "00000000000000000000.log").write_bytes(one + two)
    (tmp_path / "00000000000000000004.log").write_bytes(three + batch(6, 1, 50)[:-1])
    (tmp_path / "00000000000000000004.index").write_bytes(b"something else")
    assert [*batches(tmp_path)] == [Batch(0, 3, 161), Batch(3, 1, 71), Batch(4, 2, 81)]
