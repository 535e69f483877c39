"""Whether a state can be read on from where it stands; refused with what to do where it cannot.

Nothing is ever wiped: a position that does not fit its changelog is an error for a human; for the
worker, where all that is wrong is its age, and the changelog has everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from streamer.errors import ChangelogTrimmedError, StateOutdatedError, TaskCorruptedError
from streamer.ids import TopicPartition
from streamer.kafka.changelog import Bounds
from streamer.restore.store import StoreRestore

__all__ = ["check_place", "outdated"]


def check_place(directory: Path, one: StoreRestore, bounds: Bounds) -> None:
    """Raise TaskCorruptedError unless a store can be read on from its position."""
    place, position = one.place, one.position
    if position > bounds.end:
        raise TaskCorruptedError(
            f"the state in {directory} stands at position {position} of changelog {place}, "
            f"but the changelog ends at {bounds.end}",
            hint="the topic was deleted and made anew, or lost records in an unclean leader "
            "election; if the topic is right, move the directory away and start again, else bring "
            "the topic back. Nothing was changed",
        )
    if position < bounds.start:
        held = f"stands at position {position}" if position else "is empty"
        raise ChangelogTrimmedError(
            f"the state in {directory} {held}, but changelog {place} begins at {bounds.start}: "
            "the records between were deleted",
            hint="a snapshot of the task that reaches the changelog's begin brings it back: set "
            "snapshot_repository to where there is one, and start again. Nothing was changed",
        )
    if position:
        _check_topic(directory, one, bounds.topic_id)


def _check_topic(directory: Path, one: StoreRestore, topic_id: str) -> None:
    """Made anew and written since, a topic may be longer than the position in the old one."""
    if one.topic_id and topic_id and one.topic_id != topic_id:
        raise TaskCorruptedError(
            f"the state in {directory} is of another topic than the changelog "
            f"{one.place} of today: its id was {one.topic_id} and is {topic_id}",
            hint="the topic was deleted and made anew, or this is another cluster; if the "
            "topic is right, move the directory away and start again, else bring the old one "
            "back. Nothing was changed",
        )


def outdated(
    state: str, directory: Path, behind: TopicPartition, *, days: float, cut: Iterable[StoreRestore]
) -> TaskCorruptedError:
    """The error for a state that is too old, by so many days, to take in what is new; `cut` are
    its stores whose changelogs do not hold everything any more."""
    message = (
        f"{state} is {days:.1f} days too old to be continued from "
        f"{behind}: rows removed since may have left the changelog, and would come back"
    )
    for one in cut:
        return ChangelogTrimmedError(
            message,
            hint=f"nor can it be restored as a whole: {one.place} begins at {one.start}. A newer "
            "snapshot of the task brings it back: set snapshot_repository to where there is one, "
            "and start again. Nothing was changed",
        )
    return StateOutdatedError(
        message,
        hint=f"move {directory} away and start again: the task is then "
        "restored as a whole (delete.retention.ms of the changelog says how old it may be)",
    )
