"""Small checkpoints, and repositories on a backend in memory."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamer.ids import TaskId
from streamer.snapshot.checkpoint import Checkpoint, Digests
from streamer.snapshot.cipher import Cipher
from streamer.snapshot.create import About, Created, create
from streamer.snapshot.manifest import Position
from streamer.snapshot.remote.api import Backend
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Transfers
from tests.unit.snapshot.memory import MemoryBackend

TASK = TaskId(0, 3)
HOUR_MS = 3_600_000
ABOUT = About(
    created_ms=1_700_000_000_000,
    created_by="worker-1",
    stores={"totals": "key_value"},
    changelog=(Position("spend-totals-changelog", 3, 1_000, "topic-id"),),
    input=(Position("purchases", 3, 500),),
)


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def checkpoint(directory: Path, files: Mapping[str, bytes]) -> Path:
    """A directory as RocksDB's checkpoint leaves it, with these files more."""
    directory.mkdir(parents=True)
    everything = {"CURRENT": b"MANIFEST-000005\n", "MANIFEST-000005": b"m" * 50, **files}
    for name, each in everything.items():
        (directory / name).write_bytes(each)
    return directory


def read(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def repository(
    backend: Backend | None = None, cipher: Cipher | None = None, **options: Any
) -> Repository:
    """Without threads and beats, unless asked for."""
    options = {"transfers": Transfers(parallel=1), "beat_ms": 0, **options}
    return Repository(backend or MemoryBackend(), cipher, **options)


def shelf(place: Repository) -> Shelf:
    return place.shelf("spend", TASK)


def snapshot(
    place: Repository, directory: Path, *, digests: Digests | None = None, about: About = ABOUT
) -> Created:
    return create(place, shelf(place), Checkpoint(directory, digests), about=about)
