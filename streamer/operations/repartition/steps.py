"""The steps of a repartition, made of its request alone.

    record    layout 1, where none is recorded
    topics    those of the next layout
    copy      feeds copy the changelogs of all moved tasks
    shadow    workers keep copies of the next layout's tasks
    prove     the next changelogs are read back and compared
    switch    pause, drain, prove, record: after it there is no way back. Then topics are grown
    settle    wait until the next layout runs; take away what only the operation needed

Each is done, too, once the switch is. An undo that finds the switch made says so, and the operation
is finished: a process that was given up may have made it a moment before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamer import failpoints
from streamer.changelog.topics import changelog_settings, changelog_spec, repartition_spec
from streamer.config import Config
from streamer.errors import InternalTopicError
from streamer.feed.proof import WHILE_FED
from streamer.kafka.admin import TopicSpec
from streamer.operations.kinds import Step
from streamer.operations.repartition.copies import not_running, ordered
from streamer.operations.repartition.feeding import (
    LAG_MAX,
    feed_groups,
    has_begun,
    lags,
    unfed,
)
from streamer.operations.repartition.keeping import (
    are_kept,
    keep_shadows,
    withdraw_shadows,
)
from streamer.operations.repartition.ports import World
from streamer.operations.repartition.proofs import cut_group, is_noted
from streamer.operations.repartition.request import Asked
from streamer.operations.repartition.switching import (
    Switching,
    grow,
    is_switched,
    prove_all,
    ungrown,
)
from streamer.operations.work import NoWayBackError, Work

__all__ = ["STEPS", "SWITCH", "made"]

RECORD, TOPICS, COPY, SHADOW = "record", "topics", "copy", "shadow"
PROVE, SWITCH, SETTLE = "prove", "switch", "settle"
STEPS = (RECORD, TOPICS, COPY, SHADOW, PROVE, SWITCH, SETTLE)

# What was near enough when a step ended may be a little further when it is looked at again.
_SLACK = 10


@dataclass(frozen=True)
class LayoutStep:
    """What all steps have: the request that the plan was made of."""

    asked: Asked

    def is_switched(self, world: World) -> bool:
        return is_switched(world, self.asked)

    def check_way_back(self, world: World) -> None:
        """Raise NoWayBackError where a process that was given up has switched a moment before."""
        if self.is_switched(world):
            raise NoWayBackError(
                f"layout {self.asked.after.number} was recorded before it could be cancelled"
            )


class Record(LayoutStep):
    id = RECORD

    def is_done(self, world: World) -> bool:
        layout, _by = world.layouts.recorded()
        return layout is not None

    def run(self, world: World, work: Work) -> str:
        work.check()
        world.layouts.record_first(self.asked.before.layout, work.operation)
        return "layout 1 is recorded, as it was without a record"

    def undo(self, world: World, work: Work) -> str:
        return "layout 1 stays recorded: it says what held without a record"


class MakeTopics(LayoutStep):
    id = TOPICS

    def is_done(self, world: World) -> bool:
        if self.is_switched(world):
            return True
        there = world.topics.topics()
        return all(spec.name in there for spec in self.specs(world.config))

    def run(self, world: World, work: Work) -> str:
        specs = self.specs(world.config)
        work.check()
        world.topics.create(specs)
        failpoints.hit("repartition.after_topics")
        there = world.topics.topics()
        for spec in specs:
            if there.get(spec.name) != spec.partitions:
                raise InternalTopicError(
                    f"{spec.name} has {there.get(spec.name, 0)} partitions, not {spec.partitions}",
                    hint="somebody else made it: cancel the operation, and find out who did",
                )
        return f"{', '.join(spec.name for spec in specs)} are there"

    def undo(self, world: World, work: Work) -> str:
        self.check_way_back(world)
        names = {spec.name for spec in self.specs(world.config)}
        mine = sorted(names & world.topics.topics().keys())
        work.check()
        world.topics.delete(mine)
        return f"{', '.join(mine) or 'no topics'} are deleted"

    def specs(self, config: Config) -> list[TopicSpec]:
        found = []
        for name, count in self.asked.changelogs.items():
            spec = changelog_spec(name, count, config)
            fed = {**spec.settings, **WHILE_FED}
            found.append(TopicSpec(name, count, fed, replication_factor=spec.replication_factor))
        own = self.asked.repartition.items()
        return found + [repartition_spec(name, count, config) for name, count in own]


class CopyChangelogs(LayoutStep):
    id = COPY

    def is_done(self, world: World) -> bool:
        if self.is_switched(world):
            return True
        left = [unfed(plan, world.ports) for plan in self.asked.feeds]
        return all(one is not None and one <= _SLACK * LAG_MAX for one in left)

    def run(self, world: World, work: Work) -> str:
        feeding = world.feeding(self.asked, work.ensure_held)
        while True:
            found = feeding.progress()
            lag = lags(found)
            held = [f"the feed of task {one.task}: {one.waits_for}" for one in found]
            held = [what for what, one in zip(held, found, strict=True) if one.waits_for]
            work.progress(
                phase="copy changelogs",
                records_done=sum(one.records for one in found),
                records_total=sum(one.records_total for one in found),
                bytes_done=sum(one.size for one in found),
                bytes_total=sum(one.size_total for one in found),
                held_by=held[0] if held else "",
            )
            if 0 <= lag <= LAG_MAX:
                break
            world.wait()
        records = sum(one.records for one in found)
        return f"{records:,} records are copied; {lag:,} offsets are left, and the feeds go on"

    def undo(self, world: World, work: Work) -> str:
        self.check_way_back(world)
        return _forget(world, self.asked, work)


class KeepShadows(LayoutStep):
    id = SHADOW

    def is_done(self, world: World) -> bool:
        return self.is_switched(world) or are_kept(world, self.asked, times=_SLACK)

    def run(self, world: World, work: Work) -> str:
        feeding = world.feeding(self.asked, work.ensure_held)
        while True:
            feeding.progress()
            found = keep_shadows(world, self.asked, work)
            work.progress(
                phase="warm copies",
                records_done=found.warm,
                records_total=found.total,
                held_by=found.waits_for,
            )
            if not found.waits_for:
                return f"{found.total} copies of the next layout's tasks are warm"
            world.wait()

    def undo(self, world: World, work: Work) -> str:
        self.check_way_back(world)
        withdraw_shadows(world, self.asked, work)
        return "the orders are taken back, and the workers have removed their copies"


class Prove(LayoutStep):
    id = PROVE

    def is_done(self, world: World) -> bool:
        if self.is_switched(world):
            return True
        return all(is_noted(plan, world.ports) for plan in self.asked.feeds)

    def run(self, world: World, work: Work) -> str:
        count = prove_all(world, self.asked, work)
        return (
            f"{count:,} records were fed, and are read back from the next changelogs as they were"
        )

    def undo(self, world: World, work: Work) -> str:
        self.check_way_back(world)
        return _forget(world, self.asked, work)


class Switch(LayoutStep):
    id = SWITCH

    def is_done(self, world: World) -> bool:
        return self.is_switched(world)

    def run(self, world: World, work: Work) -> str:
        return Switching(world, self.asked, work).run()

    def undo(self, world: World, work: Work) -> str:
        # Whoever had the right cannot switch any more, and so the look below is for good.
        with world.layouts.right() as right:
            self.check_way_back(world)
            right.lift()
        return "nothing was switched, and nothing is paused"


class Settle(LayoutStep):
    id = SETTLE

    def is_done(self, world: World) -> bool:
        asked = self.asked
        if not self.is_switched(world) or ordered(asked, world.workers.orders()):
            return False
        if ungrown(world, asked):
            return False
        is_fed = any(has_begun(plan, world.ports) for plan in asked.feeds)
        is_proven = any(is_noted(plan, world.ports) for plan in asked.feeds)
        return not (is_fed or is_proven or _unsettled(world, asked))

    def run(self, world: World, work: Work) -> str:
        # Where the switch was made and nothing after it.
        work.check()
        grow(world, self.asked)
        _await_running(world, self.asked, work)
        _settle(world, self.asked, work)
        return f"all tasks of layout {self.asked.after.number} run; the feeds have ended"

    def undo(self, world: World, work: Work) -> str:
        self.check_way_back(world)
        return "nothing was to be settled"


def made(asked: Asked) -> Sequence[Step[World]]:
    """The steps of a request, in their order."""
    return [
        Record(asked),
        MakeTopics(asked),
        CopyChangelogs(asked),
        KeepShadows(asked),
        Prove(asked),
        Switch(asked),
        Settle(asked),
    ]


def _forget(world: World, asked: Asked, work: Work) -> str:
    """End all feeds, also those of a process that stands still, and delete their groups."""
    world.feeding(asked, work.ensure_held).halt()
    groups = [group for plan in asked.feeds for group in (*feed_groups(plan), cut_group(plan))]
    work.check()
    world.topics.forget(groups)
    failpoints.hit("repartition.after_forget")
    return f"{len(groups)} groups of feeds are deleted"


def _unsettled(world: World, asked: Asked) -> list[str]:
    """The next changelogs that still have the settings of a feed."""
    ordinary = changelog_settings(world.config)
    return sorted(
        topic
        for topic, given in world.topics.settings(sorted(asked.changelogs)).items()
        if any(given.get(name) == value != ordinary.get(name) for name, value in WHILE_FED.items())
    )


def _settle(world: World, asked: Asked, work: Work) -> None:
    withdraw_shadows(world, asked, work)
    _forget(world, asked, work)
    ordinary = changelog_settings(world.config)
    changed = {name: ordinary.get(name) for name in WHILE_FED}
    work.check()
    world.topics.alter(dict.fromkeys(_unsettled(world, asked), changed))


def _await_running(world: World, asked: Asked, work: Work) -> None:
    """Until every task of the next layout is said to run, also by a release that came since."""
    total = len(asked.after.layout.tasks)
    while True:
        statuses = world.workers.statuses()
        left = not_running(asked.after, statuses, lambda shape: shape != asked.shape)
        work.progress(
            phase="begin with the next layout",
            records_done=total - len(left),
            records_total=total,
            held_by=f"task {left[0]}, which does not run yet" if left else "",
        )
        if not left:
            return
        world.wait()
