"""Whatever lies in a repository: a clear error, and nothing outside of the staging changes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamer.errors import (
    RepositoryError,
    SnapshotDamagedError,
    SnapshotError,
    SnapshotMismatchError,
    SnapshotMissingError,
)
from streamer.ids import Layout, TaskId, TopicPartition
from streamer.snapshot.cipher import AesGcm, Cipher, Plain
from streamer.snapshot.create import Created
from streamer.snapshot.fetch import Fetched, fetch
from streamer.snapshot.manifest import check_positions, decode, encode
from streamer.snapshot.prune import Policy, prune
from streamer.snapshot.repository import Repository
from streamer.snapshot.verify import verify
from tests.unit.snapshot.memory import Disk, MemoryBackend
from tests.unit.snapshot.rig import TASK, checkpoint, content, read, repository, shelf, snapshot

Change = Callable[[dict[str, Any]], object]


class Stored:
    """A repository with one snapshot, and what can be done to it."""

    def __init__(self, tmp_path: Path, cipher: Cipher | None = None) -> None:
        self.disk = Disk()
        self.backend = MemoryBackend(self.disk)
        self.place: Repository = repository(self.backend, cipher)
        self.source = checkpoint(
            tmp_path / "source",
            {
                "000001.sst": content(5_000, 1),
                "000002.sst": content(3_000, 2),
                "000009.log": content(700, 3),
            },
        )
        self.made: Created = snapshot(self.place, self.source)
        self.manifest = self.made.manifest
        self.staging = tmp_path / "tasks" / "0_3.restore"

    @property
    def key(self) -> str:
        return shelf(self.place).snapshot_key(self.manifest.stem)

    def object(self, name: str) -> str:
        found = next(file.object for file in self.manifest.files if file.name == name)
        return shelf(self.place).object_key(found)

    def rewrite(self, change: Change) -> None:
        """Another manifest in the place of the true one, with a sum that is right."""
        said = json.loads(encode(self.manifest).partition(b"\n")[0])
        change(said)
        body = json.dumps(said).encode()
        tail = b"\nsha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n"
        self.disk.change(self.key, body + tail)

    def fetch(self, **options: Any) -> Fetched:
        place = self.place
        return fetch(place, shelf(place), self.manifest.stem, staging=self.staging, **options)


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def _name(name: object) -> Change:
    return lambda said: said["files"][0].update(name=name)


HOSTILE: dict[str, Change] = {
    "a way up": _name("../../escaped"),
    "an absolute path": _name("/etc/passwd"),
    "a directory": _name("a/b"),
    "a hidden name": _name(".profile"),
    "a control character": _name("a\n"),
    "a null character": _name("a\0b"),
    "a name that is too long": _name("a" * 300),
    "no name": _name(""),
    "a number as name": _name(7),
    "one name twice": lambda said: said["files"].append(said["files"][0]),
    "a part as name": _name("000001.sst.part"),
    "no CURRENT": lambda said: said["files"].pop(
        next(at for at, each in enumerate(said["files"]) if each["name"] == "CURRENT")
    ),
    "a negative size": lambda said: said["files"][0].update(size=-1),
    "an endless size": lambda said: said["files"][0].update(size=1 << 60),
    "a size as text": lambda said: said["files"][0].update(size="10"),
    "no hash": lambda said: said["files"][0].update(sha256=""),
    "an object elsewhere": lambda said: said["files"][0].update(object="../../snapshots/x"),
    "no files": lambda said: said.update(files=[]),
    "a field that nobody knows": lambda said: said.update(run="rm -rf"),
    "a field that is missing": lambda said: said.pop("changelog"),
    "a negative position": lambda said: said["changelog"][0].update(position=-1),
    "a position beyond all": lambda said: said["changelog"][0].update(position=1 << 70),
    "two positions of one partition": lambda said: said["changelog"].append(said["changelog"][0]),
    "a topic that cannot be": lambda said: said["changelog"][0].update(topic="../x"),
    "a task that cannot be": lambda said: said.update(task="../0_3"),
    "an application that cannot be": lambda said: said.update(application="a/../b"),
    "another application": lambda said: said.update(application="earn"),
    "another task": lambda said: said.update(task="0_4"),
    "another layout": lambda said: said.update(layout=2),
    "another id": lambda said: said.update(id="0" * 32),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_manifest_is_refused_before_anything_is_fetched(
    stored: Stored, tmp_path: Path, change: Change
) -> None:
    stored.rewrite(change)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SnapshotDamagedError) as raised:
        stored.fetch()
    assert "memory://disk: spend 0_3" in raised.value.message
    assert raised.value.hint
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("version", [0, 2, 99])
def test_a_manifest_of_another_version_is_named(stored: Stored, version: int) -> None:
    stored.rewrite(lambda said: said.update(version=version, something_new=1))
    with pytest.raises(SnapshotMismatchError, match=f"has version {version}, .* reads 1"):
        stored.fetch()


@pytest.mark.parametrize("at", [0, 1, 50, 200, -1, -30, -70])
def test_a_flipped_bit_of_the_manifest_is_seen(stored: Stored, at: int) -> None:
    raw = bytearray(stored.disk.objects[stored.key][0])
    raw[at] ^= 1
    stored.disk.change(stored.key, bytes(raw))
    with pytest.raises(SnapshotDamagedError, match="manifest cannot be trusted"):
        stored.fetch()


@pytest.mark.parametrize("length", [0, 1, 100, -1, -74])
def test_a_manifest_that_was_cut_is_seen(stored: Stored, length: int) -> None:
    stored.disk.change(stored.key, stored.disk.objects[stored.key][0][:length])
    with pytest.raises(SnapshotDamagedError, match="manifest cannot be trusted"):
        stored.fetch()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a flipped bit": lambda raw: raw[:2_000] + bytes([raw[2_000] ^ 4]) + raw[2_001:],
    "cut": lambda raw: raw[:-1],
    "empty": lambda raw: b"",
    "longer": lambda raw: raw + b"x",
    "other bytes": lambda raw: content(len(raw), 77),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("cipher", [None, AesGcm(b"k" * 32)], ids=["plain", "encrypted"])
def test_a_damaged_file_is_named_and_the_others_are_kept(
    tmp_path: Path, cipher: Cipher | None, damage: Callable[[bytes], bytes]
) -> None:
    stored = Stored(tmp_path, cipher)
    key = stored.object("000002.sst")
    right = stored.disk.objects[key][0]
    stored.disk.change(key, damage(right))

    with pytest.raises(SnapshotDamagedError) as raised:
        stored.fetch()
    verdict = verify(stored.place, shelf(stored.place), stored.manifest.stem)

    assert "000002.sst" in raised.value.message or key in raised.value.message
    assert [*verdict.problems] == ["000002.sst"]
    stored.disk.change(key, right)
    reads: set[str] = set()
    stored.backend.before = lambda call, what: reads.add(what) if call == "read" else None
    fetched = stored.fetch()
    assert read(fetched.directory) == read(stored.source)
    assert key in reads
    assert stored.object("000001.sst") not in reads


@pytest.mark.parametrize("name", ["000002.sst", "000009.log", "CURRENT"])
def test_a_file_that_is_gone_is_named(stored: Stored, name: str) -> None:
    """A sorted file, RocksDB's own log, and the file that names all others."""
    del stored.disk.objects[stored.object(name)]
    with pytest.raises(SnapshotMissingError, match=rf"lacks {re.escape(name)}"):
        stored.fetch()
    verdict = verify(stored.place, shelf(stored.place), stored.manifest.stem, contents=False)
    assert verdict.problems == {name: "it is not there"}


