"""A full disk: a clear error, and afterwards the state that was acknowledged, whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import StateDirectoryError
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase

Open = Callable[..., TaskDatabase]

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root; the file size limit is tested")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(database: TaskDatabase) -> int:
    """Write until an error; the number of batches that were acknowledged. 200 rows each."""
    number = 0
    while True:
        rows: list[tuple[bytes, bytes | None]] = [
            (b"%06d-%03d" % (number, n), os.urandom(1_000)) for n in range(200)
        ]
        database.write({"plain": rows}, {"batches": b"%d" % (number + 1)})
        number += 1


def acknowledged(database: TaskDatabase) -> int:
    return int(database.metadata()["batches"])


@pytest.mark.slow
def test_a_full_disk_stops_the_task_and_loses_nothing(small_disk: Path, specs: Any) -> None:
    pool = MemoryPool(4 * MIB, 4 * MIB)

    def open_one() -> TaskDatabase:
        return TaskDatabase.open(small_disk / "0_3", [specs.plain], pool=pool, options={})

    database = open_one()
    with pytest.raises(StateDirectoryError, match="the disk is full: writing in") as caught:
        fill(database)
    assert str(small_disk / "0_3") in caught.value.message
    free = int(re.findall(r"(\d+) bytes are free", caught.value.message)[0])
    assert free < 3 * MIB, "next to nothing: RocksDB sets space of a file aside before it writes"
    assert "free space on that disk and start the worker again" in caught.value.hint
    count = acknowledged(database)
    assert count > 20
    assert len(list(database.scan("plain", b"", None))) == count * 200
    with pytest.raises(StateDirectoryError, match="the disk is full"):
        database.write({"plain": [(b"late", b"")]}, {"batches": b"999"})
    database.close()

    with pytest.raises(StateDirectoryError, match="the disk is full: opening the database"):
        open_one()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    database = open_one()
    assert acknowledged(database) == count
    assert len(list(database.scan("plain", b"", None))) == count * 200
    database.write({"plain": [(b"late", b"")]}, {"batches": b"999"})
    assert acknowledged(database) == 999
    database.close()


LIMITED = """
import resource, sys
from pathlib import Path
from streamer.errors import StateDirectoryError
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store
from tests.unit.store.test_rocks_disk_full import acknowledged, fill

resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
database = TaskDatabase.open(
    Path(sys.argv[1]), [Store("plain", str, int).spec()],
    pool=MemoryPool(64 << 20, 64 << 20), options={},
)
try:
    fill(database)
except StateDirectoryError as error:
    print(acknowledged(database), error.describe())
"""


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_a_full_disk_too(
    open_database: Open, specs: Any, tmp_path: Path
) -> None:
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "0_3")],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert process.returncode == 0, process.stderr
    count, _, message = process.stdout.partition(" ")
    assert message.startswith(f"the disk is full: writing in {tmp_path / '0_3'} failed")
    assert int(count) > 5
    database = open_database(specs.plain)
    assert acknowledged(database) == int(count)
    assert len(list(database.scan("plain", b"", None))) == int(count) * 200


def test_a_disk_without_room_for_a_file_is_told_like_a_full_one(tmp_path: Path, specs: Any) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m,nr_inodes=1", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip(
            "mounting a small file system needs root; a path that is no directory is tested"
        )
    try:
        with pytest.raises(StateDirectoryError, match="the disk is full: opening the database"):
            TaskDatabase.open(
                place / "0_3", [specs.plain], pool=MemoryPool(4 * MIB, 4 * MIB), options={}
            )
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_what_python_says_of_a_disk_names_the_directory_too(tmp_path: Path, specs: Any) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(StateDirectoryError, match=r"opening the database in .*file/0_3 failed"):
        TaskDatabase.open(
            tmp_path / "file" / "0_3", [specs.plain], pool=MemoryPool(4 * MIB, 4 * MIB), options={}
        )
