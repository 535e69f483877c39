"""What is found damaged is told, and no later snapshot refers to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.restore.checking import check_snapshot
from streamer.snapshot.choosing import Chosen
from streamer.snapshot.verified import Level
from tests.unit.snapshot.memory import Disk, MemoryBackend
from tests.unit.snapshot.rig import checkpoint, content, repository, shelf, snapshot


@pytest.mark.parametrize("level", ["contents", "restored"])
def test_the_next_snapshot_sends_a_damaged_file_anew(tmp_path: Path, level: Level) -> None:
    disk = Disk()
    place = repository(MemoryBackend(disk))
    files = {"000001.sst": content(5_000, 1), "000002.sst": content(4_000, 2)}
    source = checkpoint(tmp_path / "a", files)
    first = snapshot(place, source).manifest
    name = next(file.object for file in first.files if file.name == "000001.sst")
    key = shelf(place).object_key(name)
    disk.change(key, content(5_000, 3))
    found = check_snapshot(place, Chosen(shelf(place), first.stem), level, directory=tmp_path)
    assert not found.is_whole

    second = snapshot(place, source)

    assert second.sent_files == 1
    newest = Chosen(shelf(place), second.manifest.stem)
    assert check_snapshot(place, newest, "contents").is_whole
    assert key in disk.objects, "who reads the first one is not disturbed"
