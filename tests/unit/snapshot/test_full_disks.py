"""A repository whose disk is full: a clear error, nothing half, and what was there is readable."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.errors import RepositoryError, RepositoryUnavailableError
from streamer.sandbox import object_store
from streamer.sandbox.object_store import ObjectStore
from streamer.snapshot.remote.api import Backend, of_bytes
from streamer.snapshot.remote.s3 import S3Backend
from tests.unit.snapshot.places import BUCKET, BUILD_S, KINDS, place_of, s3_access

pytestmark = pytest.mark.timeout(BUILD_S)

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root, so no disk was filled")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(params=KINDS)
def full(request: pytest.FixtureRequest, small_disk: Path) -> Iterator[Backend]:
    if request.param == "s3":
        if reason := object_store.missing():
            pytest.skip(f"{reason}, so nothing was tried against a real S3 server")
        with ObjectStore(small_disk) as store:
            store.make_bucket(BUCKET)
            yield S3Backend(BUCKET, "", s3_access(store))
        return
    place = place_of(request.param, small_disk, request)
    yield place.open()
    place.close()


@pytest.mark.parametrize("size", [200_000, 3 * MIB])
def test_a_full_disk_is_named_and_nothing_is_half(full: Backend, size: int) -> None:
    stored: list[str] = []

    def fill() -> None:
        for number in range(100):
            full.put(f"a/{number}", of_bytes(b"x" * size), size=size)
            stored.append(f"a/{number}")

    with pytest.raises(RepositoryError) as raised:
        fill()

    # S3 has no word for a full disk: the server says that something is wrong within.
    is_away = isinstance(raised.value, RepositoryUnavailableError)
    assert is_away == isinstance(full, S3Backend)
    assert is_away or "free space" in raised.value.hint or "full disk" in raised.value.hint
    assert sorted(found.key for found in full.list("")) == sorted(stored)
    assert [*full.unfinished()] == []
    for key in stored:
        assert len(b"".join(full.read(key))) == size
    full.delete(stored[0])
    assert full.put("again", of_bytes(b"x" * (size // 2)), size=size // 2)
