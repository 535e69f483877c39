"""Every order of the backend calls of a snapshot, a prune and a restore; no restore ever breaks."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from streamer.errors import SnapshotError, SnapshotMissingError, StreamerError
from streamer.snapshot import claims
from streamer.snapshot.checkpoint import SourceFile
from streamer.snapshot.claims import Hold, Leased, hold
from streamer.snapshot.create import create
from streamer.snapshot.fetch import fetch
from streamer.snapshot.prune import Policy, prune
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import Shelf
from streamer.snapshot.transfer import Report
from tests.thorough import thorough_but
from tests.unit.snapshot.memory import Disk, MemoryBackend
from tests.unit.snapshot.model import (
    Actor,
    Model,
    ReplayBackend,
    World,
    every_snapshot_is_whole,
)
from tests.unit.snapshot.rig import ABOUT, HOUR_MS, repository, shelf

# Seconds on a machine that is idle.
pytestmark = [pytest.mark.timeout(600), pytest.mark.slow, pytest.mark.long]


class Files:
    """A source whose files are at hand."""

    def __init__(self, **files: bytes) -> None:
        self._contents = {"CURRENT": b"current", **files}

    def files(self, report: Report | None = None) -> list[SourceFile]:
        return [
            SourceFile(name, len(raw), hashlib.sha256(raw).hexdigest())
            for name, raw in sorted(self._contents.items())
        ]

    def read(self, file: SourceFile) -> Iterator[bytes]:
        yield self._contents[file.name]


def prepared(*, ages_ms: int = 2 * HOUR_MS) -> World:
    """A world with two snapshots, and a content that nobody refers to."""
    disk = Disk()
    place = repository(MemoryBackend(disk))
    create(place, shelf(place), Files(a=b"aaa"), about=ABOUT)
    create(place, shelf(place), Files(b=b"bbbb"), about=ABOUT)
    disk.objects[shelf(place).object_key(object_name(b"ccccc", "f" * 32))] = (b"ccccc", disk.now_ms)
    objects = frozenset((key, raw, at) for key, (raw, at) in disk.objects.items())
    return World(objects, disk.now_ms + ages_ms)


def object_name(raw: bytes, owner: str) -> str:
    return f"{hashlib.sha256(raw).hexdigest()}-{owner}"


def taking(place: Repository) -> object:
    """A snapshot of contents that only an old snapshot has, or nobody refers to."""
    return create(place, shelf(place), Files(a=b"aaa", c=b"ccccc"), about=ABOUT).manifest


def pruning(place: Repository) -> object:
    return prune(place, shelf(place), Policy(keep_last=1, grace_ms=0), dry_run=False)


def restoring(number: int) -> Actor:
    def restore(place: Repository) -> object:
        """Of one snapshot, and if that is gone meanwhile of the newest one."""
        with tempfile.TemporaryDirectory() as staging:
            for attempt in range(3):
                entries = shelf(place).entries()
                entry = entries[min(number, len(entries) - 1) if attempt == 0 else -1]
                try:
                    fetched = fetch(place, shelf(place), entry.stem, staging=Path(staging))
                except SnapshotMissingError:
                    continue
                return fetched.manifest.stem
        raise SnapshotError("no snapshot was left")

    return restore


def restoring_once(place: Repository) -> object:
    """Of the snapshot that is to be pruned."""
    with tempfile.TemporaryDirectory() as staging:
        entry = shelf(place).entries()[0]
        return fetch(place, shelf(place), entry.stem, staging=Path(staging)).manifest.stem


def holding(place: Repository) -> object:
    entry = shelf(place).entries()[0]
    hold(shelf(place), entry.stem, Hold("trim", "a trim rests on it", "me", 0))
    return entry.stem


def waiting(place: Repository) -> object:
    """An hour goes by, in which nobody shows a sign of life."""
    assert isinstance(place.backend, ReplayBackend)
    place.backend._ask("tick", "")
    return None


@pytest.mark.parametrize(
    "first", thorough_but([1], [0, 1]), ids=["of the old one", "of the new one"]
)
def test_no_restore_breaks_while_others_snapshot_and_prune(first: int) -> None:
    model = Model(prepared(), {"take": taking, "prune": pruning, "restore": restoring(first)})
    outcomes: set[str] = set()

    def check(world: World, ended: dict[str, object]) -> None:
        every_snapshot_is_whole(world)
        if "restore" in ended:
            assert isinstance(ended["restore"], str), ended["restore"]
            outcomes.add(ended["restore"][:10])
        if "take" in ended:
            assert not isinstance(ended["take"], StreamerError), ended["take"]

    model.explore(check)

    assert model.states > 1_000
    assert len(outcomes) >= 2, "both orders of restore and prune were seen"


@pytest.mark.parametrize(
    "until",
    thorough_but(["/objects/"], ["/snapshots/", "/objects/", "/condemned/object/"]),
)
def test_a_prune_that_wakes_late_deletes_nothing_that_a_snapshot_needs(until: str) -> None:
    """It fell asleep before a delete, which comes at any time while others are at work."""
    world, key = Model(prepared(), {"sleeper": pruning}).until_delete("sleeper", until)

    def deleting(place: Repository) -> object:
        place.backend.delete(key)
        return None

    model = Model(world, {"late": deleting, "take": taking, "prune": pruning})
    model.explore(lambda world, ended: every_snapshot_is_whole(world))
    assert model.states > 1_000


def test_a_snapshot_that_was_given_up_is_never_committed() -> None:
    """Silent for too long, its files may go: then it must not become a snapshot."""
    model = Model(prepared(), {"take": taking, "wait": waiting, "prune": pruning})
    results = set()

    def check(world: World, ended: dict[str, object]) -> None:
        every_snapshot_is_whole(world)
        if "take" in ended:
            results.add(type(ended["take"]).__name__)

    model.explore(check)

    assert results == {"Manifest", "SnapshotError", "SnapshotMissingError"}


def test_a_restore_that_was_silent_for_too_long_says_so_or_succeeds() -> None:
    model = Model(prepared(), {"restore": restoring(0), "wait": waiting, "prune": pruning})

    def check(world: World, ended: dict[str, object]) -> None:
        every_snapshot_is_whole(world)
        assert isinstance(ended.get("restore", ""), str), ended["restore"]

    model.explore(check)


def test_what_is_held_stays() -> None:
    model = Model(prepared(), {"hold": holding, "prune": pruning})
    results = set()

    def check(world: World, ended: dict[str, object]) -> None:
        every_snapshot_is_whole(world)
        held = ended.get("hold")
        results.add(type(held).__name__)
        if isinstance(held, str):
            assert world.read(f"snapshots/{held}"), "it was held and is gone"

    model.explore(check)

    assert results == {"NoneType", "str", "OperationRefusedError"}


def _no_distrust(_making: object) -> None:
    return


def _careless_lease(shelf: Shelf, stem: str, **_options: object) -> Leased:
    return claims.lease(shelf, stem, beat_ms=0, even_condemned=True)


def _no_leases(*_arguments: object) -> dict[str, str]:
    return {}


@pytest.mark.parametrize(
    ("target", "wrong", "actors"),
    [
        ("streamer.snapshot.create._Making.distrust", _no_distrust, ("take", "prune")),
        ("streamer.snapshot.fetch.lease", _careless_lease, ("restore", "prune")),
        ("streamer.snapshot.claims.leased", _no_leases, ("restore", "prune")),
    ],
)
def test_the_model_sees_what_a_rule_left_out_would_do(
    target: str, wrong: object, actors: tuple[str, str]
) -> None:
    known: dict[str, Actor] = {"take": taking, "prune": pruning, "restore": restoring_once}
    model = Model(prepared(), {name: known[name] for name in actors})
    broken = []

    def check(world: World, ended: dict[str, object]) -> None:
        try:
            every_snapshot_is_whole(world)
        except AssertionError as error:
            broken.append(str(error))
        if isinstance(ended.get("restore"), StreamerError):
            broken.append(str(ended["restore"]))

    with patch(target, wrong):
        model.explore(check)

    assert [said for said in broken if "lacks" in said]
