"""The steps of a trim: hold the snapshots, cut the logs, let the former trim's snapshots go.

The snapshots that justify the cut are held before anything is deleted, so that no prune removes
them meanwhile. The floors are looked at once more right before each deletion: where somebody needs
more by then, less goes or nothing, and the note of that log says for whom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamer import failpoints
from streamer.control.identity import somebody
from streamer.errors import KafkaUnavailableError
from streamer.ids import TaskId, TopicPartition
from streamer.operations.kinds import Step
from streamer.operations.trim.floors import Floor, floors_of
from streamer.operations.trim.notes import TrimNote, forget_older, noted, older, write_note
from streamer.operations.trim.request import Asked
from streamer.operations.trim.shelves import HOLD_PREFIX
from streamer.operations.trim.world import World
from streamer.operations.work import Work
from streamer.snapshot import claims
from streamer.snapshot.claims import Hold
from streamer.snapshot.shelf import Shelf

if TYPE_CHECKING:
    from streamer.control.plans import PlannedStep

__all__ = ["CUT", "HOLD", "RELEASE", "Cut", "HoldSnapshots", "ReleaseFormer", "TrimStep", "made"]

HOLD, CUT, RELEASE = "hold-snapshots", "delete-records", "release-former"


@dataclass(frozen=True)
class TrimStep:
    """What all steps have: the request that the plan was made of."""

    asked: Asked

    def shelf(self, world: World, task: TaskId) -> Shelf:
        return world.shelf(task)


class HoldSnapshots(TrimStep):
    id = HOLD

    def is_done(self, world: World) -> bool:
        return all(self._is_held(world, task) for task in self.asked.tasks)

    def run(self, world: World, work: Work) -> str:
        tasks, count = self.asked.tasks, 0
        for number, task in enumerate(tasks):
            work.progress(phase=f"hold snapshots of {task}", number=number, of=len(tasks))
            shelf = self.shelf(world, task)
            for stem in self.asked.snapshots[str(task)]:
                about = Hold(
                    self.asked.mark,
                    f"the changelogs of {task} are trimmed up to it, by operation"
                    f" {work.operation}; the next trim replaces this hold",
                    somebody(),
                    world.wall_ms(),
                )
                claims.hold(shelf, stem, about)
                failpoints.hit("trim.after_hold")
                count += 1
        return f"{count} snapshots are held as {self.asked.mark}"

    def undo(self, world: World, work: Work) -> str:
        for task in self.asked.tasks:
            work.check()
            for stem in self.asked.snapshots[str(task)]:
                claims.release(self.shelf(world, task), stem, self.asked.mark)
        return f"the holds {self.asked.mark} are released"

    def _is_held(self, world: World, task: TaskId) -> bool:
        held = claims.holds(self.shelf(world, task))
        stems = self.asked.snapshots[str(task)]
        return all(any(one.name == self.asked.mark for one in held.get(stem, ())) for stem in stems)


class Cut(TrimStep):
    """Done when every log of the plan has its note."""

    id = CUT

    def is_done(self, world: World) -> bool:
        return all(not self._left(world, task) for task in self.asked.tasks)

    def run(self, world: World, work: Work) -> str:
        tasks = self.asked.tasks
        total, done, held = self.asked.records, 0, []
        for task in tasks:
            left = self._left(world, task)
            cuts = self.asked.cuts(task)
            done += sum(to - start for place, (start, to) in cuts.items() if place not in left)
            if left:
                # It calls `check`, as does what follows right before the deletion.
                work.progress(phase=f"look at {task}", records_done=done, records_total=total)
                held += self._cut(world, work, task, places=left)
                done += sum(cuts[place][1] - cuts[place][0] for place in left)
        work.progress(phase="read back", records_done=done, records_total=total)
        said = f"{self.asked.partitions - len(held)} of {self.asked.partitions} logs are cut"
        return said if not held else f"{said} as planned; {'; '.join(held)}"

    def undo(self, world: World, work: Work) -> str:
        return "what was deleted stays deleted"

    def _left(self, world: World, task: TaskId) -> set[TopicPartition]:
        places = self.asked.cuts(task)
        return set(places) - noted(self.shelf(world, task), self.asked.mark, places)

    def _cut(
        self, world: World, work: Work, task: TaskId, *, places: set[TopicPartition]
    ) -> list[str]:
        """Cut one task's logs as far as nobody needs them; who holds back the rest."""
        asked = {place: to for place, (_start, to) in self.asked.cuts(task).items()}
        floors = floors_of(task, world.look([task]), world.rules)
        reach: dict[TopicPartition, int] = {}
        for place in sorted(places):
            floor = floors.get(place)
            # A topic that is gone has nothing to be cut.
            to = asked[place] if floor is None else min(asked[place], floor.position)
            if floor is not None and to > floor.log.start:
                reach[place] = to
        failpoints.hit("trim.before_delete")
        # Not a moment earlier: a process that slept since it looked finds out here.
        work.check()
        if reach:
            world.logs.delete_before(reach)
        failpoints.hit("trim.after_delete")
        starts = world.logs.starts(sorted(floors.keys() & places))
        for place, to in reach.items():
            if starts[place] < to:
                raise KafkaUnavailableError(
                    f"{place} was to begin at {to}, and begins at {starts[place]}",
                    hint="its leader may have changed: go on with it in a moment",
                )
        said = []
        for place in sorted(places):
            note = self._note(
                place,
                floors.get(place),
                work,
                reached=starts.get(place, 0),
                at_ms=world.wall_ms(),
            )
            write_note(self.shelf(world, task), self.asked.mark, note)
            failpoints.hit("trim.after_note")
            if note.left:
                said.append(f"{place} begins at {note.reached}: {note.left}")
        return said

    def _note(
        self,
        place: TopicPartition,
        floor: Floor | None,
        work: Work,
        *,
        reached: int,
        at_ms: int,
    ) -> TrimNote:
        began, to = self.asked.cuts_of(place)
        left = ""
        if floor is None:
            left = "the topic is gone"
        elif floor.position < to:
            left = f"{floor.limit.owner} holds it at {floor.limit.position}: {floor.limit.reason}"
        holders = floor.holders if floor is not None else ()
        return TrimNote(
            topic=place.topic,
            partition=place.partition,
            began=began,
            asked=to,
            reached=reached,
            left=left,
            snapshots={stem: floor.standing[stem] for stem in floor.snapshots} if floor else {},
            disks={one.owner: one.position for one in holders if one.kind == "copy"},
            operation=work.operation,
            by=somebody(),
            at_ms=at_ms,
        )


