"""A process dies, a connection breaks, a disk fills: what is left, and how it goes on."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from streamer import failpoints
from streamer.errors import (
    RepositoryError,
    RepositoryUnavailableError,
    SnapshotDamagedError,
    SnapshotError,
    SnapshotMissingError,
)
from streamer.failpoints import InjectedError
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.cipher import AesGcm
from streamer.snapshot.create import create
from streamer.snapshot.fetch import fetch
from streamer.snapshot.prune import Policy, prune
from streamer.snapshot.remote.directory import DirectoryBackend
from streamer.snapshot.remote.steady import SteadyBackend
from streamer.snapshot.transfer import Transfers
from streamer.snapshot.verify import verify
from tests.unit.snapshot.memory import Disk, MemoryBackend
from tests.unit.snapshot.rig import (
    ABOUT,
    HOUR_MS,
    checkpoint,
    content,
    read,
    repository,
    shelf,
    snapshot,
)

FILES = {f"{number:06d}.sst": content(20_000, number) for number in range(8)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "source", FILES)


@pytest.mark.parametrize(
    "place", ["snapshot.after_pending", "snapshot.after_file", "snapshot.before_commit"]
)
def test_a_snapshot_cut_before_its_commit_is_none_and_the_next_sends_the_rest(
    source: Path, place: str
) -> None:
    disk = Disk()
    with failpoints.armed(place, "error"), pytest.raises(InjectedError):
        snapshot(repository(MemoryBackend(disk)), source)
    there = len(disk.keys("/objects/"))

    fresh = repository(MemoryBackend(disk))
    assert shelf(fresh).manifests() == []
    made = snapshot(fresh, source)

    assert made.sent_files == len(FILES) + 2 - there
    assert len(disk.keys("/objects/")) == len(FILES) + 2


def test_a_snapshot_cut_after_its_commit_is_there(source: Path) -> None:
    disk = Disk()
    with failpoints.armed("snapshot.after_commit", "error"), pytest.raises(InjectedError):
        snapshot(repository(MemoryBackend(disk)), source)
    assert len(shelf(repository(MemoryBackend(disk))).manifests()) == 1


def test_what_a_killed_snapshot_left_is_voided_and_removed(source: Path) -> None:
    disk = Disk()
    backend = MemoryBackend(disk)

    def dies(call: str, key: str) -> None:
        if "/snapshots/" in key and call == "put":
            backend.before = silent
            raise KeyboardInterrupt

    def silent(call: str, key: str) -> None:
        raise KeyboardInterrupt

    backend.before = dies
    with pytest.raises(KeyboardInterrupt):
        snapshot(repository(backend), source)
    assert disk.keys("/pending/")

    place = repository(MemoryBackend(disk))
    policy = Policy(keep_last=1, grace_ms=HOUR_MS)
    early = prune(place, shelf(place), policy, dry_run=False)
    assert (early.voided, early.objects_marked) == ([], 0)
    disk.now_ms += 2 * HOUR_MS
    shown = prune(place, shelf(place), policy)
    voided = prune(place, shelf(place), policy, dry_run=False)
    assert len(voided.voided) == len(shown.voided) == 1
    assert voided.objects_marked == len(FILES) + 2
    disk.now_ms += 2 * HOUR_MS
    done = prune(place, shelf(place), policy, dry_run=False)
    assert done.objects_deleted == len(FILES) + 2
    assert disk.keys("/objects/") == disk.keys("/pending/") == disk.keys("condemned") == []


def test_a_source_that_changes_is_not_stored(source: Path) -> None:
    place = repository()

    class Changing(Checkpoint):
        def read(self, file):  # type: ignore[no-untyped-def]
            (source / "000003.sst").write_bytes(b"y" * 20_000)
            return super().read(file)

    with pytest.raises(SnapshotDamagedError, match=r"000003\.sst was changed"):
        create(place, shelf(place), Changing(source), about=ABOUT)
    assert shelf(place).entries() == []
    assert isinstance(place.backend, MemoryBackend)
    assert place.backend.disk.keys("/pending/") == []


@pytest.mark.parametrize("whose", ["its own", "one that was there"])
def test_what_something_else_deletes_meanwhile_leaves_no_snapshot_that_lacks_it(
    source: Path, whose: str
) -> None:
    """A lifecycle rule that was set later, or a person who tidies up."""
    disk = Disk()
    backend = MemoryBackend(disk)
    place = repository(backend)
    before = [] if whose == "its own" else [snapshot(place, source).manifest.stem]
    (source / "000009.sst").write_bytes(b"z" * 20_000)
    deleted: list[str] = []

    def rule(call: str, key: str) -> None:
        if call == "has put" and "/objects/" in key and not deleted:
            others = [each for each in disk.keys("/objects/") if each != key]
            deleted.append(others[0] if before else key)
            del disk.objects[deleted[0]]

    backend.before = rule
    with pytest.raises(SnapshotMissingError, match="is not there as it was stored") as raised:
        snapshot(place, source)
    assert "a lifecycle rule" in (raised.value.hint or "")
    assert len(deleted) == 1
    assert [each.stem for each in shelf(place).entries()] == before
    made = snapshot(place, source)
    assert verify(place, shelf(place), made.manifest.stem).is_whole
    assert made.sent_files == 1


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("cut", [1, 30, 67, 120, 160])
def test_a_fetch_goes_on_where_it_was_cut(
    tmp_path: Path, source: Path, encrypted: bool, cut: int
) -> None:
    backend = MemoryBackend()
    place = repository(backend, AesGcm(b"k" * 32) if encrypted else None)
    made = snapshot(place, source)
    staging = tmp_path / "staging"
    chunks = 0

    def breaking(call: str, key: str) -> None:
        nonlocal chunks
        if call == "chunk" and "/objects/" in key:
            chunks += 1
            if chunks == cut:
                raise InjectedError

    backend.before = breaking
    with pytest.raises(InjectedError):
        fetch(place, shelf(place), made.manifest.stem, staging=staging)
    backend.before = lambda call, key: None
    again = fetch(place, shelf(place), made.manifest.stem, staging=staging)

    assert read(again.directory) == read(source)
    total = made.manifest.size
    # Chunks are of 1,000 bytes. Encrypted files go on at chunks of their own, so one is repeated.
    repeated = again.moved_bytes + (cut - 1) * 1_000 - total
    assert repeated <= (40_000 if encrypted else 1_000)
    assert not (staging / "parts").exists()


def test_a_part_with_wrong_bytes_is_fetched_anew(tmp_path: Path, source: Path) -> None:
    place = repository()
    made = snapshot(place, source)
    staging = tmp_path / "staging"
    (staging / "parts").mkdir(parents=True)
    file = next(each for each in made.manifest.files if each.name == "000001.sst")
    part = staging / "parts" / f"{file.name}.{file.sha256[:16]}.part"
    part.write_bytes(b"wrong" * 100)
    (staging / "files").mkdir()
    (staging / "files" / "000002.sst").write_bytes(b"w" * 20_000)
    (staging / "files" / "of-another-snapshot.sst").write_bytes(b"w")

    fetched = fetch(place, shelf(place), made.manifest.stem, staging=staging)

    assert read(fetched.directory) == read(source)


def test_connections_that_break_are_made_again(tmp_path: Path, source: Path) -> None:
    backend = MemoryBackend()
    calls = 0

    def unsteady(call: str, key: str) -> None:
        nonlocal calls
        calls += 1
        if calls % 7 == 0:
            raise RepositoryUnavailableError(f"{call} {key} broke off")

    backend.before = unsteady
    place = repository(SteadyBackend(backend, 60_000, wait=lambda seconds: None))
    made = snapshot(place, source)
    fetched = fetch(place, shelf(place), made.manifest.stem, staging=tmp_path / "staging")
    assert read(fetched.directory) == read(source)
    assert backend.disk.keys("/pending/") == backend.disk.keys("/leases/") == []


def test_a_commit_whose_answer_is_lost_is_known_for_ones_own(source: Path) -> None:
    backend = MemoryBackend()
    lost: list[str] = []

    def losing(call: str, key: str) -> None:
        if call == "has put" and key not in lost:
            lost.append(key)
            raise RepositoryUnavailableError("the answer was lost")

    backend.before = losing
    place = repository(backend_of(backend))
    place.make_fit = lambda: None  # type: ignore[method-assign]
    made = snapshot(place, source)
    assert [found.id for found in shelf(place).manifests()] == [made.manifest.id]


def backend_of(backend: MemoryBackend) -> SteadyBackend:
    return SteadyBackend(backend, 60_000, wait=lambda seconds: None)


def test_what_is_whole_does_not_wait_for_a_repository_that_went_away(
    tmp_path: Path, source: Path
) -> None:
    backend = MemoryBackend()
    made = snapshot(repository(backend), source)

    def away(call: str, key: str) -> None:
        if call == "delete":
            raise RepositoryUnavailableError("the line is down")

    backend.before = away
    waits: list[float] = []
    place = repository(SteadyBackend(backend, 300_000, wait=waits.append))
    fetched = fetch(place, shelf(place), made.manifest.stem, staging=tmp_path / "staging")
    assert read(fetched.directory) == read(source)
    assert waits == []


def test_a_full_local_disk_is_refused_before_anything_is_fetched(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = repository()
    made = snapshot(place, source)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**6, 900_000, 100_000))
    with pytest.raises(SnapshotError, match=r"needs 160066 bytes .* 100000 of 1000000 are free"):
        fetch(place, shelf(place), made.manifest.stem, staging=tmp_path / "staging")


def test_a_local_disk_that_fills_keeps_what_was_fetched(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = MemoryBackend()
    place = repository(backend)
    made = snapshot(place, source)
    written = 0

    def full(target: object, chunk: bytes) -> None:
        nonlocal written
        written += len(chunk)
        if written > 50_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        target.write(chunk)  # type: ignore[attr-defined]

    with monkeypatch.context() as patched:
        patched.setattr("streamer.snapshot.fetch.write_all", full)
        with pytest.raises(SnapshotError, match="No space left") as raised:
            fetch(place, shelf(place), made.manifest.stem, staging=tmp_path / "staging")
    assert "what was fetched is kept" in raised.value.hint
    again = fetch(place, shelf(place), made.manifest.stem, staging=tmp_path / "staging")
    assert again.moved_bytes <= made.manifest.size - 50_000 + 1_000
    assert backend.disk.keys("/leases/") == []


def test_a_full_repository_leaves_no_snapshot_and_nothing_half(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "repository"
    place = repository(DirectoryBackend(root))
    real = os.link
    links = 0

    def full(one: Path, two: Path) -> None:
        nonlocal links
        links += 1
        if links > 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(one, two)

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", full)
        with pytest.raises(RepositoryError, match="No space left") as raised:
            snapshot(place, source)
    assert "prune" in raised.value.hint
    assert [*place.backend.unfinished()] == []
    assert shelf(place).manifests() == []
    assert snapshot(place, source).sent_files < len(FILES) + 2


def test_a_directory_that_may_not_be_written_is_named(tmp_path: Path, source: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a directory should be")
    with pytest.raises(RepositoryError, match="blocked"):
        snapshot(repository(DirectoryBackend(blocked / "repository")), source)


KILLED = """
import sys
from pathlib import Path
from streamer.snapshot.fetch import fetch
from streamer.snapshot.remote.directory import DirectoryBackend
from tests.unit.snapshot.rig import repository, shelf
place = repository(DirectoryBackend(Path(sys.argv[1])))
entry = shelf(place).entries()[0]
fetch(place, shelf(place), entry.stem, staging=Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_fetch_that_is_killed_costs_at_most_one_file(tmp_path: Path, source: Path) -> None:
    root, staging = tmp_path / "repository", tmp_path / "staging"
    place = repository(DirectoryBackend(root), transfers=Transfers(parallel=1))
    made = snapshot(place, source)
    command = [sys.executable, "-c", KILLED, str(root), str(staging)]
    environment = {**os.environ, failpoints.VARIABLE: "fetch.after_file=kill@5"}
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL

    fetched = fetch(place, shelf(place), made.manifest.stem, staging=staging)

    assert fetched.moved_bytes == made.manifest.size - 5 * 20_000
    assert read(fetched.directory) == read(source)
