"""Every order of the backend calls of a snapshot, a prune and a restore; no restore ever breaks.

The real code runs, one backend call at a time. What an actor does next depends on the answers it
has had and on nothing else, so it is run anew from its begin with the answers so far, up to the
next call. A state is what is stored and what each actor has heard; each is looked at once. An actor
that is never run again has been killed, so kills are in it as well.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from streamer.errors import SnapshotError, SnapshotMissingError, StreamerError
from streamer.snapshot import claims
from streamer.snapshot.checkpoint import SourceFile
from streamer.snapshot.claims import Hold, Leased, hold
from streamer.snapshot.create import create
from streamer.snapshot.fetch import fetch
from streamer.snapshot.manifest import decode
from streamer.snapshot.prune import Policy, prune
from streamer.snapshot.remote.api import Backend, Content, Stored
from streamer.snapshot.repository import Repository
from streamer.snapshot.shelf import VOID, Shelf
from tests.unit.snapshot.memory import Disk, MemoryBackend
from tests.unit.snapshot.rig import ABOUT, HOUR_MS, TASK, repository, shelf

# Seconds on a machine that is idle.
pytestmark = pytest.mark.timeout(600)

Answer = Any
Call = tuple[str, str, bytes]
History = tuple[Answer, ...]


class Paused(BaseException):
    """The actor has come to a call whose answer it does not have yet."""

    def __init__(self, call: str, key: str, content: bytes) -> None:
        super().__init__(call, key)
        self.call = (call, key, content)


class ReplayBackend(Backend):
    """Answers from a history; the call behind its end pauses the actor."""

    address = "memory://model"

    def __init__(self, history: History) -> None:
        self._answers = iter(history)
        self._paused: Paused | None = None

    def _ask(self, call: str, key: str, content: bytes = b"") -> Answer:
        if self._paused is not None:
            # On the way out of it something is cleared up; that has not come to pass yet.
            raise self._paused
        try:
            answer = next(self._answers)
        except StopIteration:
            self._paused = Paused(call, key, content)
            raise self._paused from None
        if isinstance(answer, StreamerError):
            raise answer
        return answer

    def put(self, key: str, content: Content, *, size: int) -> bool:
        return bool(self._ask("put", key, b"".join(content())))

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        raw = self._ask("read", key)
        if raw is None:
            raise SnapshotMissingError(f"there is no {key}")
        yield raw[start:] if length is None else raw[start : start + length]

    def stat(self, key: str) -> Stored | None:
        found = self._ask("stat", key)
        assert found is None or isinstance(found, Stored)
        return found

    def list(self, prefix: str) -> Iterator[Stored]:
        return iter(self._ask("list", prefix))

    def delete(self, key: str) -> None:
        self._ask("delete", key)

    def unfinished(self) -> Iterator[Stored]:
        return iter(())

    def discard(self, key: str) -> None:
        return

    def close(self) -> None:
        return


@dataclass(frozen=True)
class World:
    """What is stored, and the repository's time."""

    objects: frozenset[tuple[str, bytes, int]]
    now_ms: int

    def apply(self, call: str, key: str, content: bytes) -> tuple[World, Answer]:
        there = {name: (raw, at) for name, raw, at in self.objects}
        if call == "put":
            if key in there:
                return self, False
            return replace(self, objects=self.objects | {(key, content, self.now_ms)}), True
        if call == "delete":
            kept = frozenset(each for each in self.objects if each[0] != key)
            return replace(self, objects=kept), None
        if call == "read":
            return self, there[key][0] if key in there else None
        if call == "stat":
            return self, Stored(key, len(there[key][0]), there[key][1]) if key in there else None
        if call == "tick":
            return replace(self, now_ms=self.now_ms + HOUR_MS), None
        found = [
            Stored(name, len(raw), at) for name, (raw, at) in there.items() if name.startswith(key)
        ]
        return self, tuple(sorted(found))

    def read(self, part: str) -> dict[str, bytes]:
        return {name: raw for name, raw, _at in self.objects if part in name}


class Files:
    """A source whose files are at hand."""

    def __init__(self, **files: bytes) -> None:
        self._contents = {"CURRENT": b"current", **files}

    def files(self) -> list[SourceFile]:
        return [
            SourceFile(name, len(raw), hashlib.sha256(raw).hexdigest())
            for name, raw in sorted(self._contents.items())
        ]

    def read(self, file: SourceFile) -> Iterator[bytes]:
        yield self._contents[file.name]


