"""`streamer snapshot` over a repository in a directory, with snapshots of real databases."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from streamer.changelog.format import Positions
from streamer.cli.main import main
from streamer.config import Config
from streamer.ids import TaskId
from streamer.snapshot.checkpoint import Checkpoint
from streamer.snapshot.cipher import read_key
from streamer.snapshot.create import About, create
from streamer.snapshot.manifest import Manifest, Position
from streamer.snapshot.opening import open_repository
from streamer.snapshot.remote.directory import PARTIAL
from streamer.snapshot.repository import Repository
from streamer.snapshot.verified import verified
from streamer.store.pool import MemoryPool
from streamer.store.rocks import TaskDatabase
from streamer.topology.stores import Store


class Desk:
    """A repository with snapshots of tasks, and the command line beside it."""

    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = tmp_path
        self.address = f"file://{tmp_path / 'repository'}"
        self.place: Repository = open_repository(
            Config(application_id="spend", snapshot_repository=self.address)
        )
        self._capsys = capsys
        self._count = 0

    def make(self, task: str, *, rows: int = 50) -> Manifest:
        self._count += 1
        where = self.directory / f"{task}-{self._count}"
        number = TaskId.parse(task).partition
        database = TaskDatabase.open(
            where,
            [Store("totals", str, int).spec()],
            pool=MemoryPool(8 << 20, 8 << 20),
            options={},
        )
        changes = [(f"{self._count}-{key:05d}".encode(), b"x" * 80) for key in range(rows)]
        stored = Positions(changelogs={"totals": 10 * self._count}, inputs={})
        database.write({"totals": changes}, stored.encode())
        checkpoint = where.with_name(f"{where.name}-checkpoint")
        database.checkpoint(checkpoint)
        database.close()
        about = About(
            created_ms=1_700_000_000_000 + self._count,
            created_by="w1",
            stores={"totals": "key_value"},
            changelog=(Position("spend-totals-changelog", number, 10 * self._count),),
            input=(),
            operation="snapshot-1",
        )
        shelf = self.place.shelf("spend", TaskId.parse(task))
        return create(self.place, shelf, Checkpoint(checkpoint), about=about).manifest

    def call(self, *arguments: str, code: int = 0) -> str:
        where = ("--app", "spend", "--set", f"snapshot_repository={self.address}")
        assert main(["snapshot", *arguments, *where]) == code, self._capsys.readouterr()
        return self._capsys.readouterr().out

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.call(*arguments, "--json", code=code))

    def notes(self, manifest: Manifest) -> dict[str, str]:
        shelf = self.place.shelf("spend", TaskId.parse(manifest.task))
        return dict(verified(shelf))

    def damage(self, manifest: Manifest) -> None:
        """Flip a byte of the largest file."""
        file = max(manifest.files, key=lambda each: each.size)
        shelf = self.place.shelf("spend", TaskId.parse(manifest.task))
        path = self.directory / "repository" / shelf.object_key(file.object)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.chmod(0o600)
        path.write_bytes(content)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    made = Desk(tmp_path, capsys)
    yield made
    made.place.close()


def test_a_repository_without_snapshots_shows_none(desk: Desk) -> None:
    assert desk.call("list") == "none\n"
    assert desk.json("list") == []
    desk.call("show", "abc", code=3)


@pytest.mark.slow
def test_snapshots_are_listed_with_what_is_known_of_them(desk: Desk) -> None:
    first, second = desk.make("0_1"), desk.make("0_2")
    desk.json("verify", first.id[:8], "--level", "files")
    desk.json("hold", first.id, "--name", "audit", "--reason", "the year's end")
    rows = desk.json("list")
    assert [row["id"] for row in rows] == [first.id, second.id]
    assert (rows[0]["verified"], rows[0]["held"]) == ("files", ["audit"])
    assert (rows[1]["verified"], rows[1]["operation"]) == ("", "snapshot-1")
    assert rows[0]["bytes"] == first.size
    head, one, _two = desk.call("list").splitlines()
    assert head.split() == ["id", "task", "created", "by", "size", "files", "verified", "held"]
    assert one.split()[:2] == [first.id[:12], "0_1"]
    assert [row["task"] for row in desk.json("list", "--task", "0_2")] == ["0_2"]
    desk.call("list", "--task", "0_7", code=3)
    desk.call("list", "--task", "seven", code=2)


def test_one_that_cannot_be_read_is_listed_as_damaged(desk: Desk) -> None:
    made = desk.make("0_1")
    shelf = desk.place.shelf("spend", TaskId(0, 1))
    path = desk.directory / "repository" / shelf.snapshot_key(made.stem)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-9])
    [row] = desk.json("list")
    assert (row["state"], row["id"]) == ("damaged", made.id)
    assert "damaged" in desk.call("list")
    [found] = desk.json("verify", code=1)
    assert "its end is missing" in found["problems"]["snapshot"]


def test_one_is_shown_with_positions_files_and_holds(desk: Desk) -> None:
    made = desk.make("0_1")
    desk.call("hold", made.id, "--reason", "look at it")
    shown = desk.json("show", made.id[:6])
    assert shown["changelog"][0]["position"] == 10
    assert [each["name"] for each in shown["files"]] == [each.name for each in made.files]
    assert shown["held"][0]["reason"] == "look at it"
    text = desk.call("show", made.id[:6])
    for line in (
        f"snapshot {made.id} of spend 0_1, layout 1",
        "by w1, asked for by snapshot-1",
        "changelog spend-totals-changelog/1 at 10",
        "look at it",
        "CURRENT",
    ):
        assert line in text


@pytest.mark.slow
@pytest.mark.parametrize("level", ["files", "contents", "restored"])
def test_what_is_whole_is_noted(desk: Desk, level: str) -> None:
    desk.make("0_1")
    newest = desk.make("0_1", rows=70)
    [found] = desk.json("verify", "--level", level)
    assert (found["id"], found["whole"], found["level"]) == (newest.id, True, level)
    assert found["rows"] == ({"totals": 70} if level == "restored" else {})
    assert desk.notes(newest) == {newest.stem: level}


@pytest.mark.slow
@pytest.mark.parametrize("level", ["contents", "restored"])
def test_what_is_damaged_takes_its_notes_back(desk: Desk, level: str) -> None:
    made, other = desk.make("0_1"), desk.make("0_2")
    desk.json("verify", "--level", "restored")
    assert desk.notes(made) == {made.stem: "restored"}
    desk.damage(made)
    found = {row["task"]: row for row in desk.json("verify", "--level", level, code=1)}
    assert not found["0_1"]["whole"]
    assert found["0_1"]["problems"]
    assert desk.notes(made) == {}
    assert desk.notes(other) == {other.stem: "restored"}
    assert "0_1" in desk.call("verify", code=1)


@pytest.mark.slow
def test_a_prune_shows_first_and_removes_with_apply(desk: Desk) -> None:
    made = [desk.make("0_1") for _ in range(4)]
    desk.json("hold", made[0].id, "--reason", "the first one")
    desk.json("verify", made[1].id[:9], "--level", "files")
    [shown] = desk.json("prune", "--keep", "2")
    assert (shown["applied"], shown["removed"]) == (False, [made[1].stem])
    assert len(desk.json("list")) == 4
    assert "--apply does it" in desk.call("prune", "--keep", "2")
    [kept] = desk.json("prune", "--keep", "1", "--keep-for", "2h")
    assert kept["removed"] == []
    [done] = desk.json("prune", "--keep", "2", "--apply")
    assert (done["applied"], done["removed"]) == (True, [made[1].stem])
    assert desk.notes(made[1]) == {}, "its note goes with it"
    left = [row["id"] for row in desk.json("list")]
    assert left == [made[0].id, made[2].id, made[3].id]

    desk.call("release", made[0].id)
    [done] = desk.json("prune", "--keep", "2", "--apply")
    assert done["removed"] == [made[0].stem]
    desk.call("hold", made[0].id, "--reason", "too late", code=3)
    desk.call("prune", "--keep-for", "soon", code=2)


def test_a_prune_leaves_those_that_a_trim_may_rest_on(desk: Desk) -> None:
    made = [desk.make("0_1") for _ in range(3)]
    desk.json("verify", made[0].id[:9])
    [done] = desk.json("prune", "--keep", "1", "--apply")
    assert done["removed"] == [made[1].stem]


def test_a_sweep_shows_first_and_removes_what_is_ours_and_old(desk: Desk) -> None:
    made = desk.make("0_1")
    place = desk.directory / "repository"
    old, fresh, foreign = place / PARTIAL / "old", place / PARTIAL / "fresh", place / "notes.txt"
    old.parent.mkdir(exist_ok=True)
    for path in (old, fresh, foreign):
        path.write_bytes(b"123")
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))

    assert desk.json("sweep") == {
        "applied": False,
        "removed": 0,
        "found": [
            {
                "what": "unfinished",
                "key": "old",
                "bytes": 3,
                "since_ms": pytest.approx(two_days_ago * 1000, abs=2),
            },
            {"what": "foreign", "key": "notes.txt", "bytes": 3, "since_ms": ANY},
        ],
    }
    assert "--apply removes" in desk.call("sweep")
    assert old.exists()
    assert "1 are removed" in desk.call("sweep", "--apply")
    assert not old.exists()
    assert fresh.exists(), "it may be on its way"
    assert foreign.exists(), "it is somebody else's"
    [found] = desk.json("verify")
    assert (found["id"], found["whole"]) == (made.id, True)


@pytest.mark.slow
def test_a_copy_goes_to_a_repository_with_a_key_of_its_own(desk: Desk) -> None:
    first, second = desk.make("0_1"), desk.make("0_2")
    key = desk.directory / "other.key"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    settings = desk.directory / "other.toml"
    settings.write_text(f'snapshot_key_file = "{key}"\n')
    target = f"file://{desk.directory / 'second'}"
    where = ("copy", "--to", target, "--to-config", str(settings))
    rows = desk.json(*where)
    assert [row["origin"] for row in rows] == [first.id, second.id]
    assert all(row["sent_bytes"] > 0 for row in rows)
    again = desk.json("copy", first.id[:10], *where[1:])
    assert [row["sent_bytes"] for row in again] == [0], "it is there already"
    config = Config(application_id="spend", snapshot_key_file=key)
    with open_repository(config, target) as place:
        assert place.cipher.key_id == read_key(key).key_id
        [copied] = place.shelf("spend", TaskId(0, 1)).manifests()
    assert (copied.origin, copied.size) == (first.id, first.size)
    assert "0_1" in desk.call(*where)
    desk.call("copy", "--to", desk.address, code=2)


def test_a_copy_of_a_damaged_one_is_refused_and_the_others_are_copied(desk: Desk) -> None:
    made, other = desk.make("0_1"), desk.make("0_2")
    desk.damage(made)
    target = f"file://{desk.directory / 'second'}"
    rows = {row["task"]: row for row in desk.json("copy", "--to", target, code=1)}
    assert rows["0_1"]["problem"]
    assert rows["0_2"]["problem"] == ""
    found = desk.json("list", "--repository", target)
    assert [row["origin"] for row in found] == [other.id]


def test_a_store_needs_the_application_itself(desk: Desk) -> None:
    desk.call("create", "--store", "totals", code=2)
    desk.call("create", "--repository", "ftp://nowhere", code=2)


def test_a_wrong_address_of_the_command_line_is_not_laid_to_a_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("list", "--app", "spend", "--set", "snapshot_repository=file:///srv/x")
    assert main(["snapshot", *arguments, "--repository", "foo://x"]) == 2
    assert "streamer: repository: 'foo://x' is not the address" in capsys.readouterr().err


def test_without_a_repository_it_is_said_what_to_set(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["snapshot", "list", "--app", "spend"]) == 2
    assert "snapshot_repository is not set" in capsys.readouterr().err
