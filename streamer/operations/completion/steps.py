"""The steps of a completion, made of its request alone.

    topics    those of the former layouts are deleted: once this has begun there is no way back
    disks     workers are told to remove what they have of those layouts

What stands between them is only more to delete. So each may be cut anywhere and done again, also by
a process that was replaced: names of former layouts are never used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamer import failpoints
from streamer.control.orders import FORMAT, FORMER_KEY, FormerOrder, encode_order
from streamer.errors import InternalTopicError, OperationRefusedError
from streamer.operations.completion.ports import Present, World
from streamer.operations.completion.request import Asked, merged
from streamer.operations.kinds import Step
from streamer.operations.ports import Effect
from streamer.operations.work import Work

__all__ = ["DISKS", "STEPS", "TOPICS", "check_readers", "check_unused", "made"]

TOPICS, DISKS = "topics", "disks"
STEPS = (TOPICS, DISKS)

# A large directory takes seconds; a disk that refuses would hold the operation up for ever.
_REMOVED_MS = 60_000


@dataclass(frozen=True)
class CompletionStep:
    """What both have: the request that the plan was made of."""

    asked: Asked


class DeleteTopics(CompletionStep):
    id = TOPICS

    def is_done(self, world: World) -> bool:
        return not world.topics().keys() & set(self.asked.topics)

    def run(self, world: World, work: Work) -> str:
        there = world.topics()
        mine = {topic: there[topic] for topic in self.asked.topics if topic in there}
        # What has begun is not planned again, and other code or a reader may have come since.
        check_unused(self.asked, world.present())
        check_readers(self.asked, world, mine)
        work.ensure_held()
        world.delete(mine)
        failpoints.hit("completion.after_topics")
        if again := sorted(world.topics().keys() & mine.keys()):
            raise InternalTopicError(
                f"{again[0]} was made anew as soon as it was deleted",
                hint="a client that reads it does so where brokers have auto.create.topics.enable:"
                " end it",
            )
        return f"deleted: {', '.join(mine)}"

    def undo(self, world: World, work: Work) -> str:
        return "what is deleted stays deleted"


class RemoveState(CompletionStep):
    id = DISKS

    def is_done(self, world: World) -> bool:
        standing = _standing(world)
        return standing is not None and merged(self.asked, standing) == standing.left

    def run(self, world: World, work: Work) -> str:
        standing = _standing(world)
        order = FormerOrder(
            format=FORMAT,
            operation=work.operation,
            left=merged(self.asked, standing),
            at_ms=world.now_ms(),
        )
        work.write([Effect(world.place, FORMER_KEY, encode_order(order, world.place.topic))])
        failpoints.hit("completion.after_order")
        until_ms = world.now_ms() + _REMOVED_MS
        while left := _left(world, order):
            work.progress(
                phase="wait for workers",
                held_by=f"worker {left[0]}, which removes its former state",
            )
            if world.now_ms() >= until_ms:
                return (
                    f"worker {', '.join(left)} still has state of a former layout: its log says"
                    " why; it goes on trying"
                )
            world.wait()
        return "no worker that lives has state of these layouts; others remove theirs at a start"

    def undo(self, world: World, work: Work) -> str:
        return "what is removed stays removed"


def made(asked: Asked) -> Sequence[Step[World]]:
    """The steps of a request, in their order."""
    return [DeleteTopics(asked), RemoveState(asked)]


def check_unused(asked: Asked, present: Present) -> None:
    """Raise OperationRefusedError where the application has any of these topics now, also such that
    no record of a layout tells: code may have given a store to another subtopology."""
    used = present.planned.sources.keys() | present.planned.internal.keys()
    if mine := sorted(used & set(asked.topics)):
        raise OperationRefusedError(
            f"{mine[0]} is one of the topics that {asked.application} uses now",
            hint="its topology was changed, or somebody else has written to the operations topic:"
            " find out which. Nothing was deleted",
        )


def check_readers(asked: Asked, world: World, topics: dict[str, int]) -> None:
    """Raise OperationRefusedError where somebody reads these of whom nobody has said that it does
    not matter."""
    found = [one for one in world.readers(topics) if one.group not in asked.despite]
    if found:
        despite = " ".join(f"--despite {one.group}" for one in found)
        raise OperationRefusedError(
            f"others read what would be deleted: {'; '.join(map(str, found))}",
            hint="find out whose they are, and end them; where they are of no use any more, plan"
            f" it with {despite}",
        )


def _standing(world: World) -> FormerOrder | None:
    found = world.orders().get(FORMER_KEY)
    return found if isinstance(found, FormerOrder) else None


def _left(world: World, order: FormerOrder) -> list[str]:
    """The workers that have something of it."""
    return sorted(
        worker
        for worker, one in world.statuses().items()
        if any(order.names(name) for name in one.former)
    )