Actor = Callable[[Repository], object]


@dataclass(frozen=True)
class Outcome:
    """Where an actor stands: its next call, or how it ended."""

    call: Call | None
    result: object = None


class Model:
    """Explores all orders of some actors, from a world on. Worlds and histories go by numbers, so
    that a state is a handful of them."""

    def __init__(self, start: World, actors: dict[str, Actor]) -> None:
        self._actors = actors
        self._worlds = [start]
        self._world_numbers = {start: 0}
        self._effects: dict[tuple[int, Call], tuple[int, Answer]] = {}
        self._histories: list[History] = [()]
        self._history_numbers: dict[tuple[int, Answer], int] = {}
        self._outcomes: dict[tuple[str, int], Outcome] = {}
        self.states = 0

    def until_delete(self, name: str, part: str) -> tuple[World, str]:
        """Let one actor go on alone: the world before a delete, and what is deleted there."""
        world, history = 0, 0
        while (call := self._outcome(name, history).call) is not None:
            if call[0] == "delete" and part in call[1]:
                return self._worlds[world], call[1]
            world, answer = self._effect(world, call)
            history = self._heard(history, answer)
        raise AssertionError(f"{name} deletes no {part}")

    def explore(self, check: Callable[[World, dict[str, object]], None]) -> None:
        """Call `check` once for each world and the actors that have ended in it."""
        names = tuple(self._actors)
        begin = (0, *(0 for _ in names))
        stack, seen = [begin], {begin}
        checked = set()
        while stack:
            state = stack.pop()
            self.states += 1
            ended = []
            for index, name in enumerate(names, 1):
                outcome = self._outcome(name, state[index])
                if outcome.call is None:
                    ended.append((name, state[index]))
                    continue
                world, answer = self._effect(state[0], outcome.call)
                heard = self._heard(state[index], answer)
                after = (world, *state[1:index], heard, *state[index + 1 :])
                if after not in seen:
                    seen.add(after)
                    stack.append(after)
            what = (state[0], *ended)
            if what not in checked:
                checked.add(what)
                results = {name: self._outcome(name, number).result for name, number in ended}
                check(self._worlds[state[0]], results)

    def _effect(self, world: int, call: Call) -> tuple[int, Answer]:
        if (world, call) not in self._effects:
            after, answer = self._worlds[world].apply(*call)
            number = self._world_numbers.setdefault(after, len(self._worlds))
            if number == len(self._worlds):
                self._worlds.append(after)
            self._effects[world, call] = (number, answer)
        return self._effects[world, call]

    def _heard(self, history: int, answer: Answer) -> int:
        number = self._history_numbers.setdefault((history, answer), len(self._histories))
        if number == len(self._histories):
            self._histories.append((*self._histories[history], answer))
        return number

    def _outcome(self, name: str, history: int) -> Outcome:
        if (name, history) not in self._outcomes:
            self._outcomes[name, history] = self._run(name, self._histories[history])
        return self._outcomes[name, history]

    def _run(self, name: str, history: History) -> Outcome:
        counter = itertools.count(1)
        owner = sum(name.encode())

        def token(_bytes: int) -> str:
            return f"{owner:08x}{next(counter):024x}"

        with patch("secrets.token_hex", token):
            try:
                place = repository(ReplayBackend(history))
                # Whether the place is fit has been tried, as it is for every actor.
                place._is_fit = True
                result = self._actors[name](place)
            except Paused as paused:
                return Outcome(paused.call)
            except StreamerError as error:
                return Outcome(None, error)
        return Outcome(None, result)


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


def every_snapshot_is_whole(world: World) -> None:
    """What can be restored has all its files; what is condemned is restored by nobody."""
    root = f"layout-1/{TASK}/"
    condemned = {key.rpartition("/")[2] for key in world.read("condemned/snapshot/")}
    sizes = {key.rpartition("/")[2]: len(raw) for key, raw in world.read("/objects/").items()}
    whole = 0
    for key, raw in world.read(f"{root}snapshots/").items():
        if raw == VOID or key.rpartition("/")[2] in condemned:
            continue
        manifest = decode(raw, key)
        for name, size in manifest.objects.items():
            assert sizes.get(name) == size, f"{manifest} lacks {name}"
        whole += 1
    assert whole, "no snapshot is left"


@pytest.mark.parametrize("first", [0, 1], ids=["of the old one", "of the new one"])
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


@pytest.mark.parametrize("until", ["/snapshots/", "/objects/", "/condemned/object/"])
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
