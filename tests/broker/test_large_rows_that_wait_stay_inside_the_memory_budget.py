"""A table of large rows waits for a stream that is behind it: what is kept of it meanwhile is a
part of the memory budget, whatever the number of records, and all of it is processed in the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.broker.workers import Application
from tests.thorough import thorough

PARTITIONS = 4
ROWS, ROW_BYTES = 2_500, 15_000
RECORDS = 60_000
START_MS = 1_700_000_000_000
LATER_MS = START_MS + 10_000_000
MIB = 1 << 20


def peak_bytes(process: int) -> int:
    """The most memory that a process has had at once."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


@thorough
def test_a_table_that_is_ahead_of_its_stream_is_not_kept_in_memory(application: Any) -> None:
    made: Application = application("lookup", inputs=("in", "rows"), partitions=PARTITIONS)
    row = b"12345" + bytes(ROW_BYTES - 5)
    for partition in range(PARTITIONS):
        for name, count, value, begin in (
            ("rows", ROWS, row, LATER_MS),
            ("in", RECORDS, b"early", START_MS),
            ("in", 10, b"late", LATER_MS + ROWS),
        ):
            made.kafka.produce(
                made.topic(name),
                ((f"{place % ROWS}", value) for place in range(count)),
                partition=partition,
                timestamp_ms=lambda place, begin=begin: begin + min(place, ROWS),
            )
    worker = made.worker()
    made.wait_until_done(made.topic("in"), made.topic("rows"), watch=[worker])

    # Without the bounds it is 230 and more, by how far the table runs ahead.
    assert peak_bytes(worker.process.pid) < (128 + 64) * MIB
    assert worker.stop() == 0
    found = [record.value for record in made.kafka.read(made.topic("out"))]
    assert found == [b"12345"] * (10 * PARTITIONS)
