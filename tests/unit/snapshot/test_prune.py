"""Which snapshots stay and which go, who keeps them, and what a dry run tells."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.errors import (
    ConfigError,
    OperationRefusedError,
    RepositoryError,
    SnapshotMissingError,
)
from streamer.snapshot import claims
from streamer.snapshot.cipher import read_key
from streamer.snapshot.claims import Hold, hold, holds, lease, release
from streamer.snapshot.fetch import fetch
from streamer.snapshot.orphans import sweep
from streamer.snapshot.prune import Policy, Pruned, prune
from streamer.snapshot.remote.directory import DirectoryBackend
from streamer.snapshot.repository import Repository
from streamer.snapshot.verified import note_verified, verified
from tests.unit.snapshot.memory import Disk, MemoryBackend
from tests.unit.snapshot.rig import ABOUT, HOUR_MS, checkpoint, content, repository, shelf, snapshot


class Kept:
    """Snapshots an hour apart; each has a file of its own, and one that all share."""

    def __init__(self, tmp_path: Path, count: int = 4) -> None:
        self.disk = Disk()
        self.backend = MemoryBackend(self.disk)
        self.place: Repository = repository(self.backend)
        self.stems: list[str] = []
        for number in range(count):
            files = {"shared.sst": content(9_000, 0), f"{number}.sst": content(1_000, number + 1)}
            # A host whose clock goes backwards: it decides nothing.
            about = replace(ABOUT, created_ms=10**12 - number)
            made = snapshot(self.place, checkpoint(tmp_path / str(number), files), about=about)
            self.stems.append(made.manifest.stem)
            self.disk.now_ms += HOUR_MS

    def prune(
        self, *, dry_run: bool = False, grace_ms: int = 0, keep_last: int = 2, keep_ms: int = 0
    ) -> Pruned:
        wanted = Policy(keep_last=keep_last, keep_ms=keep_ms, grace_ms=grace_ms)
        return prune(self.place, shelf(self.place), wanted, dry_run=dry_run)

    @property
    def left(self) -> list[str]:
        return [manifest.stem for manifest in shelf(self.place).manifests()]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        ((1, 0), 1),
        ((3, 0), 3),
        ((9, 0), 4),
        ((1, 2 * HOUR_MS + 1), 2),
        ((1, 9 * HOUR_MS), 4),
    ],
)
def test_the_newest_and_the_young_stay(kept: Kept, policy: tuple[int, int], left: int) -> None:
    keep_last, keep_ms = policy
    shown = kept.prune(dry_run=True, keep_last=keep_last, keep_ms=keep_ms)
    done = kept.prune(keep_last=keep_last, keep_ms=keep_ms)
    assert kept.left == kept.stems[4 - left :]
    assert shown.removed == done.removed == kept.stems[: 4 - left]
    assert shown.objects_marked == done.objects_deleted == 4 - left
    assert done.bytes_deleted == 1_000 * (4 - left)
    assert [*done.kept] == kept.stems[4 - left :][::-1]


def test_nobody_can_ask_for_less_than_one() -> None:
    with pytest.raises(ConfigError, match="the newest whole one always stays"):
        Policy(keep_last=0)


def test_what_a_trim_rests_on_is_not_pushed_out_by_what_nobody_has_verified(kept: Kept) -> None:
    place = shelf(kept.place)
    for stem, level in zip(kept.stems, ("restored", "contents", "files", "files"), strict=True):
        note_verified(place, stem, level)
    done = prune(kept.place, place, Policy(keep_last=1, keep_verified=1), dry_run=False)
    assert kept.left == [kept.stems[1], kept.stems[3]]
    assert done.kept[kept.stems[1]] == "one of the newest 1 verified"
    prune(kept.place, place, Policy(keep_last=1, keep_verified=1, level="restored"), dry_run=False)
    assert kept.left == [kept.stems[3]]


def test_a_dry_run_changes_nothing(kept: Kept) -> None:
    before = dict(kept.disk.objects)
    kept.prune(dry_run=True, keep_last=1)
    assert kept.disk.objects == before


def test_the_newest_whole_snapshot_is_never_removed(kept: Kept, tmp_path: Path) -> None:
    for stem in kept.stems[2:]:
        manifest = shelf(kept.place).manifest(stem)
        assert manifest is not None
        own = next(file.object for file in manifest.files if file.name.startswith(("2", "3")))
        del kept.disk.objects[shelf(kept.place).object_key(own)]

    done = kept.prune(keep_last=1)

    assert kept.left == kept.stems[1:], "the whole one, and the damaged newer ones"
    assert len(done.problems) == 2
    fetched = fetch(kept.place, shelf(kept.place), kept.stems[1], staging=tmp_path / "staging")
    assert fetched.manifest.stem == kept.stems[1]


def test_a_condemned_snapshot_stays_while_there_is_no_other(kept: Kept) -> None:
    for stem in kept.stems:
        shelf(kept.place).condemn("snapshot", stem)
    done = kept.prune(keep_last=1)
    assert kept.left == kept.stems
    assert set(done.waiting) == set(kept.stems)
    with lease(shelf(kept.place), kept.stems[0], beat_ms=0, even_condemned=True) as leased:
        assert leased.manifest.stem == kept.stems[0]


def test_what_an_earlier_run_condemned_goes_too(kept: Kept) -> None:
    """It was killed between its marks and its deletes."""
    for stem in kept.stems[:2]:
        shelf(kept.place).condemn("snapshot", stem)
    shown = kept.prune(dry_run=True, keep_last=9)
    assert shown.removed == kept.prune(keep_last=9).removed == kept.stems[:2]
    assert kept.disk.keys("condemned/snapshot") == []


def test_files_wait_for_their_grace_twice(kept: Kept) -> None:
    first = kept.prune(keep_last=1, grace_ms=2 * HOUR_MS)
    assert (len(first.removed), first.objects_marked, first.objects_deleted) == (3, 3, 0)
    kept.disk.now_ms += HOUR_MS
    assert kept.prune(keep_last=1, grace_ms=2 * HOUR_MS).objects_deleted == 0
    kept.disk.now_ms += HOUR_MS
    assert kept.prune(keep_last=1, grace_ms=2 * HOUR_MS).objects_deleted == 3


def test_what_is_held_stays_until_it_is_released(kept: Kept) -> None:
    about = Hold("trim-7", "a trim of the changelog rests on it", "ann", 0)
    hold(shelf(kept.place), kept.stems[0], about)
    hold(shelf(kept.place), kept.stems[0], about)

    done = kept.prune(keep_last=1)

    assert done.kept[kept.stems[0]] == "held: a trim of the changelog rests on it"
    assert kept.left == [kept.stems[0], kept.stems[3]]
    assert holds(shelf(kept.place)) == {kept.stems[0]: [about]}
    release(shelf(kept.place), kept.stems[0], "trim-7")
    release(shelf(kept.place), kept.stems[0], "trim-7")
    kept.prune(keep_last=1)
    assert kept.left == kept.stems[3:]
    with pytest.raises(OperationRefusedError, match="cannot be held"):
        hold(shelf(kept.place), kept.stems[0], about)
    assert kept.disk.keys("/holds/") == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "x" * 101])
def test_a_hold_has_a_plain_name(kept: Kept, name: str) -> None:
    with pytest.raises(OperationRefusedError, match="not a usable name"):
        hold(shelf(kept.place), kept.stems[0], Hold(name, "why", "ann", 0))


def test_what_is_read_stays_until_the_lease_ends(kept: Kept) -> None:
    with lease(shelf(kept.place), kept.stems[0], holder="worker-2", beat_ms=0):
        done = kept.prune(keep_last=1)
        assert done.kept[kept.stems[0]] == "read by worker-2"
    kept.prune(keep_last=1)
    assert kept.left == kept.stems[3:]


def test_a_lease_without_a_sign_of_life_ends(kept: Kept) -> None:
    taken = lease(shelf(kept.place), kept.stems[0], beat_ms=0)
    kept.disk.now_ms += claims.CLAIM_MS + 1
    kept.prune(keep_last=1)
    assert kept.left == kept.stems[3:]
    assert kept.disk.keys("/leases/") == []
    taken.close()


@pytest.mark.slow
def test_signs_of_life_keep_a_lease(tmp_path: Path) -> None:
    place = repository(DirectoryBackend(tmp_path / "repository"), beat_ms=50, claim_ms=1_500)
    made = snapshot(place, checkpoint(tmp_path / "one", {}))
    with lease(shelf(place), made.manifest.stem, beat_ms=50):
        time.sleep(2)
        assert claims.leased(shelf(place), place.now_ms(), 1_500)
        beats = [key for key in place.backend.list("") if "/leases/" in key.key]
        assert len(beats) <= 3, "the note, a beat, and the one before it"
    assert not [key for key in place.backend.list("") if "/leases/" in key.key]


def test_a_snapshot_is_found_by_the_first_letters_of_its_id(kept: Kept) -> None:
    found = shelf(kept.place).find(kept.stems[1].partition("-")[2][:12])
    assert found.stem == kept.stems[1]
    for wanted in ("", "zz"):
        with pytest.raises(SnapshotMissingError, match="snapshots of spend 0_3") as raised:
            shelf(kept.place).find(wanted)
        assert kept.stems[3].partition("-")[2][:12] in raised.value.hint


def test_shelves_are_listed(kept: Kept) -> None:
    assert [str(found) for found in kept.place.shelves()] == ["spend 0_3"]
    assert [found.task for found in kept.place.shelves("spend")] == [shelf(kept.place).task]
    assert kept.place.shelves("earn") == []


def test_a_writer_needs_no_right_to_delete(tmp_path: Path) -> None:
    backend = MemoryBackend()

    def refusing(call: str, key: str) -> None:
        if call == "delete":
            raise RepositoryError("AccessDenied")

    backend.before = refusing
    place = repository(backend)
    made = snapshot(place, checkpoint(tmp_path / "one", {}))
    fetch(place, shelf(place), made.manifest.stem, staging=tmp_path / "staging")
    # What it could not remove ends by itself, and who may delete removes it.
    backend.before = lambda call, key: None
    backend.disk.now_ms += 2 * HOUR_MS
    done = prune(place, shelf(place), Policy(), dry_run=False)
    assert done.voided == []
    assert backend.disk.keys("/pending/") == backend.disk.keys("/leases/") == []
    assert len(shelf(place).manifests()) == 1


def test_what_belongs_to_nothing_is_told(kept: Kept) -> None:
    for key in ("clock/x", "self-test/y", "readme.txt", "applications/spend/layout-1/0_3/odd/z"):
        kept.disk.objects[key] = (b"x", kept.disk.now_ms - 48 * HOUR_MS)
    shown = sweep(kept.place)
    assert [found.key for found in shown.momentary] == ["clock/x", "self-test/y"]
    assert [found.key for found in shown.foreign] == [
        "applications/spend/layout-1/0_3/odd/z",
        "readme.txt",
    ]
    assert sweep(kept.place, dry_run=False).removed == 2
    assert "clock/x" not in kept.disk.objects
    assert "readme.txt" in kept.disk.objects


def test_the_key_of_the_page_on_security_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    command = next(line for line in page.splitlines() if "openssl rand" in line)
    here = command.replace("/etc/streamer/snapshot.key", str(tmp_path / "key"))
    if subprocess.run(["sh", "-c", "command -v openssl"], capture_output=True).returncode != 0:
        pytest.skip("openssl is not installed, so its command was not tried")
    subprocess.run(["sh", "-c", here], check=True)
    assert read_key(tmp_path / "key").key_id


def test_what_was_noted_of_a_snapshot_goes_with_it(kept: Kept) -> None:
    own = shelf(kept.place)
    for stem in kept.stems:
        note_verified(own, stem, "files")
    note_verified(own, kept.stems[0], "contents")
    kept.prune(dry_run=True)
    assert list(verified(own)) == kept.stems
    kept.prune()
    assert verified(own) == dict.fromkeys(kept.stems[2:], "files")
    # One of a snapshot that somebody verified while it went.
    note_verified(own, kept.stems[0], "files")
    kept.prune()
    assert sorted(verified(own)) == kept.stems[2:]
