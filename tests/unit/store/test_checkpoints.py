"""A checkpoint has all families as of one moment, and the database goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import StateDirectoryError, TaskCorruptedError, TaskMigratedError
from streamer.store.reading import read_all
from streamer.store.rocks import TaskDatabase

Open = Callable[..., TaskDatabase]


def rows(count: int, value: bytes = b"v") -> list[tuple[bytes, bytes | None]]:
    return [(b"k%06d" % index, value) for index in range(count)]


def test_it_has_what_was_written_before_it_and_no_more(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    database = open_database(specs.plain, specs.sessions)
    database.write({"plain": rows(1_000), "sessions": rows(20)}, {"changelog/plain": b"\x01abc"})
    database.checkpoint(tmp_path / "made")
    database.write({"plain": rows(3_000, b"w")}, {"changelog/plain": b"\x01xyz"})
    found = read_all(tmp_path / "made")
    assert found.rows == {"plain": 1_000, "sessions": 20}
    assert found.metadata == {"changelog/plain": b"\x01abc"}
    # The database is not held open by it.
    database.close()
    assert open_database(specs.plain, specs.sessions).get("plain", b"k002999") == b"w"


def test_sorted_files_are_hard_links(open_database: Open, specs: Any, tmp_path: Path) -> None:
    database = open_database(specs.plain)
    database.write({"plain": rows(1_000)}, {})
    database.flush()
    database.checkpoint(tmp_path / "made")
    linked = [path for path in (tmp_path / "made").glob("*.sst") if path.stat().st_nlink > 1]
    assert linked


def test_a_place_that_is_taken_or_a_database_that_is_closed_is_refused(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    database = open_database(specs.plain)
    (tmp_path / "made").mkdir()
    with pytest.raises(StateDirectoryError, match="making a checkpoint in "):
        database.checkpoint(tmp_path / "made")
    database.close()
    with pytest.raises(TaskMigratedError):
        database.checkpoint(tmp_path / "other")


def test_a_damaged_block_does_not_end_a_look_as_the_last_row_does(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    database = open_database(specs.plain)
    database.write({"plain": rows(5_000, b"v" * 100)}, {})
    database.checkpoint(tmp_path / "made")
    database.close()
    largest = max((tmp_path / "made").glob("*.sst"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.unlink()
    largest.write_bytes(content)
    with pytest.raises(TaskCorruptedError):
        read_all(tmp_path / "made")
