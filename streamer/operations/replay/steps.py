"""The steps of a replay: those of a repartition, and what its state comes from.

record    layout 1, where none is recorded
base      the state of snapshots for who reads again, where it does not begin with the begin
replay    wait until the replaying application is near to the live one
topics    those of the next layout
copy      feeds copy what it has computed
shadow    workers keep copies of the next layout's tasks
prove     the next changelogs are read back and compared with what was fed
switch    pause, until it is where the live one stopped; drain, prove, record
settle    wait until the next layout runs; take away what only the operation needed
forget    delete the topics and groups of the replaying application
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from streamer import failpoints
from streamer.control.operations import OperationRecord
from streamer.errors import OperationRefusedError
from streamer.ids import TopicPartition
from streamer.kafka.api import Committed
from streamer.operations.kinds import Step
from streamer.operations.repartition.beside import BEHIND_MAX, behind, who_is_missing
from streamer.operations.repartition.own_topics import own_places
from streamer.operations.repartition.ports import World
from streamer.operations.repartition.request import Asked
from streamer.operations.repartition.steps import (
    CopyChangelogs,
    KeepShadows,
    LayoutStep,
    MakeTopics,
    Prove,
    Record,
    Settle,
    Switch,
)
from streamer.operations.replay.sowing import is_sown, sow
from streamer.operations.work import Work

__all__ = ["BASE", "FORGET", "REPLAY", "STEPS", "is_over", "made", "may_read"]

BASE, REPLAY, FORGET = "base", "replay", "forget"
STEPS = (
    Record.id,
    BASE,
    REPLAY,
    MakeTopics.id,
    CopyChangelogs.id,
    KeepShadows.id,
    Prove.id,
    Switch.id,
    Settle.id,
    FORGET,
)


def is_over(record: OperationRecord) -> bool:
    """Whether nobody needs who reads again any more: its workers end then."""
    if record.is_finished or record.state == "cancelling":
        return True
    return any(one.id == Switch.id and one.state == "done" for one in record.steps)


def may_read(record: OperationRecord) -> bool:
    """Whether there is all that who reads again begins with."""
    return any(one.id == BASE and one.state == "done" for one in record.steps)


class Sow(LayoutStep):
    id = BASE

    def is_done(self, world: World) -> bool:
        return self.is_switched(world) or is_sown(world, self.asked)

    def run(self, world: World, work: Work) -> str:
        if any(each.startswith(f"{self.asked.origin}.") for each in left(world, self.asked)):
            raise OperationRefusedError(
                f"{self.asked.origin} has had workers, and its positions are gone: what it has"
                " computed cannot be gone on from",
                hint="brokers forget positions after offsets.retention.minutes: cancel the replay,"
                " and plan it anew",
            )
        rows = sow(world, self.asked, work)
        if not self.asked.base:
            return "it begins with the begin of its input"
        return f"{rows:,} rows of {len(self.asked.base)} snapshots are there"

    def undo(self, world: World, work: Work) -> str:
        self.check_way_back(world)
        if not _is_there(world, self.asked):
            return f"nothing is left of {self.asked.origin}"
        return forget(world, self.asked, work)


class Follow(LayoutStep):
    """Whoever goes on with it looks once more: near is what it finds then."""

    id = REPLAY
    has_come = False

    def is_done(self, world: World) -> bool:
        return self.is_switched(world) or self.has_come

    def run(self, world: World, work: Work) -> str:
        live, most = world.ports.known(self.asked.application, self.asked.input_places), 0
        while not self._is_near(world, live):
            left = behind(world, self.asked)
            most = max(most, left)
            work.progress(
                phase="read the input again",
                records_done=most - max(left, 0),
                records_total=most,
                held_by=who_is_missing(world, self.asked),
            )
            world.wait()
        self.has_come = True
        left = behind(world, self.asked)
        return f"the input was read again; {left:,} offsets are left, and its workers go on"

    def undo(self, world: World, work: Work) -> str:
        self.check_way_back(world)
        return forget(world, self.asked, work)

    def _is_near(self, world: World, live: Mapping[TopicPartition, Committed]) -> bool:
        """Whether it has come to where the live one was at the begin of this, and is not far from
        where that is by now."""
        own = world.ports.known(self.asked.origin, list(live))
        if any(place not in own or own[place].position < at.position for place, at in live.items()):
            return False
        is_close = 0 <= behind(world, self.asked) <= BEHIND_MAX
        return is_close and not who_is_missing(world, self.asked)


class Forget(LayoutStep):
    id = FORGET

    def is_done(self, world: World) -> bool:
        return self.is_switched(world) and not _is_there(world, self.asked)

    def run(self, world: World, work: Work) -> str:
        return forget(world, self.asked, work)

    def undo(self, world: World, work: Work) -> str:
        self.check_way_back(world)
        return "nothing was to be forgotten"


def _is_there(world: World, asked: Asked) -> bool:
    """Whether it has left anything."""
    return bool(left(world, asked) or world.ports.known(asked.origin, asked.input_places))


def left(world: World, asked: Asked) -> list[str]:
    """The topics of the replaying application that are there: by the names that it has made, and
    those by which its workers find each other."""
    return left_of(world.topics.topics(), asked)


def left_of(there: Iterable[str], asked: Asked) -> list[str]:
    """Those among all topics."""
    assert asked.source is not None
    names = {store.source for plan in asked.feeds for store in plan.stores}
    names |= {place.topic for place in own_places(asked.source)}
    return sorted(t for t in there if t in names or t.startswith(f"{asked.origin}."))


def forget(world: World, asked: Asked, work: Work) -> str:
    """Delete what it has made, once its workers have heard that it is over: one that still ran
    would make its topics anew."""
    while workers := sorted(world.others(asked.origin)):
        work.progress(held_by=f"worker {workers[0]}, which reads the input again and is to end")
        world.wait()
    topics = left(world, asked)
    work.check()
    # Nobody may commit what it begins with after this.
    world.topics.forget([asked.origin])
    world.topics.delete(topics)
    failpoints.hit("replay.after_delete")
    world.topics.forget([asked.origin])
    return f"{len(topics)} topics of {asked.origin} are deleted"


def made(asked: Asked) -> Sequence[Step[World]]:
    """The steps of a request, in their order."""
    return [
        Record(asked),
        Sow(asked),
        Follow(asked),
        MakeTopics(asked),
        CopyChangelogs(asked),
        KeepShadows(asked),
        Prove(asked),
        Switch(asked),
        Settle(asked),
        Forget(asked),
    ]
