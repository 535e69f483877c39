"""Snapshots are made, listed, fetched and adopted; against every kind of place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from rocksdict import Checkpoint as RocksCheckpoint
from rocksdict import Options, Rdict

from streamer import failpoints
from streamer.clock import ManualClock
from streamer.errors import (
    ConfigError,
    SnapshotDamagedError,
    SnapshotError,
    SnapshotMissingError,
)
from streamer.failpoints import InjectedError
from streamer.snapshot.adopt import adopt, staging_of
from streamer.snapshot.checkpoint import Checkpoint, Digests
from streamer.snapshot.cipher import AesGcm, Cipher, Plain
from streamer.snapshot.copying import copy
from streamer.snapshot.fetch import fetch
from streamer.snapshot.pace import Pace
from streamer.snapshot.prune import Policy, prune
from streamer.snapshot.remote.api import Backend
from streamer.snapshot.remote.directory import DirectoryBackend
from streamer.snapshot.transfer import Progress, Transfers
from streamer.snapshot.verify import verify
from tests.unit.snapshot.memory import MemoryBackend
from tests.unit.snapshot.places import BUILD_S
from tests.unit.snapshot.rig import checkpoint, content, read, repository, shelf, snapshot

pytestmark = pytest.mark.timeout(BUILD_S)

CIPHERS = [Plain(), AesGcm(b"k" * 32)]


@pytest.mark.parametrize("cipher", CIPHERS, ids=["plain", "encrypted"])
def test_a_life_of_snapshots(backend: Backend, tmp_path: Path, cipher: Cipher) -> None:
    place = repository(backend, cipher, transfers=Transfers(parallel=3), beat_ms=20)
    files = {f"{number:06d}.sst": content(300_000, number) for number in range(6)}
    files["000099.log"] = b""
    one = checkpoint(tmp_path / "one", files)
    first = snapshot(place, one)
    files["000006.sst"] = files.pop("000000.sst")[:100] + content(299_000, 7)
    two = checkpoint(tmp_path / "two", files)
    second = snapshot(place, two)

    assert first.sent_files == 9
    assert (second.sent_files, second.sent_bytes) == (1, 299_100)
    assert [found.id for found in shelf(place).manifests()] == [
        first.manifest.id,
        second.manifest.id,
    ]
    for made, source in ((first, one), (second, two)):
        fetched = fetch(
            place, shelf(place), made.manifest.stem, staging=tmp_path / made.manifest.id
        )
        assert read(fetched.directory) == read(source)
        assert fetched.moved_bytes == made.manifest.size
        assert verify(place, shelf(place), made.manifest.stem).is_whole

    policy = Policy(keep_last=1, grace_ms=0)
    done = prune(place, shelf(place), policy, dry_run=False)
    assert done.removed == [first.manifest.stem]
    assert done.objects_deleted == 1
    again = fetch(place, shelf(place), second.manifest.stem, staging=tmp_path / "again")
    assert read(again.directory) == read(two)
    with pytest.raises(SnapshotMissingError):
        fetch(place, shelf(place), first.manifest.stem, staging=tmp_path / "gone")
    kept = [key.key for key in backend.list("")]
    assert not [key for key in kept if "/pending/" in key or "/leases/" in key]


@pytest.mark.slow
@pytest.mark.parametrize("cipher", CIPHERS, ids=["plain", "encrypted"])
def test_a_real_database_is_restored(tmp_path: Path, cipher: Cipher) -> None:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    database = Rdict(str(tmp_path / "live"), options)
    place = repository(DirectoryBackend(tmp_path / "repository"), cipher)
    digests = Digests(tmp_path / "digests.json")
    sent = []
    for turn in range(2):
        count = 20_000 if turn == 0 else 200
        for number in range(count):
            database[b"key-%06d" % number] = content(100, number + turn)
        database.flush()
        directory = tmp_path / f"checkpoint-{turn}"
        RocksCheckpoint(database).create_checkpoint(str(directory))
        sent.append(snapshot(place, directory, digests=digests))
    assert sent[1].sent_bytes <= 0.05 * sent[0].sent_bytes

    target = tmp_path / "tasks" / "0_3"
    stem = sent[1].manifest.stem
    fetched = fetch(place, shelf(place), stem, staging=staging_of(target))
    adopted = adopt(fetched.directory, target, now_ms=7)

    assert adopted.former is None
    restored = Rdict(str(target), Options(raw_mode=True))
    assert dict(restored.items()) == dict(database.items())
    restored.close()
    database.close()


def test_files_whose_hash_is_not_known_are_read_at_the_pace_that_is_given(tmp_path: Path) -> None:
    clock, slept = ManualClock(0), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(round(seconds * 1000))

    through = Pace(1_000_000, clock=clock, sleep=sleep).through
    directory = checkpoint(tmp_path / "one", {"000001.sst": content(3_000_000, 1)})
    found = Checkpoint(directory, Digests(tmp_path / "digests", through)).files()
    assert 2.5 < sum(slept) < 3.2
    slept.clear()
    assert Checkpoint(directory, Digests(tmp_path / "digests", through)).files() == found
    assert sum(slept) < 0.1, "it is remembered"
    assert Checkpoint(directory).files() == found


def test_hashing_says_how_far_it_is_while_it_is_slow(tmp_path: Path) -> None:
    clock = ManualClock(0)
    told: list[tuple[int, Progress]] = []

    def slow(chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            clock.advance(60_000)
            yield chunk

    def report(progress: Progress) -> None:
        told.append((clock.now_ms(), progress))

    files = {"000001.sst": content(5 << 20, 1), "000002.sst": content(3 << 20, 2)}
    directory = checkpoint(tmp_path / "one", files)
    Checkpoint(directory, Digests(tmp_path / "digests", slow)).files(report)
    assert {each.phase for _at, each in told} == {"hash"}
    times = [at for at, _each in told]
    assert max(after - before for before, after in pairwise(times)) <= 60_000, "for each chunk"
    done = [each.bytes_done for _at, each in told]
    assert done == sorted(done)
    last = told[-1][1]
    assert done[-1] == last.bytes_total >= 8 << 20
    assert last.files_done == last.files_total
    assert last.bytes_moved == 0

    told.clear()
    Checkpoint(directory, Digests(tmp_path / "digests", slow)).files(report)
    assert told[-1][1] == last, "what is remembered counts"


def test_only_missing_files_are_fetched(tmp_path: Path) -> None:
    place = repository(DirectoryBackend(tmp_path / "repository"))
    files = {f"{number:06d}.sst": content(100_000, number) for number in range(20)}
    old = checkpoint(tmp_path / "old", files)
    snapshot(place, old)
    files["000020.sst"] = content(4_000, 20)
    made = snapshot(place, checkpoint(tmp_path / "new", files))
    # A name proves nothing: this one has the bytes of another.
    (old / "000003.sst").write_bytes(content(100_000, 99))

    fetched = fetch(
        place, shelf(place), made.manifest.stem, staging=tmp_path / "staging", reuse=[old]
    )

    assert read(fetched.directory) == read(tmp_path / "new")
    assert fetched.moved_bytes == 104_000
    inode = (old / "000001.sst").stat().st_ino
    assert (fetched.directory / "000001.sst").stat().st_ino == inode
    assert (fetched.directory / "CURRENT").stat().st_ino != (old / "CURRENT").stat().st_ino


def test_files_are_private(tmp_path: Path) -> None:
    place = repository(DirectoryBackend(tmp_path / "repository"))
    made = snapshot(place, checkpoint(tmp_path / "one", {"000001.sst": b"x" * 10}))
    fetched = fetch(place, shelf(place), made.manifest.stem, staging=tmp_path / "staging")
    for path in fetched.directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert fetched.directory.stat().st_mode & 0o777 == 0o700


def test_a_copy_is_whole_and_made_once(tmp_path: Path) -> None:
    place = repository()
    target = repository(DirectoryBackend(tmp_path / "target"), AesGcm(b"t" * 32))
    files = {f"{number:06d}.sst": content(50_000, number) for number in range(4)}
    source = checkpoint(tmp_path / "one", files)
    made = snapshot(place, source)

    copied = copy(shelf(place), made.manifest.stem, target, beat_ms=0)
    again = copy(shelf(place), made.manifest.stem, target, beat_ms=0)

    assert copied.manifest.origin == made.manifest.id
    assert copied.manifest.sequence == made.manifest.sequence
    assert (again.sent_files, again.manifest.id) == (0, copied.manifest.id)
    fetched = fetch(target, shelf(target), copied.manifest.stem, staging=tmp_path / "staging")
    assert read(fetched.directory) == read(source)


@pytest.mark.parametrize("what", ["snapshot", "object", "gone"])
def test_what_is_about_to_go_is_no_copy(what: str, tmp_path: Path) -> None:
    place, target = repository(), repository()
    made = snapshot(place, checkpoint(tmp_path / "one", {"000001.sst": content(5_000, 1)}))
    stem = made.manifest.stem
    first = copy(shelf(place), stem, target, beat_ms=0).manifest
    there = shelf(target)
    name = next(file.object for file in first.files if file.name == "000001.sst")
    if what == "snapshot":
        there.condemn("snapshot", first.stem)
    elif what == "object":
        there.condemn("object", name)
    else:
        there.backend.delete(there.object_key(name))

    again = copy(shelf(place), stem, target, beat_ms=0).manifest

    assert again.id != first.id
    if what == "snapshot":
        prune(target, there, Policy(keep_last=1, grace_ms=0), dry_run=False)
    assert verify(target, there, again.stem).is_whole
    assert not again.objects.keys() & there.condemned("object")
    assert copy(shelf(place), stem, target, beat_ms=0).manifest == again


def test_a_copy_that_was_cut_goes_on(tmp_path: Path) -> None:
    place, target = repository(), repository(DirectoryBackend(tmp_path / "target"))
    files = {f"{number:06d}.sst": content(50_000, number) for number in range(6)}
    made = snapshot(place, checkpoint(tmp_path / "one", files))
    with failpoints.armed("snapshot.after_file", "error@4"), pytest.raises(InjectedError):
        copy(shelf(place), made.manifest.stem, target, beat_ms=0)
    assert shelf(target).manifests() == []

    copied = copy(shelf(place), made.manifest.stem, target, beat_ms=0)

    assert copied.sent_files == len(files) + 2 - 4
    assert isinstance(place.backend, MemoryBackend)
    assert place.backend.disk.keys("/leases/") == []


def test_a_copy_passes_nothing_damaged_on(tmp_path: Path) -> None:
    place, target = repository(), repository()
    made = snapshot(place, checkpoint(tmp_path / "one", {"000001.sst": content(5_000, 1)}))
    assert isinstance(place.backend, MemoryBackend)
    file = next(each for each in made.manifest.files if each.name == "000001.sst")
    place.backend.disk.change(shelf(place).object_key(file.object), content(5_000, 2))
    with pytest.raises(SnapshotDamagedError):
        copy(shelf(place), made.manifest.stem, target, beat_ms=0)
    assert shelf(target).entries() == []


def test_a_repository_has_one_key(tmp_path: Path) -> None:
    backend = DirectoryBackend(tmp_path / "repository")
    snapshot(repository(backend, AesGcm(b"a" * 32)), checkpoint(tmp_path / "one", {}))
    for cipher in (AesGcm(b"b" * 32), None):
        with pytest.raises(ConfigError, match="is encrypted with the key"):
            repository(backend, cipher)
    plain = DirectoryBackend(tmp_path / "plain")
    snapshot(repository(plain), checkpoint(tmp_path / "two", {}))
    with pytest.raises(ConfigError, match="is not encrypted"):
        repository(plain, AesGcm(b"a" * 32))


def test_names_in_an_encrypted_repository_tell_nothing(tmp_path: Path) -> None:
    backend = DirectoryBackend(tmp_path / "repository")
    secret = b"customer-17 " * 1000
    made = snapshot(
        repository(backend, AesGcm(b"a" * 32)), checkpoint(tmp_path / "one", {"1.sst": secret})
    )
    seen = b"".join(b"".join(backend.read(stored.key)) for stored in backend.list(""))
    names = "".join(stored.key for stored in backend.list(""))
    assert b"customer-17" not in seen
    assert b"spend-totals-changelog" not in seen
    assert not [file for file in made.manifest.files if file.sha256 in names]


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    place = repository(DirectoryBackend(tmp_path / "repository"), transfers=Transfers(parallel=4))
    files = {f"{number:06d}.sst": content(3_000_000, number % 3) for number in range(5)}
    made = snapshot(place, checkpoint(tmp_path / "one", files))
    reports: list[Progress] = []

    fetch(
        place,
        shelf(place),
        made.manifest.stem,
        staging=tmp_path / "staging",
        report=reports.append,
    )

    last = reports[-1]
    assert (last.files_done, last.bytes_done) == (last.files_total, last.bytes_total)
    assert made.sent_bytes == 9_000_000 + 66, "three contents, each once"


@pytest.mark.parametrize("kind", ["link", "directory", "no CURRENT", "missing"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, kind: str) -> None:
    directory = checkpoint(tmp_path / "one", {"000001.sst": b"x"})
    if kind == "link":
        (directory / "000002.sst").symlink_to("/etc/passwd")
    elif kind == "directory":
        (directory / "inner").mkdir()
    elif kind == "no CURRENT":
        (directory / "CURRENT").unlink()
    else:
        directory = tmp_path / "missing"
    place = repository()
    with pytest.raises(SnapshotError, match="checkpoint"):
        snapshot(place, directory)
    assert shelf(place).entries() == []


def test_a_hash_is_remembered_for_the_same_file_only(tmp_path: Path) -> None:
    directory = checkpoint(tmp_path / "one", {"000001.sst": b"x" * 100})
    path = tmp_path / "digests.json"
    place = repository()
    first = snapshot(place, directory, digests=Digests(path))
    (directory / "000001.sst").unlink()
    (directory / "000001.sst").write_bytes(b"y" * 100)
    second = snapshot(place, directory, digests=Digests(path))
    path.write_text("no json")
    third = snapshot(place, directory, digests=Digests(path))
    hashes = [{file.name: file.sha256 for file in made.manifest.files} for made in (first, second)]
    assert hashes[0]["000001.sst"] != hashes[1]["000001.sst"]
    assert third.sent_files == 0
