"""Every order of the requests of a trim, a prune and a restore; no restore ever breaks.

As `tests/unit/snapshot/model.py`, with the log, the control records and the deletion beside
the repository: the real steps of a trim run, one request at a time.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from streamer.control.messages import (
    FORMAT,
    AssignmentRecord,
    StandbyReport,
    StatusRecord,
    TaskReport,
)
from streamer.errors import StreamerError
from streamer.ids import TopicPartition
from streamer.operations.trim import steps
from streamer.operations.trim.facts import Log, Rules
from streamer.operations.trim.floors import Floor
from streamer.operations.trim.ports import Told
from streamer.operations.trim.request import Asked
from streamer.operations.trim.steps import Cut, HoldSnapshots, ReleaseFormer
from streamer.operations.trim.world import World as TrimWorld
from streamer.snapshot.create import create
from streamer.snapshot.manifest import check_positions
from streamer.snapshot.newest import fetch_newest
from streamer.snapshot.prune import Policy, prune
from streamer.snapshot.repository import Repository
from tests.unit.operations.trim.rig import (
    APPLICATION,
    PLACE,
    SETTINGS,
    TASK,
    TOPIC,
    Application,
    Files,
    Quiet,
    about,
    usual,
)
from tests.unit.snapshot.model import Actor, Model, World, every_snapshot_is_whole
from tests.unit.snapshot.rig import HOUR_MS

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow, pytest.mark.long]

END = 1_000


@dataclass(frozen=True)
class Whole(World):
    """The repository, the log's begin, and what the second worker was given and has told."""

    start: int = 0
    is_given: bool = False
    told: int | None = None

    LOOKS: ClassVar[frozenset[str]] = World.LOOKS | {"start", "control"}

    @staticmethod
    def place(call: str, key: str) -> str:
        known = {"start": "log", "cut": "log", "control": "told", "give": "told", "tell": "told"}
        return known.get(call, key)

    def apply(self, call: str, key: str, content: bytes) -> tuple[World, Any]:
        if call == "give":
            return replace(self, is_given=True), None
        if call == "tell":
            return replace(self, told=int(key)), None
        if call == "start":
            return self, self.start
        if call == "cut":
            return replace(self, start=max(self.start, int(key))), None
        if call == "control":
            return self, (self.is_given, self.told)
        return super().apply(call, key, content)


def ask(place: Repository, call: str, key: str = "") -> Any:
    backend: Any = place.backend
    return backend._ask(call, key)