class ReleaseFormer(TrimStep):
    """The new snapshots are held, and whatever the log has now can be restored from them."""

    id = RELEASE

    def is_done(self, world: World) -> bool:
        return all(
            not self._former(world, task)
            and not older(self.shelf(world, task), self.asked.mark, self.asked.cuts(task))
            for task in self.asked.tasks
        )

    def run(self, world: World, work: Work) -> str:
        count = 0
        for task in self.asked.tasks:
            work.check()
            for stem, name in self._former(world, task):
                claims.release(self.shelf(world, task), stem, name)
                failpoints.hit("trim.after_release")
                count += 1
            forget_older(self.shelf(world, task), self.asked.mark, self.asked.cuts(task))
        return f"{count} holds of earlier trims are released"

    def undo(self, world: World, work: Work) -> str:
        return "the holds of earlier trims stay released: the new ones stand"

    def _former(self, world: World, task: TaskId) -> list[tuple[str, str]]:
        return [
            (stem, one.name)
            for stem, held in sorted(claims.holds(self.shelf(world, task)).items())
            for one in held
            if one.name.startswith(HOLD_PREFIX) and one.name != self.asked.mark
        ]


def made(steps: Sequence[PlannedStep], asked: Asked) -> list[Step[World]]:
    """The steps of a plan."""
    kinds: dict[str, Any] = {HOLD: HoldSnapshots, CUT: Cut, RELEASE: ReleaseFormer}
    return [kinds[step.id](asked) for step in steps]
