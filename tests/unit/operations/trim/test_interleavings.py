"""Snapshots, prunes, restores and trims at the same time, in any order of their requests.

The product's own code runs: what makes, verifies, prunes and fetches snapshots, and the steps of a
trim. A restore is a worker that is given a task on an empty disk: it takes the newest snapshot that
its changelog reaches back to, tells what its disk has, and reads on from there. No restore may find
a record gone that it needs, whatever the others do.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import OperationRefusedError, SnapshotError, StreamerError
from streamer.operations.trim.kind import Trim
from streamer.operations.trim.request import read_request
from streamer.operations.trim.survey import survey
from streamer.snapshot import claims
from streamer.snapshot.create import create
from streamer.snapshot.manifest import check_positions
from streamer.snapshot.newest import fetch_newest
from streamer.snapshot.prune import Policy, prune
from streamer.snapshot.verified import note_verified
from streamer.snapshot.verify import verify
from tests.thorough import thorough
from tests.unit.operations.trim import rig
from tests.unit.operations.trim.rig import PLACE, TASK, Application, Files, Quiet
from tests.unit.operations.turns import Turns

# All orders are explored by tests/unit/operations/trim/test_model.py; these have more steps.
ROUNDS = 400


@dataclass
class Scene:
    """Actors over one application, one request at a time."""

    seed: int
    application: Application = field(default_factory=rig.usual)
    broken: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    turns: Turns = field(default_factory=Turns)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.application.backend.before = lambda _call, _key: self.turns.wait()
        self.application.logs.before = lambda _what: self.turns.wait()
        self.application.control.before = lambda _what: self.turns.wait()

    def processing(self) -> None:
        """The active: the log grows, and its disk with it."""
        for _ in range(4):
            self.turns.wait()
            start, end = self.application.logs.bounds[PLACE]
            self.application.logs.bounds[PLACE] = start, end + 100
            self.turns.wait()
            self.application.says("w1", end + 60)

    def snapshotting(self) -> None:
        application = self.application
        for number in range(2):
            status = application.control.statuses["w1"].tasks[str(TASK)]
            at = status.durable["totals"]
            files = Files(a=f"{at} {number}".encode())
            created = create(
                application.place,
                application.shelf,
                files,
                about=rig.about({PLACE: at}, application.clock.now_ms()),
            )
            stem = created.manifest.stem
            if verify(application.place, application.shelf, stem).is_whole:
                note_verified(application.shelf, stem, "contents")
                self.told.append("snapshot")

    def pruning(self) -> None:
        for _ in range(2):
            policy = Policy(keep_last=1, grace_ms=0)
            done = prune(self.application.place, self.application.shelf, policy, dry_run=False)
            self.told += ["prune"] * bool(done.removed)

    def trimming(self) -> None:
        world = self.application.world()
        for _ in range(2):
            try:
                request = survey(world).request()
                kind = Trim()
                for step in kind.steps(kind.plan(world, request)):
                    if not step.is_done(world):
                        step.run(world, Quiet())  # type: ignore[arg-type]
            except OperationRefusedError:
                self.told.append("refused")
            else:
                self.told.append("trim")

    def restoring(self) -> None:
        """A worker gets a copy on an empty disk."""
        application = self.application
        # Before the trims, between their steps, or after them.
        for _ in range(self.random.randrange(150)):
            self.turns.wait()
        application.gives("w2", role="standby")
        with tempfile.TemporaryDirectory() as staging:

            def reaches(manifest: Any) -> None:
                self.turns.wait()
                check_positions(manifest, application.logs.bounds)

            for _attempt in range(5):
                fetched = fetch_newest(
                    application.place, application.shelf, staging=Path(staging), check=reaches
                )
                try:
                    # Once more before it takes a place: fetching takes its time.
                    reaches(fetched.manifest)
                    break
                except SnapshotError:
                    continue
            else:
                self.broken.append("no snapshot reached back after five attempts")
                return
        [position] = [one.position for one in fetched.manifest.changelog]
        self.turns.wait()
        application.says("w2", position, role="standby")
        while position < 1_100:
            self.turns.wait()
            start, end = application.logs.bounds[PLACE]
            if position < start:
                self.broken.append(f"{position} is to be read, and the log begins at {start}")
                return
            position = min(position + 150, end)
            self.turns.wait()
            application.says("w2", position, role="standby")
            if position == end:
                break
        self.told.append("restore")

    def run(self, actors: list[Callable[[], None]]) -> None:
        def guarded(actor: Callable[[], None]) -> Callable[[], None]:
            def act() -> None:
                try:
                    actor()
                except StreamerError as error:
                    self.broken.append(f"{actor.__name__}: {type(error).__name__}: {error}")

            return act

        choices = [self.random.randrange(len(actors)) for _ in range(2_000)]
        self.turns.run([guarded(one) for one in actors], choices, between=lambda _number: None)

    def check_end(self) -> None:
        """Whatever happened, an empty disk can be restored, from each of two snapshots."""
        application = self.application
        self.application.backend.before = lambda _call, _key: None
        start, _end = application.logs.bounds[PLACE]
        # Also one that was marked when it was held already: it is not deleted while it is held.
        usable = [
            manifest
            for manifest in application.shelf.manifests()
            if manifest.changelog[0].position >= start
        ]
        for manifest in usable:
            verdict = verify(application.place, application.shelf, manifest.stem)
            assert verdict.is_whole, f"seed {self.seed}: {verdict.problems}"
        if "trim" in self.told:
            held = claims.holds(application.shelf)
            kept = [one for one in usable if one.stem in held]
            assert len(kept) >= 2, f"seed {self.seed}: {len(kept)} snapshots justify the trim"


@thorough
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_restore_ever_breaks_in_many_random_orders() -> None:
    told: set[str] = set()
    trimmed = 0
    for seed in range(ROUNDS):
        scene = Scene(seed)
        scene.run(
            [
                scene.processing,
                scene.snapshotting,
                scene.pruning,
                scene.trimming,
                scene.restoring,
            ]
        )
        assert not scene.broken, f"seed {seed}: {scene.broken}"
        scene.check_end()
        told |= set(scene.told)
        trimmed += scene.application.logs.bounds[PLACE][0] > 0
    assert told == {"snapshot", "prune", "trim", "refused", "restore"}
    assert trimmed > ROUNDS // 4


@pytest.mark.slow
def test_the_orders_show_what_a_trim_without_its_second_look_would_break() -> None:
    """A copy on an old disk that begins between the plan and the deletion."""
    broken = 0
    for seed in range(200):
        scene = Scene(seed)

        def lagging(scene: Scene = scene) -> None:
            application = scene.application
            for _ in range(scene.random.randrange(60)):
                scene.turns.wait()
            start, _end = application.logs.bounds[PLACE]
            if start > 250:
                return
            application.gives("w2", role="standby")
            application.says("w2", 250, role="standby")
            for _ in range(100):
                scene.turns.wait()
            start, _end = application.logs.bounds[PLACE]
            if start > 250:
                scene.broken.append("the copy cannot read on")

        def careless(scene: Scene = scene) -> None:
            world = scene.application.world()
            asked = read_request(survey(world).request())
            scene.turns.wait()
            world.logs.delete_before({PLACE: asked.cuts(TASK)[PLACE][1]})

        scene.run([lagging, careless])
        broken += bool([said for said in scene.broken if "read on" in said])
    assert broken