def test_an_encrypted_file_cannot_stand_for_another(tmp_path: Path) -> None:
    stored = Stored(tmp_path, AesGcm(b"k" * 32))
    one, two = stored.object("000001.sst"), stored.object("000002.sst")
    stored.disk.change(one, stored.disk.objects[two][0])
    with pytest.raises(SnapshotDamagedError, match="cannot be decrypted"):
        stored.fetch()


def test_an_encrypted_manifest_cannot_be_written_without_the_key(tmp_path: Path) -> None:
    stored = Stored(tmp_path, AesGcm(b"k" * 32))
    stored.rewrite(lambda said: None)
    with pytest.raises(SnapshotDamagedError, match="no header of an encrypted file"):
        stored.fetch()


@pytest.mark.parametrize("what", ["application", "task", "layout"])
def test_a_snapshot_that_was_moved_to_another_task_is_refused(stored: Stored, what: str) -> None:
    """Its manifest is whole and its files are there; only the place is wrong."""
    other = {
        "application": stored.place.shelf("earn", TASK),
        "task": stored.place.shelf("spend", TaskId(0, 4)),
        "layout": stored.place.shelf("spend", TASK, Layout(2)),
    }[what]
    for key, found in list(stored.disk.objects.items()):
        if key.startswith(shelf(stored.place).root):
            moved = other.root + key.removeprefix(shelf(stored.place).root)
            stored.disk.objects[moved] = found
    with pytest.raises(SnapshotDamagedError, match="does not belong there"):
        fetch(stored.place, other, stored.manifest.stem, staging=stored.staging)


