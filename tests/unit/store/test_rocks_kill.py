"""Killed with SIGKILL while it writes: positions are never ahead of the rows they cover."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamer.store.rocks import TaskDatabase

Open = Callable[..., TaskDatabase]
ROWS = 25_000

# Each round writes every row with the round's number, in several chunks, then its position.
WRITER = f"""
import sys
from pathlib import Path
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store

database = TaskDatabase.open(
    Path(sys.argv[1]), [Store("plain", str, int).spec()],
    pool=MemoryPool(1 << 22, 1 << 22), options={{}},
)
for number in range(1, 1000):
    rows = [(b"k%06d" % n, b"%06d" % number + bytes(50)) for n in range({ROWS})]
    if sys.argv[2] == "load" and number % 2:
        database.ingest("plain", dict(rows))
        rows = []
    database.write({{"plain": rows}}, {{"round": b"%d" % number}})
    print(number, flush=True)
"""


def rounds(directory: Path, how: str, *, failpoint: str = "", kill_after: int = 0) -> int:
    """Run the writer until it dies; the last round that it has reported."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "STREAMER_FAILPOINTS": failpoint},
    )
    assert process.stdout is not None
    last = 0
    try:
        for line in process.stdout:
            last = int(line)
            if kill_after and last >= kill_after:
                break
    finally:
        process.kill()
        process.wait(120)
    assert process.returncode == -9
    return last


def check(database: TaskDatabase, reported: int) -> tuple[int, set[int]]:
    """The position and the rounds of the rows: never older than the position."""
    position = int(database.metadata().get("round", b"0"))
    found = {int(value[:6]) for _key, value in database.scan("plain", b"", None)}
    assert position >= reported, "what was acknowledged is lost"
    assert all(each in (position, position + 1) for each in found)
    return position, found


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 2, 5])
def test_a_kill_between_chunks_leaves_rows_ahead_of_the_position(
    open_database: Open, specs: Any, tmp_path: Path, nth: int
) -> None:
    failpoint = f"commit.between_store_chunks=kill@{nth}"
    reported = rounds(tmp_path / "0_3", "write", failpoint=failpoint)
    assert reported == (nth - 1) // 2
    position, found = check(open_database(specs.plain), reported)
    assert position == reported
    assert position + 1 in found
    assert (position in found) == (position > 0)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["write", "load"])
def test_a_kill_at_any_time_loses_nothing_that_was_written(
    open_database: Open, specs: Any, tmp_path: Path, how: str
) -> None:
    for attempt in range(3):
        name = f"0_{attempt}"
        reported = rounds(tmp_path / name, how, kill_after=4 + attempt)
        database = open_database(specs.plain, name=name)
        check(database, reported)
        # And it can be written to as if nothing had been.
        database.write({"plain": [(b"k000000", b"009999")]}, {"round": b"9999"})
        assert database.get("plain", b"k000000") == b"009999"


@pytest.mark.slow
def test_a_database_in_use_by_another_process_is_refused(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    database = open_database(specs.plain)
    database.write({}, {"round": b"7"})
    process = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path / "0_3"), "write"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert process.returncode == 1
    assert "StateDirectoryError" in process.stderr
    assert "is open elsewhere" in process.stderr
    assert database.metadata() == {"round": b"7"}