@dataclass
class Logs:
    place: Repository

    def topics(self) -> dict[str, int]:
        return {TOPIC: 8}

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        return {}

    def topic_settings(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        return {TOPIC: SETTINGS}

    def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {PLACE: ask(self.place, "start")}

    def ends(self, partitions: Iterable[TopicPartition], isolation: Any = "") -> dict[Any, int]:
        return {PLACE: END}

    def delete_before(self, positions: Mapping[TopicPartition, int]) -> None:
        ask(self.place, "cut", str(positions[PLACE]))


@dataclass
class Control:
    place: Repository

    def read(self) -> Told:
        is_given, told = ask(self.place, "control")
        said = partial(StatusRecord, format=FORMAT, number=1, incarnation="s.0")
        given = partial(AssignmentRecord, format=FORMAT, version=1, incarnation="s.0")
        task = str(TASK)
        assignments = {"w1": given(worker="w1", tasks=(task,))}
        active = TaskReport(state="running", durable={"totals": 950})
        statuses = {"w1": said(worker="w1", tasks={task: active})}
        if is_given:
            assignments["w2"] = given(worker="w2", standbys=(task,))
        if told is not None:
            copy = StandbyReport(durable={"totals": told})
            statuses["w2"] = said(worker="w2", standbys={task: copy})
        return Told(assignments, statuses)

    def close(self) -> None:
        return


def trimming(asked: Asked, place: Repository, *, begun: bool = False) -> object:
    """The steps of a plan that was made before anything else began."""
    world = TrimWorld(
        APPLICATION,
        logs=Logs(place),
        control=Control(place),
        repository=place,
        rules=Rules(snapshots_min=len(asked.snapshots[str(TASK)]), percent_max=100),
        wall_ms=lambda: 0,
    )
    every = (HoldSnapshots(asked), Cut(asked), ReleaseFormer(asked))
    for step in every[1:2] if begun else every:
        step.run(world, Quiet())  # type: ignore[arg-type]
    return None


def cutting(asked: Asked, place: Repository) -> object:
    """The same, whose snapshots are held already."""
    return trimming(asked, place, begun=True)


def taking(place: Repository) -> object:
    """A snapshot that nobody has verified."""
    shelf = place.shelf(APPLICATION, TASK)
    return create(place, shelf, Files(a=b"new"), about=about({PLACE: 900}, 0)).manifest.stem


def pruning(place: Repository) -> object:
    shelf = place.shelf(APPLICATION, TASK)
    return prune(place, shelf, Policy(keep_last=1, grace_ms=0), dry_run=False)


def restoring(place: Repository) -> object:
    """A worker with an empty disk: where it began to read, and where the log begins by then."""
    ask(place, "give")
    shelf = place.shelf(APPLICATION, TASK)

    def reaches(manifest: Any) -> None:
        check_positions(manifest, {PLACE: (ask(place, "start"), END)})

    with tempfile.TemporaryDirectory() as staging:
        fetched = fetch_newest(place, shelf, staging=Path(staging), check=reaches)
    [position] = fetched.manifest.changelog
    ask(place, "tell", str(position.position))
    return position.position, ask(place, "start")


def prepared(*, holds: bool = False) -> tuple[World, Asked]:
    """Three snapshots, of which the two newest justify to cut at 500, and may be held for it."""
    application = usual()
    stems = tuple(entry.stem for entry in application.shelf.entries()[1:])
    asked = Asked(cut={str(TASK): {TOPIC: (0, 500)}}, snapshots={str(TASK): stems})
    if holds:
        HoldSnapshots(asked).run(application.world(), Quiet())  # type: ignore[arg-type]
    objects = frozenset((key, raw, at) for key, (raw, at) in application.disk.objects.items())
    return Whole(objects, application.disk.now_ms + 2 * HOUR_MS), asked


def with_garbage() -> tuple[World, Asked]:
    """One snapshot, held by the trim that rests on it, and a content that nobody refers to."""
    application = Application()
    application.snapshot(500)
    application.gives("w1")
    application.says("w1", 950)
    [entry] = application.shelf.entries()
    asked = Asked(cut={str(TASK): {TOPIC: (0, 500)}}, snapshots={str(TASK): (entry.stem,)})
    HoldSnapshots(asked).run(application.world(), Quiet())  # type: ignore[arg-type]
    garbage = application.shelf.object_key(f"{hashlib.sha256(b'x').hexdigest()}-{'f' * 32}")
    application.disk.objects[garbage] = (b"x", application.disk.now_ms)
    objects = frozenset((key, raw, at) for key, (raw, at) in application.disk.objects.items())
    return Whole(objects, application.disk.now_ms + 2 * HOUR_MS), asked


def explored(actors: Mapping[str, Callable[[Repository], object]], world: World) -> set[Any]:
    """All ends of the restore, in all orders."""
    model = Model(world, dict(actors))
    ends = set()

    def check(after: World, ended: dict[str, object]) -> None:
        assert isinstance(after, Whole)
        assert after.start in (0, 500)
        if "restore" in ended:
            ends.add(ended["restore"] if isinstance(ended["restore"], tuple) else "broken")
            assert not isinstance(ended["restore"], StreamerError), ended["restore"]
        for name in ended:
            assert not isinstance(ended[name], StreamerError), (name, ended[name])
        if len(ended) == len(actors):
            every_snapshot_is_whole(after)

    model.explore(check, all_worlds=False)
    assert model.states > 200
    return ends


def test_no_restore_breaks_while_others_trim() -> None:
    world, asked = prepared()
    ends = explored({"trim": partial(trimming, asked), "restore": restoring}, world)
    assert {start for _at, start in ends} == {0, 500}, "both orders were seen"
    assert all(at >= start for at, start in ends)


def test_no_restore_breaks_while_others_trim_and_make_snapshots() -> None:
    world, asked = prepared()
    actors: dict[str, Actor] = {
        "trim": partial(trimming, asked),
        "take": taking,
        "restore": restoring,
    }
    ends = explored(actors, world)
    assert {at for at, _start in ends} == {800, 900}, "the newest, whichever that is"
    assert {start for _at, start in ends} == {0, 500}


def test_no_restore_breaks_while_others_trim_and_prune() -> None:
    world, asked = prepared(holds=True)
    actors: dict[str, Actor] = {
        "trim": partial(cutting, asked),
        "prune": pruning,
        "restore": restoring,
    }
    ends = explored(actors, world)
    assert all(at >= start for at, start in ends)
    assert {start for _at, start in ends} == {0, 500}


@pytest.mark.chaos
def test_no_restore_breaks_while_others_trim_prune_and_make_snapshots() -> None:
    """All four at once: two million states, half a minute."""
    world, asked = with_garbage()
    actors: dict[str, Actor] = {
        "trim": partial(cutting, asked),
        "take": taking,
        "prune": pruning,
        "restore": restoring,
    }
    ends = explored(actors, world)
    assert ends == {(500, 0), (500, 500), (900, 0), (900, 500)}


def test_orders_that_are_left_out_would_have_ended_as_others_do() -> None:
    world, asked = prepared(holds=True)
    actors: dict[str, Actor] = {
        "trim": partial(cutting, asked),
        "take": taking,
        "restore": restoring,
    }
    found: list[set[Any]] = []
    states: list[int] = []
    for all_worlds in (True, False):
        model = Model(world, dict(actors))
        ends: set[Any] = set()

        def check(_world: World, ended: dict[str, object], ends: set[Any] = ends) -> None:
            ends |= {(name, str(end)) for name, end in ended.items()}

        model.explore(check, all_worlds=all_worlds)
        found.append(ends)
        states.append(model.states)
    assert found[0] == found[1]
    assert states[1] < states[0] / 5


def test_what_a_trim_rests_on_is_there_when_others_prune() -> None:
    world, asked = prepared()
    model = Model(world, {"trim": partial(trimming, asked), "prune": pruning})
    outcomes = set()

    def check(after: World, ended: dict[str, object]) -> None:
        assert isinstance(after, Whole)
        there = {key.rpartition("/")[2] for key in after.read("/snapshots/")}
        condemned = {key.rpartition("/")[2] for key in after.read("/condemned/snapshot/")}
        if after.start:
            # Whatever is pruned meanwhile, the log was cut, and those that justify it stay.
            assert set(asked.snapshots[str(TASK)]) <= there
        outcomes.add((after.start, len(there - condemned), "trim" in ended))

    model.explore(check)
    assert model.states > 1_000
    assert {start for start, _count, _ended in outcomes} == {0, 500}
    # A prune that was first keeps one, and the trim then ends without having deleted anything.
    assert (0, 1, True) in outcomes


def test_the_model_sees_what_a_trim_without_floors_would_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, asked = prepared()
    log = Log(0, END, settings=SETTINGS)
    nothing_needed = Floor(PLACE, log, END, ())
    monkeypatch.setattr(steps, "floors_of", lambda *_given: {PLACE: nothing_needed})
    beyond = Asked(cut={str(TASK): {TOPIC: (0, 900)}}, snapshots=asked.snapshots)
    model = Model(world, {"trim": partial(trimming, beyond), "restore": restoring})
    broken = []

    def check(_after: World, ended: dict[str, object]) -> None:
        found = ended.get("restore")
        if isinstance(found, StreamerError):
            broken.append("nothing reaches back")
        elif isinstance(found, tuple) and found[0] < found[1]:
            broken.append("the log begins above it")

    model.explore(check)
    assert set(broken) == {"nothing reaches back", "the log begins above it"}