def test_a_store_of_another_format_is_refused(stored: Stored) -> None:
    with pytest.raises(SnapshotMismatchError, match=r"format 1, .* reads format 2"):
        stored.fetch(store_format="2")


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ((0, 1_000), None),
        ((1_000, 1_000), None),
        ((1_001, 5_000), "stands at 1000 of spend-totals-changelog/3, which begins at 1001"),
        ((0, 999), "stands at 1000 of spend-totals-changelog/3, which ends at 999"),
        (None, "no such changelog"),
    ],
)
def test_a_changelog_that_does_not_reach_the_snapshot_is_told_with_both_offsets(
    stored: Stored, bounds: tuple[int, int] | None, said: str | None
) -> None:
    place = TopicPartition("spend-totals-changelog", 3)
    known = {} if bounds is None else {place: bounds}
    if said is None:
        check_positions(stored.manifest, known)
        return
    with pytest.raises(SnapshotMismatchError, match=said) as raised:
        check_positions(stored.manifest, known)
    assert raised.value.hint


def test_a_link_in_the_staging_directory_is_not_written_through(
    stored: Stored, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (stored.staging / "files").mkdir(parents=True)
    (stored.staging / "parts").mkdir()
    file = stored.manifest.files[0]
    (stored.staging / "parts" / f"{file.name}.{file.sha256[:16]}.part").symlink_to(outside)
    (stored.staging / "files" / "000001.sst").symlink_to(outside)
    stored.fetch()
    assert outside.read_bytes() == b"precious"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    linked = tmp_path / "linked"
    linked.symlink_to(elsewhere)
    with pytest.raises(SnapshotError, match="is a link"):
        fetch(stored.place, shelf(stored.place), stored.manifest.stem, staging=linked)
    assert [*elsewhere.iterdir()] == []


def test_a_manifest_that_cannot_be_read_keeps_all_files(stored: Stored, tmp_path: Path) -> None:
    snapshot(stored.place, checkpoint(tmp_path / "two", {"000003.sst": b"x" * 10}))
    stored.disk.change(stored.key, b"damaged")
    stored.disk.now_ms += 10**9
    objects = stored.disk.keys("/objects/")
    for _ in range(2):
        done = prune(
            stored.place, shelf(stored.place), Policy(keep_last=1, grace_ms=0), dry_run=False
        )
        assert [said for said in done.problems if "no file is deleted" in said]
    assert stored.disk.keys("/objects/") == objects
    assert stored.key in stored.disk.objects


def test_a_document_without_end_is_not_read_to_it(stored: Stored) -> None:
    key = f"{shelf(stored.place).root}holds/{stored.manifest.stem}/x"
    stored.disk.objects[key] = (b"x" * 3_000_000, 0)
    with pytest.raises(SnapshotDamagedError, match="larger than"):
        prune(stored.place, shelf(stored.place), Policy(keep_last=1))


@pytest.mark.parametrize("marker", [b"", b"{}", b"no json", b'{"format":"x"}', b'["a"]'])
def test_a_marker_that_is_none_is_refused(stored: Stored, marker: bytes) -> None:
    stored.disk.change("streamer-repository", marker)
    with pytest.raises(RepositoryError, match="streamer-repository cannot be read"):
        repository(stored.backend)


def test_a_repository_of_another_format_is_refused(stored: Stored) -> None:
    stored.disk.change("streamer-repository", b'{"format":2,"key_id":""}')
    with pytest.raises(SnapshotMismatchError, match="has format 2"):
        repository(stored.backend)


def test_manifests_are_canonical_and_a_stored_one_is_read() -> None:
    """The sample was written by version 1 of the format, and is never changed."""
    raw = (Path(__file__).parent / "samples" / "manifest-1").read_bytes()
    manifest = decode(raw, "the sample")
    assert encode(manifest) == raw
    assert (manifest.application, manifest.task, manifest.sequence) == ("spend", "0_3", 17)
    assert manifest.changelog[0].position == 8_204


def test_who_asked_is_named_where_somebody_did_and_nowhere_else() -> None:
    """A release without the field reads all manifests that nobody asked for."""
    raw = (Path(__file__).parent / "samples" / "manifest-1").read_bytes()
    manifest = decode(raw, "the sample")
    assert manifest.made_for == ""
    assert b'"operation"' not in encode(manifest)
    asked = encode(msgspec.structs.replace(manifest, operation="snapshot-1"))
    assert decode(asked, "asked for").made_for == "snapshot-1"
    assert encode(decode(asked, "asked for")) == asked


def test_plain_contents_are_stored_as_they_are(stored: Stored) -> None:
    assert stored.disk.objects[stored.object("000001.sst")][0] == content(5_000, 1)
    assert Plain().name("a" * 64) == "a" * 64
