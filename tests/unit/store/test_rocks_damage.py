"""Damaged and missing files: found when they are met, never read over, never wiped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import TaskCorruptedError
from streamer.store.rocks import TaskDatabase

Open = Callable[..., TaskDatabase]
COUNT = 4_000


def filled(open_database: Open, specs: Any) -> TaskDatabase:
    """A database whose rows are all in one file, incompressible, so that blocks are many."""
    database = open_database(specs.plain)
    database.write({"plain": [(b"k%06d" % n, os.urandom(200)) for n in range(COUNT)]}, {"n": b"1"})
    database.flush()
    return database


def table_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.sst"), key=lambda file: file.stat().st_size)


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0xFF
    file.write_bytes(content)


def test_a_damaged_block_ends_a_scan_with_an_error_that_names_the_task(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    filled(open_database, specs).close()
    largest = table_files(tmp_path / "0_3")[-1]
    flip(largest, largest.stat().st_size // 2)
    database = open_database(specs.plain)
    for reverse in (False, True):
        seen: list[object] = []
        with pytest.raises(TaskCorruptedError, match=r"task 0_3 is damaged: .*checksum") as caught:
            seen.extend(database.scan("plain", b"", None, reverse=reverse))
        assert 0 < len(seen) < COUNT
        assert f"move {tmp_path / '0_3'} away" in caught.value.hint
    with pytest.raises(TaskCorruptedError, match="reading store plain"):
        database.get_many("plain", [b"k%06d" % n for n in range(COUNT)])
    # The error kept no iterator alive: the database closes and opens.
    database.close()
    assert open_database(specs.plain).metadata() == {"n": b"1"}


def test_a_missing_file_is_found_when_the_database_is_opened(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    filled(open_database, specs).close()
    lost = table_files(tmp_path / "0_3")[-1]
    lost.rename(tmp_path / "aside")
    with pytest.raises(TaskCorruptedError, match=r"opening the database in .*0_3 failed"):
        open_database(specs.plain)
    (tmp_path / "aside").rename(lost)
    assert len(list(open_database(specs.plain).scan("plain", b"", None))) == COUNT


def test_a_file_of_another_size_is_found_when_the_database_is_opened(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    filled(open_database, specs).close()
    largest = table_files(tmp_path / "0_3")[-1]
    with open(largest, "ab") as file:
        file.write(b"x")
    with pytest.raises(TaskCorruptedError, match="0_3"):
        open_database(specs.plain)


@pytest.mark.parametrize("cut", [1, 1_000, 100_000])
def test_a_torn_log_loses_rows_and_positions_together(
    open_database: Open, specs: Any, tmp_path: Path, cut: int
) -> None:
    database = open_database(specs.plain)
    for number in range(1, 101):
        batch: list[tuple[bytes, bytes | None]] = [
            (b"k%06d" % n, os.urandom(100)) for n in range(number * 20 - 20, number * 20)
        ]
        database.write({"plain": batch}, {"position": b"%d" % (number * 20)})
    # A copy of the files is what a crash leaves, for a clean close empties the log.
    shutil.copytree(tmp_path / "0_3", tmp_path / "0_4")
    log = max((tmp_path / "0_4").glob("*.log"), key=lambda file: file.stat().st_size)
    os.truncate(log, log.stat().st_size - cut)
    database = open_database(specs.plain, name="0_4")
    count = len(list(database.scan("plain", b"", None)))
    assert count == int(database.metadata().get("position", b"0"))
    assert 2_000 - cut // 100 - 40 <= count < 2_000
